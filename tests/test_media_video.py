"""Frame rules, counting and reading of frames: PyAV and decord must agree, damaged videos must say so."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evalkit.errors import MediaError
from evalkit.media.video import VideoInfo, choose_frames, even_step, probe_video, read_frames, segment_middle
from evalkit.records import Media

VIDEO = Media("data/v.mp4", "video")


def write_video(
    path: Path,
    codec: str = "mpeg4",
    frames: int = 40,
    rate: Fraction = Fraction(25),
    gop: int = 12,
    time: Callable[[int], int] = lambda i: i,
) -> Path:
    """A video of 160x96 in which every frame is another, with a key frame every ``gop`` frames at most."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.gop_size = gop
        for i in range(frames):
            pixels = np.zeros((96, 160, 3), np.uint8)
            pixels[:, :, 0] = i * 5 % 256
            pixels[: 48 + i % 40, (i * 3) % 150 : (i * 3) % 150 + 8] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time(i), 1 / rate
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def decoded(path: Path) -> list[npt.NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def write_folder(folder: Path, names: list[str], grey: Callable[[int], int] = lambda i: i) -> Path:
    folder.mkdir()
    for i, name in enumerate(names):
        Image.new("RGB", (32, 32), (grey(i),) * 3).save(folder / name, quality=100)
    return folder


def write_gif(path: Path, frames: int) -> Path:
    images = [Image.new("RGB", (20, 10), (i * 10, 0, 255 - i * 10)) for i in range(frames)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=40)
    return path


def official_segments(
    max_index: int, fps: float, num: int, start: float | None, end: float | None, first: int
) -> list[int]:
    """The official arithmetic, with numpy's rounding."""
    low = max(first, round((-100000 if start is None else start) * fps))
    high = min(round((100000 if end is None else end) * fps), max_index)
    size = float(high - low) / num
    return [int(low + (size / 2) + np.round(size * i)) for i in range(num)]


def test_segment_middle_worked_examples() -> None:
    whole = (9, 28, 46, 65, 84, 102, 121, 140, 159, 177, 196, 215, 233, 252, 271, 289)
    assert segment_middle(299, 30.0, 16) == whole
    part = (32, 38, 43, 49, 54, 60, 66, 71, 77, 83, 88, 94, 100, 105, 111, 116)
    assert segment_middle(299, 30.0, 16, 1.0, 4.0) == part


def test_even_step_worked_examples() -> None:
    assert even_step(300, 8) == (33, 66, 100, 133, 166, 200, 233, 266)
    sixteen = even_step(300, 16)
    assert sixteen[:3] == (17, 35, 52)
    assert sixteen[-1] == 282
    assert len(sixteen) == 16
    assert even_step(1, 3) == (0, 0, 0)


def test_halves_are_rounded_to_even() -> None:
    # Segments of 2.5 frames: 2.5 -> 2, 7.5 -> 8 (and 12.5 -> 12), each after 1.25 and before int().
    assert segment_middle(15, 1.0, 6) == (1, 3, 6, 9, 11, 13)
    # The bounds too: 0.5 s at 1 fps begins at frame 0, 1.5 s at frame 2.
    assert segment_middle(99, 1.0, 2, 0.5, 10.5) == (2, 7)
    assert segment_middle(99, 1.0, 2, 1.5, 11.5) == (4, 9)


def test_no_frames_asked_or_no_rate() -> None:
    with pytest.raises(ValueError, match="positive"):
        segment_middle(99, 25.0, 0)
    with pytest.raises(ValueError, match="positive"):
        even_step(99, 0)
    for fps in (0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="frame rate"):
            segment_middle(99, fps, 16)


@given(
    st.integers(0, 5000),
    st.one_of(st.sampled_from([3.0, 24000 / 1001, 25.0, 30000 / 1001, 30.0]), st.floats(0.5, 120.0)),
    st.sampled_from([1, 4, 8, 16, 32]),
    st.one_of(st.none(), st.floats(0, 200)),
    st.one_of(st.none(), st.floats(0, 200)),
    st.sampled_from([0, 1]),
)
@settings(max_examples=500, deadline=None)
def test_segment_middle_is_the_official_arithmetic(
    max_index: int, fps: float, num: int, start: float | None, end: float | None, first: int
) -> None:
    indices = segment_middle(max_index, fps, num, start, end, first)
    assert list(indices) == official_segments(max_index, fps, num, start, end, first)
    assert all(type(index) is int for index in indices)
    if (start, end) == (None, None) and max_index >= first:
        assert all(first <= index <= max_index for index in indices)


@given(st.integers(1, 100000), st.integers(1, 64))
def test_even_step_stays_inside(total: int, num: int) -> None:
    indices = even_step(total, num)
    assert len(indices) == num
    assert all(0 <= a <= b < total for a, b in zip(indices, (*indices[1:], total - 1), strict=True))


def test_choose_frames() -> None:
    info = VideoInfo(300, 30.0, 0)
    assert choose_frames(info, VIDEO, 8, "even_step") == even_step(300, 8)
    assert choose_frames(info, VIDEO, 16, "segment_middle") == segment_middle(299, 30.0, 16)
    part = Media("data/v.mp4", "video", 1.0, 4.0)
    assert choose_frames(info, part, 16, "segment_middle") == segment_middle(299, 30.0, 16, 1.0, 4.0)
    folder = Media("data/f", "frames", 2.0, 5.0)
    assert choose_frames(VideoInfo(20, 3.0, 1), folder, 4, "segment_middle") == (7, 9, 11, 14)
    assert choose_frames(VideoInfo(3, 3.0, 1), Media("data/f", "frames"), 4, "segment_middle") == (1, 1, 2, 3)


@pytest.mark.parametrize(
    ("media", "rule", "reason"),
    [
        (Media("data/v.mp4", "video", 90.0, 95.0), "segment_middle", "part from 90.0 s to 95.0 s"),
        (Media("data/v.mp4", "video", 1.0, 2.0), "even_step", "takes no part"),
        (VIDEO, "middle", "unknown frame rule"),
    ],
)
def test_frames_that_cannot_be_chosen(media: Media, rule: str, reason: str) -> None:
    with pytest.raises(MediaError, match=reason) as caught:
        choose_frames(VideoInfo(300, 30.0, 0), media, 16, rule)
    assert caught.value.path == media.path


@pytest.mark.parametrize(
    ("name", "codec", "frames", "rate"),
    [
        ("v.mp4", "mpeg4", 40, Fraction(25)),
        ("v.webm", "libvpx", 50, Fraction(12)),
        ("v9.webm", "libvpx-vp9", 30, Fraction(30000, 1001)),
        ("v.avi", "mpeg4", 33, Fraction(24)),
    ],
)
def test_pyav_and_decord_agree(tmp_path: Path, name: str, codec: str, frames: int, rate: Fraction) -> None:
    decord = pytest.importorskip("decord")
    path = write_video(tmp_path / name, codec, frames, rate)
    info = probe_video(path, VIDEO)
    assert (info.total, info.first) == (frames, 0)
    assert info.fps == pytest.approx(float(rate))
    reader = decord.VideoReader(str(path), num_threads=1)
    assert (info.total, info.fps) == (len(reader), float(reader.get_avg_fps()))


@pytest.mark.shared_data
def test_pyav_and_decord_agree_on_real_videos(shared: Path) -> None:
    decord = pytest.importorskip("decord")
    paths = sorted((shared / "data" / "media").glob("*.mp4"))
    assert len(paths) == 4
    for path in paths:
        info = probe_video(path, VIDEO)
        reader = decord.VideoReader(str(path), num_threads=1)
        assert info == VideoInfo(len(reader), float(reader.get_avg_fps()), 0), path.name


@pytest.mark.shared_data
def test_golden_indices(shared: Path) -> None:
    cases = json.loads((shared / "golden" / "engine" / "expected.json").read_text())["cases"]
    videos = [media for case in cases for media in case["media"] if "video" in media]
    assert len(videos) == 2
    for video in videos:
        info = probe_video(shared / "data" / "media" / video["video"], VIDEO)
        start, end = video["bound"] or (None, None)
        indices = choose_frames(info, Media("data/v.mp4", "video", start, end), video["frames"], "segment_middle")
        assert list(indices) == video["indices"]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["bikes.mp4", "videollava_sample_demo_3.mp4"])
