"""Layouts and pixels of views: the official engine's golden values, TSV rows, and every kind of damaged file."""

from __future__ import annotations

import base64
import io
import json
import struct
import subprocess
import sys
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFile

from evalkit.data.root import DataRoot
from evalkit.errors import MediaError, UsageError
from evalkit.media import rows as rows_module
from evalkit.media.guard import guarded
from evalkit.media.load import load, probe
from evalkit.media.tiling import tile_image
from evalkit.records import Layout, Media, MediaKind, View

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def view(path: str, kind: MediaKind = "image", max_tiles: int = 6, frames: int = 0, tile_size: int = 28) -> View:
    return View(Media(path, kind), tile_size, max_tiles, True, frames, "segment_middle")


def official_pixels(tiles: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """uint8 (tiles, S, S, 3) to the network's float32 (tiles, 3, S, S)."""
    scaled: npt.NDArray[np.float32] = (tiles.astype(np.float32) / np.float32(255) - MEAN) / STD
    return np.moveaxis(scaled, 3, 1)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    (tmp_path / "data").mkdir()
    return DataRoot(tmp_path)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8))


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def assert_fails(looked: View, root: DataRoot, part: str = "") -> None:
    with pytest.raises(MediaError) as caught:
        load(looked, root)
    assert caught.value.path == looked.media.path
    assert part in caught.value.reason
    assert caught.value.reason.strip()
    assert "\n" not in caught.value.reason
    assert len(caught.value.reason) <= 200
    assert str(root.base) not in str(caught.value)


# The golden pixels of the official preprocessing


@lru_cache(maxsize=1)
def golden(shared: Path) -> dict[str, dict[str, Any]]:
    cases = json.loads((shared / "golden" / "engine" / "expected.json").read_text())["cases"]
    return {case["name"]: case for case in cases if case["media"]}


NAMES = ["single_image1_6", "single_image2_12", "single_image4_18", *[f"group_{i}" for i in range(7)]]
NAMES += ["two_images", "video_16", "video_16_bound"]


@lru_cache(maxsize=2)
def loaded(shared: Path, spec: str) -> tuple[Layout, list[npt.NDArray[np.float32]]]:
    item = json.loads(spec)
    if "image" in item:
        looked = view(f"data/media/{item['image']}", max_tiles=item["max_num"], tile_size=448)
    else:
        start, end = item["bound"] or (None, None)
        media = Media(f"data/media/{item['video']}", "video", start, end)
        looked = View(media, 448, 1, True, item["frames"], "segment_middle")
    root = DataRoot(shared)
    layout = probe(looked, root)
    assert layout is not None
    return layout, [official_pixels(tiles) for tiles in load(looked, root)]


@pytest.mark.shared_data
def test_no_golden_case_is_left_out(shared: Path) -> None:
    assert sorted(golden(shared)) == sorted(NAMES)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", NAMES)
def test_golden_pixels(shared: Path, name: str) -> None:
    case = golden(shared)[name]
    arrays: list[npt.NDArray[np.float32]] = []
    for item in case["media"]:
        layout, pixels = loaded(shared, json.dumps(item))
        assert layout.images == len(pixels)
        assert [len(array) for array in pixels] == [layout.tiles] * layout.images
        assert list(layout.frames) == item.get("indices", [])
        arrays += pixels
    assert [len(array) for array in arrays] == case["num_patches_list"]
    assert_golden(np.concatenate(arrays), case["pixels"])


def assert_golden(flat: npt.NDArray[np.float32], expected: dict[str, Any]) -> None:
    """Compare the network's input with its golden summary, whose deviation is torch's (n - 1)."""
    assert list(flat.shape) == expected["shape"]
    assert flat.mean(dtype=np.float64) == pytest.approx(expected["mean"], abs=1e-6)
    assert flat.std(dtype=np.float64, ddof=1) == pytest.approx(expected["std"], abs=1e-6)
    sample = flat.reshape(-1)[:: expected["stride"]][: len(expected["sample"])]
    np.testing.assert_allclose(sample, expected["sample"], rtol=0, atol=1e-6)


@pytest.mark.shared_data
def test_real_charts_probe_as_they_load(shared: Path) -> None:
    root = DataRoot(shared / "data" / "root-with-images")
    files = sorted(file for file in root.base.rglob("*.png"))[:12]
    assert len(files) == 12
    for file in files:
        looked = view("data/" + file.relative_to(root.base).as_posix(), max_tiles=12)
        layout = probe(looked, root)
        (tiles,) = load(looked, root)
        assert layout is not None
        assert layout.tiles == len(tiles)


# Layouts


