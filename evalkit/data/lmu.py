"""Rows of VLMEvalKit's TSV files (``$LMUData/NAME.tsv``), as its own loader sees them (VLMEvalKit sheet 1, 11).

Its twin for files over 1 GB, ``NAME_local.tsv`` with paths of images, is not supported.
"""

from __future__ import annotations

import ast
import csv
import io
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.data.readers import REFERENCE_LENGTH, Record, tsv_chunks
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.metrics.read_back import MISSING
from evalkit.records import Media

if TYPE_CHECKING:
    import pandas as pd


class LmuRow(Record):
    """One row; its cells are the texts that pandas shows, and missing cells are absent.

    Args:
        data: the cells, without the image.
        where: as in Record.
        line: as in Record.
        lost: cells that are missing only to pandas: ``None``, ``N/A`` ...
        images: number of images.
        place: official path of the TSV, and the index as it is written there.

    Attributes:
        id: the index.
        media: the images.

    Raises:
        UsageError: no index, or several images and not a name for each.
    """

    def __init__(
        self, data: dict[str, Any], where: str, line: int, lost: Mapping[str, str], images: int, place: str
    ) -> None:
        super().__init__(data, where, line)
        self.lost = lost
        self.id = self.text("index")
        self.media = (Media(place, "row"),) if images == 1 else self._several(images, place)

    def _several(self, images: int, place: str) -> tuple[Media, ...]:
        """Return several images; VLMEvalKit saves them under their own names, so a .png stays lossless."""
        names = self.entries("image_path")
        if len(names) < images:
            raise UsageError(f"{self.where}: {images} images but {len(names)} names in 'image_path'")
        return tuple(
            Media(f"{place}/{number}", "row", lossless=names[number].lower().endswith(".png"))
            for number in range(images)
        )

    def among(self, key: str, allowed: Collection[str]) -> str:
        """Return a cell that must be one of some texts.

        Raises:
            UsageError: it is missing or another text.
        """
        text = self.text(key)
        if text not in allowed:
            raise UsageError(f"{self.where}: {key!r} must be one of {', '.join(allowed)}, not {text!r}")
        return text

    def entries(self, key: str, strict: bool = True) -> list[str]:
        """Return the items of a cell that holds a Python list, as texts; any other text is the only item.

        Args:
            key: the column.
            strict: whether a text that begins and ends like a list must be one.

        Raises:
            UsageError: the cell is missing, or is no list although it must be.
        """
        text = self.text(key)
        try:
            return _entries(text, f"{self.where}: {key!r}")
        except UsageError:
            if strict:
                raise
            return [text]


def lmu_rows(root: DataRoot, file: str) -> list[LmuRow]:
    """Read the rows of a file; images are counted and left where they are.

    A row with an empty image cell is dropped; a file without that column keeps all rows, for scoring only. A column of
    numbers is shown as pandas shows it: ``3``, or ``3.0`` if one of its cells is missing.

    Args:
        root: the data root.
        file: official path of the TSV.

    Raises:
        IncompleteError: the file is missing.
        UsageError: the table is malformed.
    """
    path = root.resolve(file)
    table, images = _read(path, file)
    rows = []
    stored = table.to_dict("records")
    for line, (cells, shown) in enumerate(zip(stored, _as_shown(table).to_dict("records"), strict=True)):
        if images is None or line in images:
            present = {str(key): str(value) for key, value in shown.items() if value == value}  # NaN is a missing cell
            lost = {str(key): text for key, text in cells.items() if key not in present and text and text == text}
            number = images[line] if images else 1
            place = f"{file}#{cells.get('index')}"  # "007" in the file is 7 to pandas
            rows.append(LmuRow(present, f"{path}: row {line + 1}", line, lost, number, place))
    if not rows:
        raise UsageError(f"{path}: no row" + (" with an image" if stored else ""))
    return rows


def _read(path: Path, file: str) -> tuple[pd.DataFrame, dict[int, int] | None]:
    """Return all columns but the image, and the number of images of each row that has any.

    The latter is None without an image column.
    """
    import pandas as pd

    tables: list[pd.DataFrame] = []
    counts: dict[int, int] | None = None
    known: dict[str, int] = {}
    references: dict[int, str] = {}
    for chunk in tsv_chunks(path, file):
        tables.append(chunk.drop(columns="image", errors="ignore"))
        if "image" not in chunk:
            continue
        counts = counts or {}
        for line, index, cell in zip(chunk.index, chunk.get("index", chunk.index), chunk["image"], strict=True):
            if not isinstance(cell, str) or cell in MISSING:
                continue
            if cell != "[]" and len(cell) <= REFERENCE_LENGTH:
                counts[line], references[line] = 1, cell
            elif number := len(_entries(cell, f"{path}: row {line + 1}: 'image'")):
                counts[line] = known[str(index)] = number
    # A reference to a row without an image is left to the image's reader, which says so.
    return pd.concat(tables), counts and counts | {line: known.get(target, 1) for line, target in references.items()}


def _as_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of texts with the types that pandas infers for each whole column."""
    import pandas as pd

    text = table.to_csv(sep="\t", index=False, quoting=csv.QUOTE_ALL)
    return pd.read_csv(io.StringIO(text), sep="\t", index_col=False)


def _entries(text: str, where: str) -> list[str]:
    """Return the items of a Python list, as VLMEvalKit's ``toliststr`` does; a text that is no list is the only item.

    Raises:
        UsageError: the text begins and ends like a list but is none.
    """
    if not (text.startswith("[") and text.endswith("]")):
        return [text]
    try:
        return [str(item) for item in ast.literal_eval(text)]
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise UsageError(f"{where} is not a Python list: {text[:60]}") from error
