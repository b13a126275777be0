"""The card's tables as rows of texts: what Markdown, TeX and HTML print alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evalkit.card import Row
from evalkit.report.table import Cell, TableData, published_value
from evalkit.summary import of_official

DAGGER = "†"


class Text(NamedTuple):
    """One printed cell.

    Attributes:
        text: what it says.
        bold: whether it is the best of its row.
        marks: dagger of a significant difference, then the numbers of footnotes.
    """

    text: str
    bold: bool = False
    marks: tuple[str, ...] = ()


class PrintedTable(NamedTuple):
    """One printed table.

    Attributes:
        id: the table's id in the card.
        title: its heading.
        spans: (label, columns) of the headers above the header; empty if there are none.
        head: header of each column.
        rows: the cells.
        source: where the published numbers are from; empty if there are none.
        footnotes: caveats about the numbers.
    """

    id: str
    title: str
    spans: list[tuple[str, int]]
    head: list[str]
    rows: list[list[Text]]
    source: str
    footnotes: list[str]


class PrintedTables(NamedTuple):
    """All tables of a card.

    Attributes:
        title: the card's.
        notes: (run, caveat).
        legend: how to read the columns.
        grids: the tables.
    """

    title: str
    notes: list[tuple[str, str]]
    legend: str
    grids: list[PrintedTable]


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> PrintedTable:
    """Return a table of texts, without a title and notes."""
    return PrintedTable("", "", [], list(head), [[Text(text) for text in row] for row in rows], "", [])


def document(tables: Sequence[TableData], compact: bool = False) -> PrintedTables:
    """Return tables as texts.

    Args:
        tables: from ``build``.
        compact: the card's own model and the runs only, one column each, and only rows that a run has scores of.
    """
    card = tables[0].card
    if compact:
        legend = f"{card.model}: as published, not measured here. " if card.model else ""
        legend += "±: half the width of the 95% interval, which is printed itself if the score is its edge."
    else:
        legend = f"Differences are to the published {card.model}. " if card.model else ""
        legend += "n: samples of the run / official number."
    if any(cell.best for data in tables for _, _, cells in data.runs for cell in cells):
        legend += f" Bold: best run of the row. {DAGGER}: differs significantly from it"
        legend += " (paired, two-sided, Holm-corrected, alpha 0.05)."
    notes = [(label, note) for label, notes, _ in tables[0].runs for note in notes]
    return PrintedTables(card.title, notes, legend, [grid for data in tables if (grid := _grid(data, compact)).rows])


def _grid(data: TableData, compact: bool) -> PrintedTable:
    numbers = _numbered(data)
    if compact:
        head, rows = _compact(data, numbers)
        spans: list[tuple[str, int]] = []
    elif data.table.models_as_rows:
        head, rows, spans = *_models_down(data, numbers), []
    else:
        head, rows = _benchmarks_down(data, numbers)
        width = len(_run_head(data))
        spans = [("", len(_row_head(data))), ("published", len(data.table.models))]
        spans += [(label, width) for label, _, _ in data.runs]
        spans = [span for span in spans if span[1]]
    notes = [f"[{number}] {text}" for text, number in numbers.items()] + _footnotes(data, compact)
    return PrintedTable(data.table.id, data.table.title, spans, head, rows, _source(data, compact), notes)


def _source(data: TableData, compact: bool) -> str:
    """Return where the published numbers are from; nothing for tasks outside the card."""
    if data.other:
        return ""
    if not (data.card.model if compact else data.table.models):
        return f"Source of the benchmarks: {data.card.source}."
    lines = "Rows" if data.table.models_as_rows and not compact else "Columns"
    return f"{lines} named after models are as published, not measured here; source: {data.card.source}."


def _numbered(data: TableData) -> dict[str, int]:
    """Return the settings that differ from the recipe, numbered in the order of the cells."""
    texts = [
        f"{label}, {text}"
        for label, _, cells in data.runs
        for cell in cells
        for text in (cell.result.settings if cell.result else ())
    ]
    return {text: number for number, text in enumerate(dict.fromkeys(texts), start=1)}


def number(value: float | None, decimals: int) -> str:
    """Return a number with the row's digits; "-" for None."""
    return "-" if value is None else f"{value:.{decimals}f}"


def _published(row: Row, model: str) -> Text:
    return Text(number(row.published.get(model), row.decimals))


def _score(row: Row, cell: Cell, label: str, numbers: dict[str, int], text: str | None = None) -> Text:
    """Return the score of a cell with its marks."""
    result = cell.result
    shown = text if text is not None else number(result.score if result else None, row.decimals)
    marks = (DAGGER,) if cell.significant else ()
    notes = result.settings if result else ()
    return Text(shown, cell.best, (*marks, *(str(numbers[f"{label}, {note}"]) for note in notes)))


def _interval(row: Row, ci95: tuple[float, float]) -> str:
    return f"[{number(ci95[0], row.decimals)}, {number(ci95[1], row.decimals)}]"


def _detail_names(data: TableData) -> list[str]:
    """Return what is printed next to a score; a card without a model of its own has nothing to take differences to."""
    return ["95%", "difference", "n"] if data.card.model else ["95%", "n"]