def test_layout_of_an_image(root: DataRoot) -> None:
    noise(60, 40).save(root.base / "a.png")
    assert probe(view("data/a.png"), root) == Layout((3, 2), 7, (), 1)
    assert probe(view("data/a.png", max_tiles=1), root) == Layout((1, 1), 1, (), 1)
    (tiles,) = load(view("data/a.png"), root)
    assert tiles.dtype == np.uint8
    np.testing.assert_array_equal(tiles, tile_image(noise(60, 40), 6, 28, True))


def test_layout_of_frames(root: DataRoot) -> None:
    (root.base / "clip").mkdir()
    for i in range(1, 13):
        noise(60, 40, i).save(root.base / "clip" / f"{i:05d}.jpg")
    looked = view("data/clip", "frames", max_tiles=1, frames=4)
    times = (1 / 3, 4 / 3, 7 / 3, 3.0)
    assert probe(looked, root) == Layout((1, 1), 1, (2, 5, 8, 10), 4, fps=3.0, times=times)
    assert [tiles.shape for tiles in load(looked, root)] == [(1, 28, 28, 3)] * 4
    tiled = view("data/clip", "frames", max_tiles=6, frames=4)
    assert probe(tiled, root) == Layout((3, 2), 7, (2, 5, 8, 10), 4, fps=3.0, times=times)
    assert [tiles.shape for tiles in load(tiled, root)] == [(7, 28, 28, 3)] * 4


def test_layout_of_a_short_gif(root: DataRoot) -> None:
    images = [noise(20, 20, i) for i in range(5)]
    images[0].save(root.base / "a.gif", save_all=True, append_images=images[1:])
    looked = view("data/a.gif", "gif", max_tiles=1, frames=16)
    layout = probe(looked, root)
    assert layout is not None
    assert layout.images == len(layout.frames) == len(load(looked, root)) < 16


def test_absent_media(root: DataRoot) -> None:
    kinds: tuple[MediaKind, ...] = ("image", "video", "frames", "gif")
    for kind in kinds:
        looked = view("data/absent", kind, frames=4)
        assert probe(looked, root) is None
        assert_fails(looked, root, "not in the data root")
    assert probe(view("data/absent.tsv#3", "row"), root) is None
    assert_fails(view("data/absent.tsv#3", "row"), root, "not in the data root")


def test_a_path_out_of_the_root(root: DataRoot) -> None:
    with pytest.raises(UsageError):
        probe(view("data/../../etc/passwd"), root)
    assert_fails(view("data/../../etc/passwd"), root, "leaves the data root")


# Images as the official code opens them


@pytest.mark.parametrize("size", [(1, 1), (5000, 3), (3, 700)])
def test_extreme_sizes(root: DataRoot, size: tuple[int, int]) -> None:
    noise(*size).save(root.base / "a.png")
    layout = probe(view("data/a.png", max_tiles=12), root)
    (tiles,) = load(view("data/a.png", max_tiles=12), root)
    assert layout is not None
    assert layout.tiles == len(tiles) == (1 if size == (1, 1) else 13)


def test_palette_with_transparency_is_converted_before_it_is_resized(root: DataRoot) -> None:
    palette = noise(60, 40).quantize(16)
    palette.save(root.base / "a.png", transparency=3)
    (tiles,) = load(view("data/a.png"), root)
    np.testing.assert_array_equal(tiles, tile_image(palette.convert("RGB"), 6, 28, True))


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGBA", "LA", "1", "I;16"])
def test_other_modes(root: DataRoot, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60) * 20)
    else:
        image = noise(60, 40).convert(mode)
    name = "a.jpg" if mode == "CMYK" else "a.png"
    image.save(root.base / name)
    with Image.open(root.base / name) as reopened:
        assert reopened.mode == mode
        try:
            converted = reopened.convert("RGB")
        except ValueError:  # some versions of Pillow cannot convert 16 bits: an error of this image, no more
            assert_fails(view(f"data/{name}"), root)
            return
    (tiles,) = load(view(f"data/{name}"), root)
    np.testing.assert_array_equal(tiles, tile_image(converted, 6, 28, True))


def test_alpha_is_dropped_not_blended(root: DataRoot) -> None:
    Image.new("RGBA", (28, 28), (200, 100, 50, 0)).save(root.base / "a.png")
    (tiles,) = load(view("data/a.png"), root)
    assert (tiles == (200, 100, 50)).all()


