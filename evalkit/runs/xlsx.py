"""VLMEvalKit's published answers: an xlsx with the columns ``index`` and ``prediction``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.records import Response


def read_xlsx(path: Path) -> Iterator[tuple[str, Response]]:
    """Yield where each answer stands, for messages, and the answer.

    A cell's text is what was written; an empty cell is an empty answer. Tasks that score answers as VLMEvalKit reads
    them back from its xlsx apply that themselves, which leaves text from such a file as it is (``read_back``).

    Raises:
        UsageError: not an xlsx, without these columns, or a row without an index.
    """
    from openpyxl import load_workbook

    try:
        sheet = load_workbook(path, read_only=True).worksheets[0]
        sheet.reset_dimensions()  # some writers record none, or wrong ones
        rows = list(sheet.iter_rows(values_only=True))
    except Exception as error:  # a damaged workbook fails with nearly every class: zip, XML, openpyxl's own
        reason = getattr(error, "strerror", None) or "not an Excel workbook"
        raise UsageError(f"{path}: cannot be read ({reason})") from error
    head = list(rows[0]) if rows else []
    if not {"index", "prediction"} <= set(head):
        found = ", ".join(str(name) for name in head if name is not None) or "none"
        raise UsageError(f"{path}: needs the columns 'index' and 'prediction'; it has {found}")
    index, prediction = head.index("index"), head.index("prediction")
    for number, cells in enumerate(rows[1:], start=2):
        if all(cell is None for cell in cells):
            continue
        cells = (*cells, *[None] * (len(head) - len(cells)))
        where = f"{path}: row {number}"
        if cells[index] is None:
            raise UsageError(f"{where}: no index")
        yield where, Response(_text(cells[index]), _text(cells[prediction]))


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)
