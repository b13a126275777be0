"""The card's tables with runs next to the published numbers: the content and verdict of each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evalkit.card import Card, Row, Table
from evalkit.metrics.statistics import holm
from evalkit.report.compare import paired_test
from evalkit.runs.folder import RowResult, RunFolder
from evalkit.summary import TaskSummary, of_official

# A difference between runs is marked when its two-sided p-value, Holm-corrected over all marks of the tables, is below.
ALPHA = 0.05

OTHER_TASKS = "other_tasks"  # id of the table of tasks that are not part of any row of the card


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of one run.

    Attributes:
        result: the run's result; None: not run.
        difference: score minus the published value of the card's own model; None if either is absent.
        verdict: see ``verdict``.
        best: whether no other run's score in this row is higher; False if all are equal or n differs.
        significant: whether the score differs significantly from the row's best.
    """

    result: RowResult | None
    difference: float | None
    verdict: str
    best: bool = False
    significant: bool = False


@dataclass(frozen=True, slots=True)
class TableData:
    """One table of the card with its runs.

    Attributes:
        table: the card's table.
        card: the card.
        runs: (label, notes, cells in row order) of each run.
        other: whether it is no table of the card but holds the runs' other tasks, one a row.
    """

    table: Table
    card: Card
    runs: list[tuple[str, tuple[str, ...], list[Cell]]]
    other: bool = False


def published_value(row: Row, card: Card) -> float | None:
    """Return the number that the card prints for its own model; None if it prints none or has no own model."""
    return None if card.model is None else row.published.get(card.model)


def verdict(row: Row, published: float | None, result: RowResult | None) -> str:
    """Return the verdict on a row.

    ``reproduced`` needs the full split, and a published number that meets our 95 % interval when it is taken as its
    rounding interval, half a unit of the last printed digit to both sides.
    """
    if result is None:
        return "not run"
    if result.missing_tasks or result.n != (result.expected_n or result.n):
        lacking = f", without {', '.join(result.missing_tasks)}" if result.missing_tasks else ""
        return f"partial ({of_official(result.n, result.expected_n)}{lacking})"
    if result.unjudged:
        return f"partial ({result.unjudged} of {result.n} not judged)"
    if result.score is None:
        return "no local labels"
    if result.expected_n is None:
        return f"official number of samples unknown (n {result.n})"
    if published is None:
        return "nothing published" if row.published else "complete"
    low, high = result.ci95 or (result.score, result.score)
    # The tiny addend keeps an interval that ends exactly on the rounding bound inside: 72.9 - 0.05 > 72.85 in floats.
    half = 0.5 * 10**-row.decimals + 1e-9
    return "reproduced" if low <= published + half and high >= published - half else "differs"


def build(card: Card, runs: Sequence[RunFolder]) -> list[TableData]:
    """Return the card's tables filled with runs, and one of their other tasks if they have any.

    Args:
        card: the card.
        runs: the runs, in the order of their columns.
    """
    tables = [(table, card) for table in card.tables]
    if (others := _other_tasks(card, runs)).rows:
        tables.append((others, card.model_copy(update={"model": None})))  # nothing to take differences to
    rows = [row for table, _ in tables for row in table.rows]
    cells = [[_cell(row, card, run) for run in runs] for row in rows]
    tests: list[tuple[tuple[int, int], float]] = []
    for line, row in enumerate(rows):
        scores = _comparable(cells[line]) if _same_metrics(runs, card.formula(row).tasks) else {}
        top = max(scores.values(), default=0.0)
        winners = [column for column, score in scores.items() if score == top and min(scores.values()) < top]
        for column in winners:
            cells[line][column] = replace(cells[line][column], best=True)
        for column in (column for column in scores if winners and column not in winners):
            p_value = paired_test(runs[column], runs[winners[0]], card.formula(row))
            if p_value is not None:
                tests.append(((line, column), p_value))
    for ((line, column), _), adjusted in zip(tests, holm([p_value for _, p_value in tests]), strict=True):
        cells[line][column] = replace(cells[line][column], significant=adjusted <= ALPHA)
    lines = iter(cells)
    filled = []
    for table, owner in tables:
        own = [next(lines) for _ in table.rows]
        columns = [(run.label, run.notes, [line[column] for line in own]) for column, run in enumerate(runs)]
        filled.append(TableData(table, owner, columns, other=table is others))
    return filled


def _other_tasks(card: Card, runs: Sequence[RunFolder]) -> Table:
    """Return a table of the runs' tasks that are not part of any row of the card, in the order of the runs."""
    inside = set(card.tasks())
    summaries: dict[str, list[TaskSummary]] = {}
    for run in runs:
        for name in run.tasks:
            if name not in inside:
                summaries.setdefault(name, []).append(run.summary(name))
    title = "Other tasks" if card.tables else "All tasks"
    rows = [_task_row(name, own) for name, own in summaries.items()]
    return Table.model_construct(id=OTHER_TASKS, title=title, models=[], rows=rows)


def _task_row(name: str, summaries: Sequence[TaskSummary]) -> Row:
    """Return a row for one task; not validated, because a metric's scale need not be one that a card may have."""
    return Row.model_construct(
        id=name,
        label=name,
        tasks=[name],
        published={},
        metric=", ".join(dict.fromkeys(summary.metric for summary in summaries)),
        maximum=summaries[0].maximum,
        decimals=summaries[0].decimals,
    )


def _same_metrics(runs: Sequence[RunFolder], tasks: Sequence[str]) -> bool:
    """Return whether each of the tasks is scored by one metric in all runs that have it."""
    return all(len({run.summary(name).metric for run in runs if name in run.tasks}) < 2 for name in tasks)


def _comparable(cells: Sequence[Cell]) -> dict[int, float]:
    """Return the scores of a row by run, if there are several and all rest on the same number of samples."""
    scored = {
        column: (cell.result.score, cell.result.n)
        for column, cell in enumerate(cells)
        if cell.result is not None and cell.result.score is not None
    }
    if len(scored) < 2 or len({n for _, n in scored.values()}) > 1:
        return {}
    return {column: score for column, (score, _) in scored.items()}


def _cell(row: Row, card: Card, run: RunFolder) -> Cell:
    result = run.row(card.formula(row))
    published = published_value(row, card)
    difference = None
    if result is not None and result.score is not None and published is not None:
        difference = result.score - published
    return Cell(result, difference, verdict(row, published, result))