def test_an_animated_gif_as_an_image_shows_its_first_frame(root: DataRoot) -> None:
    frames = [Image.new("RGB", (28, 28), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(root.base / "a.gif", save_all=True, append_images=frames[1:])
    (tiles,) = load(view("data/a.gif"), root)
    assert (tiles == (255, 0, 0)).all()


def test_exif_does_not_turn_the_image(root: DataRoot) -> None:
    image = noise(60, 40)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(root.base / "a.jpg", exif=exif, quality=95)
    assert probe(view("data/a.jpg"), root) == Layout((3, 2), 7, (), 1)
    (tiles,) = load(view("data/a.jpg"), root)
    with Image.open(root.base / "a.jpg") as plain:
        assert plain.getexif()[0x0112] == 6
        np.testing.assert_array_equal(tiles, tile_image(plain.convert("RGB"), 6, 28, True))


# Damaged files


def test_a_cut_jpeg_has_a_layout_but_no_pixels(root: DataRoot) -> None:
    data = encoded(noise(60, 40), "JPEG")
    (root.base / "a.jpg").write_bytes(data[: len(data) * 2 // 3])
    assert probe(view("data/a.jpg"), root) == Layout((3, 2), 7, (), 1)
    assert_fails(view("data/a.jpg"), root, "truncated")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("zero.png", b""),
        ("text.png", b"<html>404 Not Found</html>"),
        ("bomb.png", png(30000, 30000)),
        ("flat.png", png(0, 10)),
        ("header.jpg", b"\xff\xd8\xff\xe0"),
        ("half.png", encoded(noise(60, 40))[:20]),
    ],
)
def test_files_without_a_header(root: DataRoot, name: str, data: bytes) -> None:
    (root.base / name).write_bytes(data)
    assert_fails(view(f"data/{name}"), root)
    with pytest.raises(MediaError):
        probe(view(f"data/{name}"), root)


def test_a_file_that_lies_about_its_size(root: DataRoot) -> None:
    (root.base / "a.png").write_bytes(png(60, 40))
    assert probe(view("data/a.png"), root) == Layout((3, 2), 7, (), 1)
    assert_fails(view("data/a.png"), root)


def test_a_folder_is_no_image(root: DataRoot) -> None:
    (root.base / "a.png").mkdir()
    assert_fails(view("data/a.png"), root, "is a folder")


def test_a_name_too_long_for_the_disk(root: DataRoot) -> None:
    long_name = "data/" + "x" * 300 + ".png"
    with pytest.raises(MediaError):
        load(view(long_name), root)


def test_pillow_keeps_its_settings(root: DataRoot) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    (root.base / "a.png").write_bytes(png(30000, 30000))
    assert_fails(view("data/a.png"), root, "Bomb")
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_reason_is_one_short_line() -> None:
    with pytest.raises(MediaError) as caught, guarded(Media("data/a.png"), Path("/place/a.png")):
        raise RuntimeError("cannot read /place/a.png\n  at line 3\n" + "x" * 500)
    assert caught.value.reason.startswith("RuntimeError: cannot read data/a.png at line 3 xxx")
    assert len(caught.value.reason) == 200
    with pytest.raises(KeyboardInterrupt), guarded(Media("data/a.png")):
        raise KeyboardInterrupt


# Rows of a TSV


def write_tsv(path: Path, rows: list[tuple[str, str]], header: str = "index\timage") -> None:
    lines = [header, *(f"{index}\t{image}" for index, image in rows)]
    path.write_text("\n".join(lines) + "\n")


def b64(image: Image.Image) -> str:
    return base64.b64encode(encoded(image)).decode()


def test_rows(root: DataRoot) -> None:
    first, second = noise(60, 40, 1), noise(40, 60, 2)
    rows = [("0", b64(first)), ("7", b64(second)), ("1000000", "0"), ("1000007", b64(second)), ("NA", b64(first))]
    write_tsv(root.base / "m.tsv", rows)
    for index, image in (("0", first), ("7", second), ("1000000", first), ("1000007", second), ("NA", first)):
        looked = view(f"data/m.tsv#{index}", "row")
        layout = probe(looked, root)
        (tiles,) = load(looked, root)
        np.testing.assert_array_equal(tiles, tile_image(image, 6, 28, True))
        assert layout is not None
        assert layout.tiles == len(tiles) == 7


def test_rows_without_an_image_are_absent(root: DataRoot) -> None:
    write_tsv(root.base / "m.tsv", [("0", ""), ("1", "0"), ("2", "99")])
    write_tsv(root.base / "n.tsv", [("0", "why?")], "index\tquestion")
    for path in ("data/m.tsv#0", "data/m.tsv#1", "data/m.tsv#2", "data/m.tsv#44", "data/m.tsv", "data/n.tsv#0"):
        looked = view(path, "row")
        if "#" in path:
            assert probe(looked, root) is None
        assert_fails(looked, root)
    assert_fails(view("data/m.tsv#44", "row"), root, "no image for this row")


def test_rows_that_point_at_each_other(root: DataRoot) -> None:
    write_tsv(root.base / "m.tsv", [("0", "1"), ("1", "0"), ("2", "2"), ("3", "0")])
    for index in "0123":
        looked = view(f"data/m.tsv#{index}", "row")
        with pytest.raises(MediaError, match="has none itself"):
            probe(looked, root)
        assert_fails(looked, root, "has none itself")


def test_broken_rows(root: DataRoot) -> None:
    cut = encoded(noise(60, 40), "JPEG")[:600]
    rows = [
        ("0", "!" * 100),
        ("1", base64.b64encode(cut).decode()),
        ("2", base64.b64encode(png(30000, 30000)).decode()),
    ]
    write_tsv(root.base / "m.tsv", rows)
    for index in "012":
        assert_fails(view(f"data/m.tsv#{index}", "row"), root)
    (root.base / "zero.tsv").write_bytes(b"")
    (root.base / "binary.tsv").write_bytes(bytes(range(128, 256)) * 4)
    for name in ("zero", "binary"):
        assert_fails(view(f"data/{name}.tsv#0", "row"), root)
        with pytest.raises(MediaError):
            probe(view(f"data/{name}.tsv#0", "row"), root)


def test_a_tsv_is_read_once_and_again_when_it_changed(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    reads = []
    read_csv = pd.read_csv

    def counting(*args: Any, **kwargs: Any) -> Any:
        reads.append(args)
        return read_csv(*args, **kwargs)

    monkeypatch.setattr(pd, "read_csv", counting)
    image = b64(noise(30, 30))
    write_tsv(root.base / "m.tsv", [("0", image), ("1", image)])
    for index in "0101":
        load(view(f"data/m.tsv#{index}", "row"), root)
    assert len(reads) == 1
    write_tsv(root.base / "m.tsv", [("0", image), ("1", image), ("2", b64(noise(60, 40)))])
    (tiles,) = load(view("data/m.tsv#2", "row"), root)
    assert len(reads) == 2
    assert len(tiles) == 7


def test_equal_images_of_a_tsv_share_memory(root: DataRoot) -> None:
    image = b64(noise(30, 30))
    write_tsv(root.base / "m.tsv", [("0", image), ("1", image), ("2", b64(noise(30, 31)))])
    stat = (root.base / "m.tsv").stat()
    images, _ = rows_module._tsv_images(str(root.base / "m.tsv"), stat.st_mtime_ns, stat.st_size)
    assert images["0"] is images["1"]
    assert images["2"] != images["0"]


# Videos


def test_bad_videos(root: DataRoot) -> None:
    (root.base / "text.mp4").write_text("no video")
    (root.base / "zero.mp4").write_bytes(b"")
    (root.base / "clip").mkdir()
    for path, kind in (("data/text.mp4", "video"), ("data/zero.mp4", "video"), ("data/clip", "frames")):
        looked = view(path, kind, max_tiles=1, frames=4)  # type: ignore[arg-type]
        assert_fails(looked, root)
        with pytest.raises(MediaError):
            probe(looked, root)


@pytest.mark.shared_data
def test_half_a_video(shared: Path, root: DataRoot) -> None:
    """With its index first it still opens, and its second half would go missing without a word."""
    data = (shared / "data" / "media" / "red-panda.mp4").read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")
    (root.base / "half.mp4").write_bytes(data[: len(data) // 2])
    looked = view("data/half.mp4", "video", max_tiles=1, frames=16)
    assert_fails(looked, root, "cut short")
    with pytest.raises(MediaError, match="cut short"):
        probe(looked, root)


def test_a_damaged_frame_of_a_folder(root: DataRoot) -> None:
    (root.base / "clip").mkdir()
    for i in range(1, 5):
        noise(60, 40, i).save(root.base / "clip" / f"{i:05d}.jpg")
    (root.base / "clip" / "00003.jpg").write_bytes(b"")
    assert_fails(view("data/clip", "frames", max_tiles=1, frames=4), root)


def test_probing_imports_neither_torch_nor_decord(root: DataRoot) -> None:
    noise(60, 40).save(root.base / "a.gif")
    code = (
        "import sys; from evalkit.data.root import DataRoot; from evalkit.media.load import probe;"
        "from evalkit.records import Media, View;"
        "view = View(Media('data/a.gif', 'gif'), 28, 1, True, 4, 'segment_middle');"
        f"print(probe(view, DataRoot({str(root.given)!r})));"
        "print([name for name in ('torch', 'transformers', 'decord') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
