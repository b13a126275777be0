"""Images inside tables: base64 cells of a TSV, and cells of a Parquet file of the Hub."""

from __future__ import annotations

import ast
import base64
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from evalkit.data.readers import REFERENCE_LENGTH
from evalkit.errors import MediaError
from evalkit.records import Media

_LOCK = threading.Lock()  # else all threads of a loader would read the same large file at once


def table_of(media: Media) -> str:
    """Return the official path of the table that contains a ``row``."""
    return media.path.partition("#")[0]


def row_image(media: Media, path: Path) -> bytes | None:
    """Return the image file in a row of a table; None if the row has none.

    Args:
        media: the row (see ``Media.path``).
        path: the table on this machine.

    Raises:
        MediaError: the row refers to another row that has no image itself.
        ValueError: the cell is not base64, or has another form than the path says.
    """
    if path.suffix == ".parquet":
        return _parquet_image(media, path)
    cell = cell_of(media, path)
    return base64.b64decode(cell) if cell else None


def has_images(path: Path) -> bool:
    """Return whether a table has images: a Parquet file, or a TSV with that column."""
    if path.suffix == ".parquet":
        return True
    with path.open("rb") as file:
        head = file.readline().removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n").replace(b'"', b"")
    return b"image" in head.split(b"\t")


def cell_of(media: Media, path: Path) -> str | None:
    """Return the base64 image of a TSV's row; None if it has none (errors as in ``row_image``)."""
    images, _ = _tsv(path)
    index = media.path.partition("#")[2]
    part = None
    if index not in images and "/" in index:
        index, _, part = index.rpartition("/")
    cell = _referred(images, index, media)
    if not cell or (part is None and not cell.startswith("[")):
        return cell
    return str(ast.literal_eval(cell)[int(part or 0)])  # a cell may also list a single image


def _referred(images: Mapping[str, str], index: str, media: Media) -> str | None:
    """Return the image cell of a row, or of the row that it refers to."""
    cell = images.get(index)
    if cell and len(cell) <= REFERENCE_LENGTH:
        target, cell = cell, images.get(cell)
        if cell and len(cell) <= REFERENCE_LENGTH:
            raise MediaError(media.path, f"row {index} refers to the image of row {target}, which has none itself")
    return cell or None


def first_row(media: Media, path: Path) -> str:
    """Return the first row of a TSV with the same image as a row: MMBench's rotations repeat it in many rows."""
    index = media.path.partition("#")[2]
    if path.suffix == ".parquet":
        return index
    return _tsv(path)[1].get(cell_of(media, path) or "", index)


def _tsv(path: Path) -> tuple[Mapping[str, str], Mapping[str, str]]:
    stat = path.stat()
    with _LOCK:
        return _tsv_images(str(path), stat.st_mtime_ns, stat.st_size)


# At least as many as a card has such files: their questions alternate in the queue, and reading one takes seconds.
@lru_cache(maxsize=16)
def _tsv_images(path: str, mtime_ns: int, size: int) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the images of a TSV by index, equal ones stored once (rotations repeat them), and the first index of each.

    Args:
        path: the TSV.
        mtime_ns: its modification time; with ``size`` it makes a changed file a new cache entry.
        size: its size in bytes.
    """
    import pandas as pd

    wanted = ("index", "image")
    table = pd.read_csv(path, sep="\t", usecols=lambda name: name in wanted, dtype=str, keep_default_na=False)
    if not set(wanted) <= set(table.columns):
        return {}, {}
    kept: dict[str, str] = {}
    first: dict[str, str] = {}
    images = {}
    for index, image in zip(table["index"], table["image"], strict=True):
        images[index] = kept.setdefault(image, image)
        first.setdefault(kept[image], index)
    return images, first


def _parquet_image(media: Media, path: Path) -> bytes | None:
    row, _, column = media.path.partition("#")[2].partition("/")
    stat = path.stat()
    with _LOCK:
        images = _parquet_images(str(path), column, stat.st_mtime_ns, stat.st_size)
    return images[int(row)]


# A column of one of MMMU's subjects takes up to 60 MB; reading it again costs less than decoding its images.
@lru_cache(maxsize=4)
def _parquet_images(path: str, column: str, mtime_ns: int, size: int) -> list[bytes | None]:
    """Return the image files in a column of a Parquet file, as ``datasets`` stores them (``bytes``, ``path``).

    Args:
        path: the file.
        column: the column.
        mtime_ns: as in ``_tsv_images``.
        size: as in ``_tsv_images``.
    """
    import pyarrow.parquet

    cells = pyarrow.parquet.read_table(path, columns=[column])[column].to_pylist()
    return [None if cell is None else cell["bytes"] for cell in cells]
