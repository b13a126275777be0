"""Images inside tables: several in one TSV cell, and cells of a Parquet file."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from evalkit.data.root import DataRoot
from evalkit.errors import MediaError
from evalkit.media.load import canonical, images, load, probe
from evalkit.media.rows import has_images
from evalkit.records import Media, View


def png(colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (30, 20), (colour, 0, 0)).save(file, "PNG")
    return file.getvalue()


def view(path: str) -> View:
    return View(Media(path, "row"), 28, 6, True, 0, "segment_middle")


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    (tmp_path / "data").mkdir()
    return DataRoot(tmp_path)


def write_table(root: DataRoot, **columns: list[Any]) -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), root.base / "m.parquet")


def red_of(path: str, root: DataRoot) -> int:
    (image,) = images(view(path), root)
    pixel = np.asarray(image)[0, 0]
    return int(pixel[0])


def test_each_image_of_a_cell_that_lists_several(root: DataRoot) -> None:
    cells = [str([base64.b64encode(png(colour)).decode() for colour in colours]) for colours in ((10, 20), (40,))]
    cells.insert(1, base64.b64encode(png(30)).decode())
    (root.base / "m.tsv").write_text("index\timage\n" + "\n".join(f"{i}\t{cell}" for i, cell in enumerate(cells)))
    assert [red_of(f"data/m.tsv#{path}", root) for path in ("0/0", "0/1", "1", "2")] == [10, 20, 30, 40]
    with pytest.raises(MediaError):
        load(view("data/m.tsv#0/2"), root)
    assert canonical(view("data/m.tsv#0/1"), root) == view("data/m.tsv#0/1")


def test_an_index_may_contain_a_slash(root: DataRoot) -> None:
    (root.base / "m.tsv").write_text(f"index\timage\na/0\t{base64.b64encode(png(40)).decode()}\n")
    assert red_of("data/m.tsv#a/0", root) == 40


def test_images_of_a_parquet_file(root: DataRoot) -> None:
    cells = [{"bytes": png(50), "path": "a.png"}, None, {"bytes": png(60), "path": None}]
    write_table(root, id=["x", "y", "z"], image_1=cells)
    assert [red_of(f"data/m.parquet#{row}/image_1", root) for row in (0, 2)] == [50, 60]
    assert probe(view("data/m.parquet#1/image_1"), root) is None
    with pytest.raises(MediaError, match="no image for this row"):
        load(view("data/m.parquet#1/image_1"), root)
    shown = view("data/m.parquet#0/image_1")
    assert canonical(shown, root) == shown


@pytest.mark.parametrize("path", ["#9/image_1", "#0/image_2", "#x/image_1", "#0"])
def test_cells_that_are_not_there_fail_their_sample(path: str, root: DataRoot) -> None:
    write_table(root, image_1=[{"bytes": png(1), "path": ""}])
    with pytest.raises(MediaError):
        load(view(f"data/m.parquet{path}"), root)


def test_a_file_that_is_no_parquet_fails_its_samples(root: DataRoot) -> None:
    (root.base / "m.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(MediaError):
        load(view("data/m.parquet#0/image_1"), root)


def test_whether_a_table_has_images(root: DataRoot) -> None:
    write_table(root, image_1=[None])
    (root.base / "with.tsv").write_bytes(b'index\t"image"\r\n')
    (root.base / "without.tsv").write_text("index\timage_path\n")
    names = ("m.parquet", "with.tsv", "without.tsv")
    assert [has_images(root.base / name) for name in names] == [True, True, False]
