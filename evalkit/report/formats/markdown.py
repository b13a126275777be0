"""Tables as Markdown, aligned for a terminal too."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from evalkit.report.printed import PrintedTable, PrintedTables, Text


def width(text: str) -> int:
    """Return the columns a text takes in a terminal; wide (CJK) characters take two."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _markdown_text(cell: Text) -> str:
    # A run's label is free text: no pipe may end its cell, no line end its row, no tag start an element.
    text = re.sub(r"\s+", " ", cell.text).replace("|", "\\|").replace("<", "&lt;")
    marks = "".join(f" [{mark}]" if mark.isdecimal() else f" {mark}" for mark in cell.marks)
    return (f"**{text}**" if cell.bold else text) + marks


def _markdown_table(rows: Sequence[Sequence[Text]]) -> list[str]:
    cells = [[_markdown_text(cell) for cell in row] for row in rows]
    widths = [max(3, *(width(row[column]) for row in cells)) for column in range(len(cells[0]))]

    def line(row: Sequence[str]) -> str:
        first, *others = (
            text + pad if column == 0 else pad + text
            for column, text in enumerate(row)
            for pad in [" " * (widths[column] - width(text))]
        )
        return f"| {' | '.join([first, *others])} |"

    rule = "|".join("-" * (size + 2) if column == 0 else "-" * (size + 1) + ":" for column, size in enumerate(widths))
    return [line(cells[0]), f"|{rule}|", *(line(row) for row in cells[1:])]


def _single_head(grid: PrintedTable) -> list[Text]:
    """Return one header line: Markdown has no columns that span others, so a run's label is the header of its score."""
    head = list(grid.head)
    column = 0
    for label, span in grid.spans:
        if label and head[column] == "score":
            head[column] = label
        column += span
    return [Text(text) for text in head]


def markdown(content: PrintedTables) -> str:
    """Return tables as one Markdown document."""
    lines = [f"# {content.title}", ""]
    lines += [f"**{run}**: {note}." for run, note in content.notes]
    lines.append(content.legend)
    for grid in content.grids:
        lines += ["", f"## {grid.title}", "", *_markdown_table([_single_head(grid), *grid.rows])]
        lines += ["", grid.source] if grid.source else []
        lines += ["", *(f"- {note}" for note in grid.footnotes)] if grid.footnotes else []
    return "\n".join(lines) + "\n"
