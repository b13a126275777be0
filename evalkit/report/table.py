"""The card's tables with runs beside the published numbers: what each cell holds and what may be said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from evalkit.card import Card, Row, Table
from evalkit.metrics.statistics import holm

# A difference between runs is marked when its two-sided p-value, Holm-corrected over all marks of the tables, is below.
ALPHA = 0.05


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
        settings: settings that differ from the card's recipe.
    """

    score: float | None
    ci95: tuple[float, float] | None
    n: int
    expected_n: int
    fixed: float | None
    missing_tasks: tuple[str, ...]
    notes: tuple[str, ...]
    failed: int = 0
    settings: tuple[str, ...] = ()


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
        difference: score minus the published value of the card's own model; None if either is absent.
        verdict: see ``verdict``.
        best: whether no other run's score in this row is higher; False where all are equal or n differs.
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
    """

    table: Table
    card: Card
    runs: list[tuple[str, tuple[str, ...], list[Cell]]]


# Two-sided p-value of two runs scoring differently in a row with these tasks; None where they cannot be paired.
PairTest = Callable[[RunResult, RunResult, Sequence[str]], float | None]


def published_value(row: Row, card: Card) -> float | None:
    """Return the number that the card prints for its own model; None if it prints none or has no own model."""
    return None if card.model is None else row.published.get(card.model)


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


def build(card: Card, runs: Sequence[RunResult], test: PairTest | None = None) -> list[TableData]:
    """Return the card's tables filled with runs.

    Args:
        card: the card.
        runs: the runs, in the order of their columns.
        test: compares two runs on the same samples; with it the scores that differ from a row's best are marked.
    """
    rows = list(card.rows())
    cells = {(place, row.id): _cell(row, card, run) for place, run in enumerate(runs) for row in rows}
    found: list[tuple[tuple[int, str], float]] = []
    for row in rows:
        scores = _comparable([cells[place, row.id] for place in range(len(runs))])
        top = max(scores.values(), default=0.0)
        winners = [place for place, score in scores.items() if score == top and min(scores.values()) < top]
        for place in winners:
            cells[place, row.id] = replace(cells[place, row.id], best=True)
        for place in (place for place in scores if test and winners and place not in winners):
            p_value = test(runs[place], runs[winners[0]], row.tasks) if test else None
            if p_value is not None:
                found.append(((place, row.id), p_value))
    for (key, _), adjusted in zip(found, holm([p_value for _, p_value in found]), strict=True):
        cells[key] = replace(cells[key], significant=adjusted <= ALPHA)
    return [
        TableData(
            table,
            card,
            [(run.label, run.notes, [cells[place, row.id] for row in table.rows]) for place, run in enumerate(runs)],
        )
        for table in card.tables
    ]


def _comparable(cells: Sequence[Cell]) -> dict[int, float]:
    """Return the scores of a row by run, if there are several and all rest on the same number of samples."""
    scored = {
        place: (cell.result.score, cell.result.n)
        for place, cell in enumerate(cells)
        if cell.result is not None and cell.result.score is not None
    }
    if len(scored) < 2 or len({n for _, n in scored.values()}) > 1:
        return {}
    return {place: score for place, (score, _) in scored.items()}


def _cell(row: Row, card: Card, run: RunResult) -> Cell:
    result = run.row(row.tasks)
    published = published_value(row, card)
    difference = None
    if result is not None and result.score is not None and published is not None:
        difference = result.score - published
    return Cell(result, difference, verdict(row, published, result))