def test_frames_without_decord_are_the_same(shared: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("decord")
    path = shared / "data" / "media" / name
    indices = segment_middle(probe_video(path, VIDEO).total - 1, 25.0, 8)
    with_decord = [np.asarray(image) for image in read_frames(path, VIDEO, indices)]
    monkeypatch.setitem(sys.modules, "decord", None)
    without = [np.asarray(image) for image in read_frames(path, VIDEO, indices)]
    np.testing.assert_array_equal(with_decord, without)


@pytest.mark.parametrize("use_decord", [True, False])
@pytest.mark.parametrize(("name", "codec"), [("v.mp4", "mpeg4"), ("v.webm", "libvpx")])
def test_frames_are_those_asked_for(
    tmp_path: Path, name: str, codec: str, use_decord: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if use_decord:
        pytest.importorskip("decord")
        monkeypatch.setattr("evalkit.media.video._pyav_frames", lambda path, indices: pytest.fail("decord failed"))
    else:
        monkeypatch.setitem(sys.modules, "decord", None)
    path = write_video(tmp_path / name, codec)
    every = decoded(path)
    indices = (3, 3, 17, 39, 5)
    images = list(read_frames(path, VIDEO, indices))
    assert [image.mode for image in images] == ["RGB"] * 5
    for index, image in zip(indices, images, strict=True):
        np.testing.assert_array_equal(np.asarray(image), every[index])


@pytest.mark.parametrize(
    ("name", "codec", "frames", "gop", "time"),
    [
        ("one_key_frame.mp4", "mpeg4", 40, 1000, lambda i: i),
        ("short.mp4", "mpeg4", 5, 12, lambda i: i),
        ("one_frame.mp4", "mpeg4", 1, 12, lambda i: i),
        ("variable_rate.mp4", "mpeg4", 40, 12, lambda i: i + i // 3 + 7 * (i > 20)),
        ("variable_rate.webm", "libvpx", 40, 12, lambda i: i + i // 3 + 7 * (i > 20)),
    ],
)
def test_unusual_videos_give_the_same_16_frames_with_and_without_decord(
    name: str, codec: str, frames: int, gop: int, time: Callable[[int], int], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    decord = pytest.importorskip("decord")
    path = write_video(tmp_path / name, codec, frames, gop=gop, time=time)
    info = probe_video(path, VIDEO)
    reader = decord.VideoReader(str(path), num_threads=1)
    assert (info.total, info.fps) == (len(reader), float(reader.get_avg_fps())) and info.total == frames
    indices = choose_frames(info, VIDEO, 16, "segment_middle")
    assert len(indices) == 16 and len(set(indices)) == min(16, frames)
    with monkeypatch.context() as patch:
        patch.setattr("evalkit.media.video._pyav_frames", lambda path, indices: pytest.fail("decord failed"))
        with_decord = [np.asarray(image) for image in read_frames(path, VIDEO, indices)]
    monkeypatch.setitem(sys.modules, "decord", None)
    without = [np.asarray(image) for image in read_frames(path, VIDEO, indices)]
    np.testing.assert_array_equal(with_decord, without)


def test_pyav_goes_on_where_decord_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "v.mp4")
    every = decoded(path)

    def two_frames(path: Path, indices: tuple[int, ...]) -> Any:
        for index in indices[:2]:
            yield Image.fromarray(every[index])
        raise RuntimeError("decord gave up")

    monkeypatch.setattr("evalkit.media.video._decord_frames", two_frames)
    images = list(read_frames(path, VIDEO, (2, 9, 20, 30)))
    for index, image in zip((2, 9, 20, 30), images, strict=True):
        np.testing.assert_array_equal(np.asarray(image), every[index])


MATRICES = {  # display matrices of an upright, and of turned, 160x96 video
    90: (0, 65536, 0, -65536, 0, 0, 96 << 16, 0, 1 << 30),
    180: (-65536, 0, 0, 0, -65536, 0, 160 << 16, 96 << 16, 1 << 30),
    270: (0, -65536, 0, 65536, 0, 0, 0, 160 << 16, 1 << 30),
}


@pytest.mark.parametrize("use_decord", [True, False])
@pytest.mark.parametrize(("clockwise", "quarters"), [(90, 3), (180, 2), (270, 1)])
def test_turned_videos_are_upright(
    tmp_path: Path, clockwise: int, quarters: int, use_decord: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if use_decord:
        pytest.importorskip("decord")
    else:
        monkeypatch.setitem(sys.modules, "decord", None)
    path = write_video(tmp_path / "v.mp4", frames=6)
    plain = decoded(path)[4]
    data = bytearray(path.read_bytes())
    struct.pack_into(">9i", data, data.find(b"tkhd") + 44, *MATRICES[clockwise])
    path.write_bytes(data)
    (image,) = read_frames(path, VIDEO, (4,))
    np.testing.assert_array_equal(np.asarray(image), np.rot90(plain, quarters))


def test_hidden_frames_repeat_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit list of half the length: decord counts some of the frames that it hides."""
    decord = pytest.importorskip("decord")
    path = write_video(tmp_path / "v.mp4")
    data = bytearray(path.read_bytes())
    place = data.find(b"elst") + 12
    struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] // 2)
    path.write_bytes(data)
    shown = decoded(path)
    info = probe_video(path, VIDEO)
    reader = decord.VideoReader(str(path), num_threads=1)
    assert len(shown) < info.total == len(reader) < 40
    expected = [reader[5].asnumpy(), reader[15].asnumpy(), shown[-1]]
    monkeypatch.setitem(sys.modules, "decord", None)
    images = [np.asarray(image) for image in read_frames(path, VIDEO, (5, 15, info.total - 1))]
    np.testing.assert_array_equal(images, expected)


def test_cut_and_false_videos(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "v.mp4").read_bytes()
    index_first = tmp_path / "index_first.mp4"
    with (
        av.open(str(tmp_path / "v.mp4")) as source,
        av.open(str(index_first), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    reordered = index_first.read_bytes()
    assert reordered.find(b"moov") < reordered.find(b"mdat")
    bad = {
        "cut": whole[: len(whole) // 2],
        "index_first": reordered[: len(reordered) * 2 // 3],
        "zero": b"",
        "text": b"hi",
    }
    for name, data in bad.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(data)
        media = Media(f"data/{name}.mp4", "video")
        with pytest.raises(MediaError) as caught:
            probe_video(path, media)
        assert caught.value.path == media.path
        assert caught.value.reason
        assert "\n" not in caught.value.reason
        assert str(tmp_path) not in caught.value.reason
        with pytest.raises(MediaError):
            list(read_frames(path, media, (0, 39)))


def test_garbage_inside_a_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", "mpeg4", 40)
    data = bytearray(path.read_bytes())
    begin = data.find(b"mdat") + 4
    end = data.find(b"moov") - 4
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    with pytest.raises(MediaError):
        list(read_frames(path, VIDEO, (20, 30)))


def test_sound_only(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(MediaError, match="no video stream"):
        probe_video(path, VIDEO)


def test_folder_of_frames(tmp_path: Path) -> None:
    names = [f"{i:05d}.jpg" for i in range(1, 31)]
    folder = write_folder(tmp_path / "clip", names, lambda i: 8 * (i + 1))
    media = Media("data/clip", "frames", 2.0, 8.0)
    info = probe_video(folder, media)
    assert info == VideoInfo(30, 3.0, 1)
    indices = choose_frames(info, media, 4, "segment_middle")
    assert indices == (8, 12, 17, 22) == tuple(official_segments(30, 3, 4, 2.0, 8.0, 1))
    images = list(read_frames(folder, media, indices))
    for index, image in zip(indices, images, strict=True):
        assert abs(image.getpixel((5, 5))[0] - 8 * index) <= 1  # type: ignore[index]


def test_folder_counts_every_file_and_names_an_absent_frame(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clip", ["00001.jpg", "00002.jpg", "notes.jpg", "more.jpg"])
    media = Media("data/clip", "frames")
    info = probe_video(folder, media)
    assert info == VideoInfo(4, 3.0, 1)
    indices = choose_frames(info, media, 4, "segment_middle")
    assert indices == (1, 2, 3, 3)
    with pytest.raises(MediaError, match=r"00003\.jpg"):
        list(read_frames(folder, media, indices))


def test_no_frames(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    with pytest.raises(MediaError, match="no frames"):
        probe_video(tmp_path / "clip", Media("data/clip", "frames"))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(MediaError, match="NotADirectory"):
        probe_video(tmp_path / "file", Media("data/file", "frames"))


@pytest.mark.parametrize("frames", [1, 5, 10, 16, 25])
def test_gif_takes_each_frame_once(tmp_path: Path, frames: int) -> None:
    path = write_gif(tmp_path / "a.gif", frames)
    media = Media("data/a.gif", "gif")
    info = probe_video(path, media)
    assert info == VideoInfo(frames, 25.0, 0)
    indices = choose_frames(info, media, 16, "segment_middle")
    assert list(indices) == sorted(set(official_segments(frames - 1, 25, 16, None, None, 0)))
    assert len(indices) < 16 if frames < 16 else len(indices) <= 16
    shown = [image.getpixel((0, 0)) for image in read_frames(path, media, indices)]
    assert shown == [(index * 10, 0, 255 - index * 10) for index in indices]


def test_cut_gif(tmp_path: Path) -> None:
    path = write_gif(tmp_path / "a.gif", 1)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 12])
    media = Media("data/a.gif", "gif")
    with pytest.raises(MediaError):
        list(read_frames(path, media, (0,)))
