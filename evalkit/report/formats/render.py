"""Prints tables in any format."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evalkit.report.formats.data import csv_text, json_text
from evalkit.report.formats.html import html
from evalkit.report.formats.markdown import markdown
from evalkit.report.formats.tex import tex
from evalkit.report.printed import PrintedTables, document
from evalkit.report.table import TableData

_TEXTS: dict[str, Callable[[PrintedTables], str]] = {"md": markdown, "tex": tex, "html": html}
_DATA: dict[str, Callable[[Sequence[TableData]], str]] = {"csv": csv_text, "json": json_text}
FORMATS = ("md", "csv", "tex", "html", "json")


def render(tables: Sequence[TableData], output: str, compact: bool = False) -> str:
    """Return tables as text.

    Args:
        tables: from ``table.build``.
        output: one of FORMATS.
        compact: fewer columns and rows, for READMEs; csv and json, which hold data, are the same either way.
    """
    if output in _DATA:
        return _DATA[output](tables)
    return _TEXTS[output](document(tables, compact))
