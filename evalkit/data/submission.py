"""Submission files for splits scored by a server; callers have checked that the ids are complete."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.files import write_atomically

# Excel's limit; openpyxl would silently truncate longer text.
CELL_LIMIT = 32_767
# Characters that XML cannot represent, and the underscore of text that looks like their escape (ECMA-376, 22.9.2.19).
_UNSTORABLE = re.compile(r"[\x00-\x08\x0b-\x1f]|_x[0-9A-Fa-f]{4}_")


def write_json(path: Path, content: Any) -> None:
    """Write one JSON document."""
    write_atomically(path, json.dumps(content, ensure_ascii=False) + "\n")


def _escaped(match: re.Match[str]) -> str:
    return f"_x{ord(match[0][0]):04X}_{match[0][1:]}"


def write_xlsx(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str | int | None]]) -> None:
    """Write a table in which every string stays unchanged: not a formula, not a number, not truncated.

    Args:
        path: the file.
        columns: the column names.
        rows: cells; a string is written as a string even if it looks like a number, None leaves the cell empty.

    Raises:
        UsageError: a string is too long for a cell.
    """
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.create_sheet("Sheet1", 0)
    del book["Sheet"]
    for number, row in enumerate([columns, *rows], start=1):
        for column, value in enumerate(row, start=1):
            text = _UNSTORABLE.sub(_escaped, value) if isinstance(value, str) else value
            if isinstance(text, str) and len(text) > CELL_LIMIT:
                raise UsageError(f"{path}: row {number}: {len(text)} characters; a cell is limited to {CELL_LIMIT}")
            cell = sheet.cell(number, column, text)
            if isinstance(text, str):
                cell.data_type = "s"  # else "=1+1" would become a formula
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
