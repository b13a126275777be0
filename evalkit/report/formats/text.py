"""Prints the card's tables: Markdown, CSV, TeX, HTML, JSON."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from evalkit.report.printed import PrintedTable, PrintedTables, Text, document
from evalkit.report.table import Cell, TableData
from evalkit.runs.folder import RowResult

_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\textasciicircum{}",
    "_": r"\_", "~": r"\textasciitilde{}", "%": r"\%", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "†": r"$\dagger$", "[": "{[}", "]": "{]}",
}  # fmt: skip
# Enough for a table that is looked at by itself, in light and dark.
_STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem}"
    "table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}"
    "th,td{padding:.25rem .6rem;border-bottom:1px solid #8886;text-align:right;white-space:nowrap}"
    "th:first-child,td:first-child{text-align:left}caption{text-align:left;font-weight:600;padding:.5rem 0}"
)


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
    """Return one head line: Markdown has no columns that span others, so a run's label stands over its score."""
    head = list(grid.head)
    column = 0
    for label, span in grid.spans:
        if span == 5 and head[column] == "score":
            head[column] = label
        column += span
    return [Text(text) for text in head]


def _markdown(content: PrintedTables) -> str:
    lines = [f"# {content.title}", ""]
    lines += [f"**{run}**: {note}." for run, note in content.notes]
    lines.append(content.legend)
    for grid in content.grids:
        lines += ["", f"## {grid.title}", "", *_markdown_table([_single_head(grid), *grid.rows]), "", grid.source]
        lines += ["", *(f"- {note}" for note in grid.footnotes)] if grid.footnotes else []
    return "\n".join(lines) + "\n"


def _tex_escaped(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in " ".join(text.split()))


def _tex_cell(cell: Text) -> str:
    text = _tex_escaped(cell.text)
    marks = ",".join(_tex_escaped(mark) for mark in cell.marks)
    return (rf"\textbf{{{text}}}" if cell.bold else text) + (rf"\textsuperscript{{{marks}}}" if marks else "")


def _tex_table(content: PrintedTables, grid: PrintedTable) -> list[str]:
    lines = [
        r"\begin{table}", r"\centering", rf"\caption{{{_tex_escaped(f'{content.title}: {grid.title}')}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(grid.head) - 1)}}}", r"\toprule",
    ]  # fmt: skip
    if grid.spans:
        heads, rules, column = [], [], 1
        for label, span in grid.spans:
            heads.append(rf"\multicolumn{{{span}}}{{c}}{{{_tex_escaped(label)}}}" if label else "")
            rules += [rf"\cmidrule(lr){{{column}-{column + span - 1}}}"] if label else []
            column += span
        lines += [" & ".join(heads) + r" \\", " ".join(rules)]
    lines += [" & ".join(_tex_escaped(text) for text in grid.head) + r" \\", r"\midrule"]
    lines += [" & ".join(map(_tex_cell, row)) + r" \\" for row in grid.rows]
    lines += [r"\bottomrule", r"\end{tabular}", ""]
    notes = [f"{run}: {note}." for run, note in content.notes]
    notes += [content.legend, grid.source, *grid.footnotes]
    lines += [rf"\par\smallskip{{\footnotesize {_tex_escaped(note)}\par}}" for note in notes]
    return [*lines, r"\end{table}"]


def _tex(content: PrintedTables) -> str:
    # Wide tables and Chinese labels are the document's to set: it chooses the engine and the page.
    lines = [r"% \usepackage{booktabs}; labels in Chinese need xelatex or lualatex and a font that has them"]
    for grid in content.grids:
        lines += ["", *_tex_table(content, grid)]
    return "\n".join(lines) + "\n"


def _html_cell(cell: Text, tag: str) -> str:
    text = escape(cell.text)
    marks = f"<sup>{escape(', '.join(cell.marks))}</sup>" if cell.marks else ""
    return f"<{tag}>{f'<b>{text}</b>' if cell.bold else text}{marks}</{tag.split()[0]}>"


def html_table(grid: PrintedTable) -> str:
    """Return one table as an HTML fragment, everything escaped."""
    spans = "".join(
        f'<th colspan="{span}" scope="colgroup">{escape(label)}</th>' if label else f'<td colspan="{span}"></td>'
        for label, span in grid.spans
    )
    lines = [f"<table><caption>{escape(grid.title)}</caption>", "<thead>"]
    lines += [f"<tr>{spans}</tr>"] if spans else []
    lines.append("<tr>" + "".join(_html_cell(Text(text), 'th scope="col"') for text in grid.head) + "</tr>")
    lines.append("</thead><tbody>")
    for first, *others in grid.rows:
        cells = "".join(_html_cell(cell, "td") for cell in others)
        lines.append("<tr>" + _html_cell(first, 'th scope="row"') + cells + "</tr>")
    lines += ["</tbody></table>", f"<p>{escape(grid.source)}</p>"]
    if grid.footnotes:
        lines.append("<ul>" + "".join(f"<li>{escape(note)}</li>" for note in grid.footnotes) + "</ul>")
    return "\n".join(lines)


def _html(content: PrintedTables) -> str:
    notes = "".join(f"<p><b>{escape(run)}</b>: {escape(note)}.</p>" for run, note in content.notes)
    title = escape(content.title)
    body = "\n".join(map(html_table, content.grids))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>{notes}<p>{escape(content.legend)}</p>\n"
        f"{body}\n</body></html>\n"
    )


def _csv(tables: Sequence[TableData]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["table", "row", "label", "column", "kind", "value", "ci_low", "ci_high", "n", "expected_n", "difference"]
    writer.writerow([*head, "verdict", "best", "significant", "settings"])
    for data in tables:
        for place, row in enumerate(data.table.rows):
            start = [data.table.id, row.id, row.label]
            for model in data.table.models:
                writer.writerow([*start, model.name, "published", row.published.get(model.name), *[None] * 9])
            for label, _, cells in data.runs:
                cell = cells[place]
                found = cell.result or RowResult(None, None, 0, 0, None, (), ())
                numbers = [found.score, *(found.ci95 or (None, None)), found.n, found.expected_n]
                marks = [int(cell.best), int(cell.significant), "; ".join(found.settings)]
                writer.writerow([*start, label, "run", *numbers, cell.difference, cell.verdict, *marks])
    return text.getvalue()


def _json(tables: Sequence[TableData]) -> str:
    content = [
        {
            "id": data.table.id,
            "title": data.table.title,
            "rows": [
                {
                    "id": row.id,
                    "label": row.label,
                    "metric": row.metric,
                    "tasks": data.card.formula(row).tasks,
                    "published": row.published,
                    "note": row.note,
                    "flags": row.flags,
                    "runs": [_json_cell(label, cells[place]) for label, _, cells in data.runs],
                }
                for place, row in enumerate(data.table.rows)
            ],
        }
        for data in tables
    ]
    runs = [{"label": label, "notes": list(notes)} for label, notes, _ in tables[0].runs] if tables else []
    return json.dumps({"runs": runs, "tables": content}, ensure_ascii=False, indent=1) + "\n"


def _json_cell(label: str, cell: Cell) -> dict[str, Any]:
    result = cell.result._asdict() if cell.result else {}
    marks = {"best": cell.best, "significant": cell.significant}
    return {"run": label, "verdict": cell.verdict, "difference": cell.difference} | marks | result


_TEXTS: dict[str, Callable[[PrintedTables], str]] = {"md": _markdown, "tex": _tex, "html": _html}
_DATA: dict[str, Callable[[Sequence[TableData]], str]] = {"csv": _csv, "json": _json}
FORMATS = ("md", "csv", "tex", "html", "json")
