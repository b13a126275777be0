"""The card's tables with runs beside the published numbers: Markdown, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from evalkit.card import Card, Row, Table


class RowResult(NamedTuple):
    """What a run has for one row of a card.

    Attributes:
        score: on the card's scale; None where labels are hidden or tasks are missing.
        ci95: its interval.
        n: samples of the run.
        expected_n: official number of samples, of the tasks that were run.
        fixed: the score with the official scorer's defects mended.
        missing_tasks: tasks of the row that were not run.
        notes: samples that are not ok.
        failed: samples without an answer.
    """

    score: float | None
    ci95: tuple[float, float] | None
    n: int
    expected_n: int
    fixed: float | None
    missing_tasks: tuple[str, ...]
    notes: tuple[str, ...]
    failed: int = 0


class RunResult(Protocol):
    """A run, as far as tables need it."""

    @property
    def label(self) -> str:
        """The run's name in the tables."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said of the whole run."""

    def row(self, tasks: Sequence[str]) -> RowResult | None:
        """Return the result for a row with these tasks; None where none of them was run."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of one run.

    Attributes:
        result: the run's result; None: not run.
        difference: score minus the published value of the card's own model.
        verdict: see ``verdict``.
    """

    result: RowResult | None
    difference: float | None
    verdict: str


@dataclass(frozen=True, slots=True)
class TableData:
    """One table of the card with its runs.

    Attributes:
        table: the card's table.
        card: the card.
        runs: (label, notes, cells in row order) of each run.
    """

    table: Table
    card: Card
    runs: list[tuple[str, tuple[str, ...], list[Cell]]]


def published_value(row: Row, card: Card) -> float | None:
    """Return the number that the card prints for its own model."""
    return row.published.get(card.model)


def verdict(row: Row, published: float | None, result: RowResult | None) -> str:
    """Return what may be said of a row.

    ``reproduced`` needs the full split, and a published number that meets our 95 % interval when it is taken as its
    rounding interval, half a unit of the last printed digit to both sides.
    """
    if result is None:
        return "not run"
    if result.missing_tasks or result.n != result.expected_n:
        lacking = f", without {', '.join(result.missing_tasks)}" if result.missing_tasks else ""
        return f"partial ({result.n} of {result.expected_n}{lacking})"
    if result.score is None:
        return "no local labels"
    if published is None:
        return "nothing published"
    low, high = result.ci95 or (result.score, result.score)
    # The tiny addend keeps an interval that ends exactly on the rounding bound inside: 72.9 - 0.05 > 72.85 in floats.
    half = 0.5 * 10**-row.decimals + 1e-9
    return "reproduced" if low <= published + half and high >= published - half else "differs"


def build(card: Card, runs: Sequence[RunResult]) -> list[TableData]:
    """Return the card's tables filled with runs."""
    return [
        TableData(table, card, [(run.label, run.notes, [_cell(row, card, run) for row in table.rows]) for run in runs])
        for table in card.tables
    ]


def _cell(row: Row, card: Card, run: RunResult) -> Cell:
    result = run.row(row.tasks)
    published = published_value(row, card)
    difference = None
    if result is not None and result.score is not None and published is not None:
        difference = result.score - published
    return Cell(result, difference, verdict(row, published, result))


def render(tables: Sequence[TableData], output: str) -> str:
    """Return tables as text.

    Args:
        tables: from ``build``.
        output: ``md``, ``csv`` or ``json``.
    """
    return FORMATS[output](tables)


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _texts(row: Row, cell: Cell) -> tuple[str, str, str, str]:
    """Return score, interval, difference and n of a cell as texts."""
    result = cell.result
    if result is None:
        return "-", "-", "-", "-"
    interval = "-"
    if result.ci95 is not None:
        interval = f"[{_number(result.ci95[0], row.decimals)}, {_number(result.ci95[1], row.decimals)}]"
    difference = "-" if cell.difference is None else f"{cell.difference:+.{row.decimals}f}"
    return _number(result.score, row.decimals), interval, difference, f"{result.n}/{result.expected_n}"