def _details(row: Row, cell: Cell, names: Sequence[str]) -> list[Text]:
    """Return the named details of a cell."""
    result = cell.result
    if result is None:
        return [Text("-")] * len(names)
    interval = _interval(row, result.ci95) if result.ci95 else "-"
    difference = "-" if cell.difference is None else f"{cell.difference:+.{row.decimals}f}"
    details = {"95%": interval, "difference": difference, "n": of_official(result.n, result.expected_n, "/")}
    return [Text(details[name]) for name in names]


def _row_head(data: TableData) -> list[str]:
    """Return the heads of what says which row it is; tasks outside the card are named with their metrics."""
    return ["task", "metric"] if data.other else ["benchmark"]


def _row_start(data: TableData, row: Row) -> list[Text]:
    return [Text(row.label), *([Text(row.metric or "-")] if data.other else [])]


def _run_head(data: TableData) -> list[str]:
    """Return the heads of one run's columns; n says all that a verdict could say of a task outside the card."""
    return ["score", *_detail_names(data), *([] if data.other else ["verdict"])]


def _benchmarks_down(data: TableData, numbers: dict[str, int]) -> tuple[list[str], list[list[Text]]]:
    table, names = data.table, _detail_names(data)
    head = [*_row_head(data), *(model.name for model in table.models), *_run_head(data) * len(data.runs)]
    rows = []
    for index, row in enumerate(table.rows):
        line = [*_row_start(data, row), *(_published(row, model.name) for model in table.models)]
        for label, _, cells in data.runs:
            cell = cells[index]
            hidden = data.other and cell.result is not None and cell.result.score is None
            score = _score(row, cell, label, numbers, "no local labels" if hidden else None)
            line += [score, *_details(row, cell, names)]
            line += [] if data.other else [Text(cell.verdict)]
        rows.append(line)
    return head, rows


def _models_down(data: TableData, numbers: dict[str, int]) -> tuple[list[str], list[list[Text]]]:
    table, names = data.table, _detail_names(data)
    rows = [[Text(model.name), *(_published(row, model.name) for row in table.rows)] for model in table.models]
    for label, _, cells in data.runs:
        pairs = list(zip(table.rows, cells, strict=True))
        rows.append([Text(label), *(_score(row, cell, label, numbers) for row, cell in pairs)])
        details = [_details(row, cell, names) for row, cell in pairs]
        for kind, name in enumerate(names):
            rows.append([Text(f"- {name}"), *(texts[kind] for texts in details)])
        rows.append([Text("- verdict"), *(Text(cell.verdict) for _, cell in pairs)])
    return ["model", *(row.label for row in table.rows)], rows


def _compact(data: TableData, numbers: dict[str, int]) -> tuple[list[str], list[list[Text]]]:
    """Return the rows that a run has; one column for the card's own model and each run in any layout."""
    card, runs = data.card, data.runs
    kept = [
        index
        for index in range(len(data.table.rows))
        if any((result := cells[index].result) is not None and result.score is not None for _, _, cells in runs)
    ]
    rows = [data.table.rows[index] for index in kept]
    columns: list[list[Text]] = []
    if card.model:
        columns.append([Text(number(published_value(row, card), row.decimals)) for row in rows])
    for label, _, cells in runs:
        shown = [(row, cells[index]) for index, row in zip(kept, rows, strict=True)]
        columns.append([_score(row, cell, label, numbers, _short(row, cell)) for row, cell in shown])
    own = [card.model] if card.model else []
    heads = [*_row_head(data), *own, *(label for label, _, _ in runs)]
    if len(runs) == 1 and not data.other:
        heads.append("verdict")
        columns.append([Text(runs[0][2][index].verdict) for index in kept])
    lines = [[*_row_start(data, row), *(column[index] for column in columns)] for index, row in enumerate(rows)]
    return heads, lines


def _short(row: Row, cell: Cell) -> str:
    """Return ``70.5 ± 1.2``, the interval itself if the score is its edge, and n if it is not the official one."""
    result = cell.result
    if result is None or result.score is None:
        return "-"
    text = number(result.score, row.decimals)
    if result.ci95 is not None and result.score in result.ci95:
        text += f" {_interval(row, result.ci95)}"
    elif result.ci95 is not None:
        text += f" ± {number((result.ci95[1] - result.ci95[0]) / 2, row.decimals)}"
    return text if result.n == result.expected_n else f"{text} (n {of_official(result.n, result.expected_n)})"


def _footnotes(data: TableData, compact: bool) -> list[str]:
    """Return the caveats about the numbers: those of the rows, and of each run's results."""
    lines: list[str] = []
    if not compact:
        lines = [f"{row.label}: {row.note}." for row in data.table.rows if row.note]
        details = {flag.id: flag.detail for flag in data.card.flags}
        lines += [f"{row.label}: {details[flag]}" for row in data.table.rows for flag in row.flags]
    for label, _, cells in data.runs:
        for row, cell in zip(data.table.rows, cells, strict=True):
            result = cell.result
            if result is None:
                continue
            if result.fixed is not None and result.score is not None and abs(result.fixed - result.score) > 1e-9:
                lines.append(f"{label}, {row.label}: {number(result.fixed, row.decimals)} with the fixed scorer.")
            if len(data.card.formula(row).tasks) == 1 or not data.table.models_as_rows:
                lines += [f"{label}: {note}." for note in result.notes]
    return list(dict.fromkeys(lines))
