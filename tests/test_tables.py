"""The card's tables: verdicts, differences, formats."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import pytest

from evalkit.card import Card, load_card
from evalkit.report.render import render, width
from evalkit.report.table import RowResult, build, verdict


class Run:
    """A run with made-up results for some rows."""

    def __init__(self, label: str = "our run", **results: RowResult) -> None:
        self.label = label
        self.notes = ("random weights: answers and scores are noise",)
        self._results = results

    def row(self, tasks: Sequence[str]) -> RowResult | None:
        return self._results.get("+".join(tasks).replace("refcoco+", "refcocoplus"))


def result(score: float | None, ci: tuple[float, float] | None, n: int, expected: int, **more: object) -> RowResult:
    plain = RowResult(score, ci, n, expected, score, (), ())
    return plain._replace(**more)  # type: ignore[arg-type]  # checked by the tests that read it


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card("internvl2")


CHART = "chartqa_test_human+chartqa_test_augmented"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, "not run"),
        (result(72.9, (71.1, 74.6), 2500, 2500), "reproduced"),
        (result(70.0, (68.0, 72.86), 2500, 2500), "reproduced"),  # 72.9 may be 72.85
        (result(70.0, (68.0, 72.84), 2500, 2500), "differs"),
        (result(76.0, (72.96, 78.0), 2500, 2500), "differs"),
        (result(72.9, (71.1, 74.6), 577, 2500), "partial (577 of 2500)"),
        (result(None, None, 1250, 1250, missing_tasks=("x",)), "partial (1250 of 1250, without x)"),
        (result(None, None, 2500, 2500), "no local labels"),
    ],
)
def test_verdicts(card: Card, found: RowResult | None, expected: str) -> None:
    row = next(row for row in card.rows() if row.id == "chartqa_test")
    assert verdict(row, 72.9, found) == expected


def test_markdown(card: Card) -> None:
    run = Run(
        "运行 A|B",
        **{CHART: result(70.123, (68.0, 72.0), 2500, 2500, fixed=71.5), "mvbench": result(57.0, None, 3, 4000)},
    )
    text = render(build(card, [run]), "md")
    line = next(line for line in text.splitlines() if line.startswith("| ChartQA"))
    assert [cell.strip() for cell in line.split("|")[5:-1]] == [
        "72.9",
        "70.1",
        "[68.0, 72.0]",
        "-2.8",
        "2500/2500",
        "differs",
    ]
    assert "71.5 with the fixed scorer" in text and "random weights" in text and "as published" in text
    assert "partial (3 of 4000)" in text
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({width(line) for line in rows}) <= 1, "columns do not line up"
    assert "运行 A\\|B" in text


def test_grounding_keeps_the_cards_orientation(card: Card) -> None:
    text = render(build(card, [Run(refcoco_val=result(80.0, (79.0, 81.0), 10834, 10834))]), "md")
    rows = [line for line in text.split("## Grounding")[1].splitlines() if line.startswith("|")]
    cells = {row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]] for row in rows}
    assert cells["InternVL2-1B"] == ["79.9", "83.6", "88.7", "79.8", "76.0", "83.6", "67.7", "80.2", "79.9"]
    assert cells["our run"][1] == "80.0" and cells["- difference"][1] == "-3.6" and cells["- verdict"][1] == "differs"


def test_no_run_shows_published_values_only(card: Card) -> None:
    text = render(build(card, []), "md")
    assert "| DocVQA test " in text and "81.7" in text and "not run" not in text


def test_csv_and_json_hold_every_cell(card: Card) -> None:
    runs = [Run("a", **{CHART: result(70.0, (68.0, 72.0), 2500, 2500)}), Run("b")]
    rows = list(csv.DictReader(io.StringIO(render(build(card, runs), "csv"))))
    published = [row for row in rows if row["kind"] == "published"]
    assert len(published) == 19 * 4 + 5 * 4 + 9 * 11
    assert len(rows) - len(published) == 2 * (19 + 5 + 9)
    (ours,) = [row for row in rows if row["row"] == "chartqa_test" and row["column"] == "a"]
    assert float(ours["value"]) == 70.0 and float(ours["difference"]) == pytest.approx(-2.9)
    content = json.loads(render(build(card, runs), "json"))
    chart = next(row for row in content["tables"][0]["rows"] if row["id"] == "chartqa_test")
    assert [cell["verdict"] for cell in chart["runs"]] == ["differs", "not run"]
    assert chart["published"]["InternVL2-1B"] == 72.9