def width(text: str) -> int:
    """Return the columns a text takes in a terminal; wide (CJK) characters take two."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
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


def _benchmarks_down(data: TableData) -> list[list[str]]:
    table = data.table
    head = ["benchmark", *(model.name for model in table.models)]
    for label, _, _ in data.runs:
        head += [label, "95%", "difference", "n", "verdict"]
    rows = [head]
    for place, row in enumerate(table.rows):
        line = [row.label, *(_number(row.published.get(model.name), row.decimals) for model in table.models)]
        for _, _, cells in data.runs:
            line += [*_texts(row, cells[place]), cells[place].verdict]
        rows.append(line)
    return rows


def _models_down(data: TableData) -> list[list[str]]:
    rows = [["model", *(row.label for row in data.table.rows)]]
    for model in data.table.models:
        rows.append([model.name, *(_number(row.published.get(model.name), row.decimals) for row in data.table.rows)])
    for label, _, cells in data.runs:
        texts = [_texts(row, cell) for row, cell in zip(data.table.rows, cells, strict=True)]
        for kind, name in enumerate((label, "- 95%", "- difference", "- n")):
            rows.append([name, *(columns[kind] for columns in texts)])
        rows.append(["- verdict", *(cell.verdict for cell in cells)])
    return rows


def _footnotes(data: TableData) -> list[str]:
    """Return what a reader must know beside the numbers: of the rows, and of what each run made of them."""
    lines = [f"- {row.label}: {row.note}." for row in data.table.rows if row.note]
    details = {flag.id: flag.detail for flag in data.card.flags}
    lines += [f"- {row.label}: {details[flag]}" for row in data.table.rows for flag in row.flags]
    for label, _, cells in data.runs:
        for row, cell in zip(data.table.rows, cells, strict=True):
            result = cell.result
            if result is None:
                continue
            if result.fixed is not None and result.score is not None and abs(result.fixed - result.score) > 1e-9:
                lines.append(f"- {label}, {row.label}: {_number(result.fixed, row.decimals)} with the fixed scorer.")
            if len(row.tasks) == 1 or not data.table.models_as_rows:
                lines += [f"- {label}: {note}." for note in result.notes]
    return list(dict.fromkeys(lines))


def _source(data: TableData) -> str:
    places = "Rows" if data.table.models_as_rows else "Columns"
    return f"{places} named after models are as published, not measured here; source: {data.card.source}."


def _markdown(tables: Sequence[TableData]) -> str:
    lines: list[str] = []
    if tables:
        card = tables[0].card
        lines += [f"# {card.title}", ""]
        for label, notes, _ in tables[0].runs:
            lines += [f"**{label}**: {note}." for note in notes]
        lines.append(f"Differences are to the published {card.model}. n: samples of the run / official number.")
    for data in tables:
        rows = _models_down(data) if data.table.models_as_rows else _benchmarks_down(data)
        lines += ["", f"## {data.table.title}", "", *_markdown_table(rows), "", _source(data)]
        footnotes = _footnotes(data)
        lines += ["", *footnotes] if footnotes else []
    return "\n".join(lines) + "\n"


def _csv(tables: Sequence[TableData]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["table", "row", "label", "column", "kind", "value", "ci_low", "ci_high", "n", "expected_n", "difference"]
    writer.writerow([*head, "verdict"])
    for data in tables:
        for place, row in enumerate(data.table.rows):
            start = [data.table.id, row.id, row.label]
            for model in data.table.models:
                writer.writerow([*start, model.name, "published", row.published.get(model.name), *[None] * 6])
            for label, _, cells in data.runs:
                cell = cells[place]
                found = cell.result or RowResult(None, None, 0, 0, None, (), ())
                numbers = [found.score, *(found.ci95 or (None, None)), found.n, found.expected_n]
                writer.writerow([*start, label, "run", *numbers, cell.difference, cell.verdict])
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
                    "tasks": row.tasks,
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
    return {"run": label, "verdict": cell.verdict, "difference": cell.difference} | result


FORMATS: dict[str, Callable[[Sequence[TableData]], str]] = {"md": _markdown, "csv": _csv, "json": _json}
