"""The card's tables: verdicts and their bounds, differences, sources, footnotes, digits, formats."""

from __future__ import annotations

import csv
import io
import json

import pytest

from evalkit.card import Card, load_card
from evalkit.formula import Formula
from evalkit.report.formats.markdown import width
from evalkit.report.formats.render import render
from evalkit.report.table import build, verdict
from evalkit.runs.folder import RowResult, RunFolder

CHART = "chartqa_test_human+chartqa_test_augmented"
GROUNDING = ("refcoco_val", "refcoco_testA", "refcoco_testB", "refcoco+_val")


class Run(RunFolder):
    """A run with made-up results, by the row's tasks joined with "+"."""

    def __init__(self, label: str, results: dict[str, RowResult]) -> None:
        self.label = label
        self.notes = ("random weights: scores are noise",)
        self._results = results

    def row(self, formula: Formula) -> RowResult | None:
        return self._results.get("+".join(formula.tasks))

    @property
    def tasks(self) -> list[str]:
        return []  # none outside the card


def full(score: float | None, low: float, high: float, n: int = 100) -> RowResult:
    return RowResult(score, (low, high) if score is not None else None, n, n, score, (), ())


def result(score: float | None, ci: tuple[float, float] | None, n: int, expected: int, **more: object) -> RowResult:
    plain = RowResult(score, ci, n, expected, score, (), ())
    return plain._replace(**more)  # type: ignore[arg-type]  # checked by the tests that read it


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card("internvl2")


@pytest.mark.parametrize(
    ("row", "published", "low", "high", "expected"),
    [
        # One decimal: the printed 72.9 stands for 72.85 to 72.95, both ends included.
        ("docvqa_test", 72.9, 68.0, 72.85, "reproduced"),
        ("docvqa_test", 72.9, 72.95, 80.0, "reproduced"),
        ("docvqa_test", 72.9, 68.0, 72.849, "differs"),
        ("docvqa_test", 72.9, 72.951, 80.0, "differs"),
        # None: 754 stands for 753.5 to 754.5. Two: 0.95 for 0.945 to 0.955.
        ("ocrbench", 754, 700.0, 753.5, "reproduced"),
        ("ocrbench", 754, 700.0, 753.4, "differs"),
        ("mmbench_video_8f", 0.95, 0.955, 0.99, "reproduced"),
        ("mmbench_video_8f", 0.95, 0.956, 0.99, "differs"),
    ],
)
def test_bounds_of_reproduced(card: Card, row: str, published: float, low: float, high: float, expected: str) -> None:
    found = next(item for item in card.rows() if item.id == row)
    assert verdict(found, published, full((low + high) / 2, low, high)) == expected


def test_a_partial_run_is_never_reproduced(card: Card) -> None:
    row = next(item for item in card.rows() if item.id == "mvbench")
    perfect = full(57.9, 57.0, 59.0, 3999)._replace(expected_n=4000)
    assert verdict(row, 57.9, perfect) == "partial (3999 of 4000)"
    assert verdict(row, 57.9, perfect._replace(n=4000, score=None, ci95=None)) == "no local labels"
    assert verdict(row, 57.9, perfect._replace(n=4000, ci95=None)) == "reproduced"


def test_a_run_with_unjudged_answers_is_never_reproduced(card: Card) -> None:
    row = next(row for row in card.rows() if row.id == "chartqa_test")
    whole = full(72.9, 70.0, 75.0)
    assert verdict(row, 72.9, whole) == "reproduced"
    assert verdict(row, 72.9, whole._replace(unjudged=3)) == "partial (3 of 100 not judged)"


def test_each_table_says_that_published_numbers_are_published(card: Card) -> None:
    text = render(build(card, [Run("ours", {})]), "md")
    blocks = text.split("\n## ")[1:]
    assert [block.split("\n")[0] for block in blocks] == [table.title for table in card.tables]
    for block, kind in zip(blocks, ("Columns", "Columns", "Rows"), strict=True):
        after = block[block.rindex("|\n") + 2 :].strip().splitlines()
        assert after[0].startswith(f"{kind} named after models are as published, not measured here; source: model card")


def test_digits_are_the_rows(card: Card) -> None:
    results = {"ocrbench": full(700.4, 690.4, 710.6), "mmbench_video_8f": full(0.904, 0.851, 0.956)}
    text = render(build(card, [Run("ours", results)]), "md")
    lines = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[5:-1]]
        for line in text.splitlines()
        if "|" in line
    }
    assert lines["OCRBench"] == ["754", "700", "[690, 711]", "-54", "100/100", "differs"]
    assert lines["MMBench-Video 8f"] == ["0.95", "0.90", "[0.85, 0.96]", "-0.05", "100/100", "reproduced"]


def test_footnotes_hold_discrepancies_and_the_fixed_scorer_only_where_it_differs(card: Card) -> None:
    results = {"textvqa_val": full(60.0, 59.0, 61.0)._replace(fixed=60.6), "mvbench": full(57.0, 56.0, 58.0)}
    text = render(build(card, [Run("ours", results)]), "md")
    assert "- ours, TextVQA val: 60.6 with the fixed scorer." in text
    assert text.count("with the fixed scorer") == 1
    assert "- MMVet GPT-4-Turbo: English half 33.3, Chinese half 37.3." in text
    assert "**ours**: random weights: scores are noise." in text


def test_grounding_lists_runs_below_the_published_models(card: Card) -> None:
    results = {task: full(80.0, 79.0, 81.0) for task in GROUNDING}
    text = render(build(card, [Run("甲", results), Run("b", {})]), "md").split("## Grounding")[1]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({width(line) for line in rows}) == 1
    names = [line.split("|")[1].strip() for line in rows]
    models = [model.name for model in card.tables[2].models]
    parts = ["- 95%", "- difference", "- n", "- verdict"]
    assert names[2:] == [*models, "甲", *parts, "b", *parts]


def test_width_counts_terminal_columns() -> None:
    assert [width(text) for text in ("abc", "甲乙", "Ａ", "e\u0301")] == [3, 4, 2, 1]


def test_csv_and_json_agree(card: Card) -> None:
    tables = build(card, [Run('a "quoted", run', {"mvbench": full(57.0, 56.0, 57.5, 4000)})])
    (row,) = [
        line
        for line in csv.DictReader(io.StringIO(render(tables, "csv")))
        if line["row"] == "mvbench" and line["kind"] == "run"
    ]
    content = json.loads(render(tables, "json"))
    (cell,) = next(item for item in content["tables"][1]["rows"] if item["id"] == "mvbench")["runs"]
    assert row["column"] == cell["run"] == 'a "quoted", run'
    assert [float(row["ci_low"]), float(row["ci_high"])] == cell["ci95"] == [56.0, 57.5]
    assert int(row["n"]) == cell["n"] == 4000
    assert float(row["difference"]) == cell["difference"] == pytest.approx(-0.9)
    assert row["verdict"] == cell["verdict"] == "differs"
    assert content["runs"] == [{"label": 'a "quoted", run', "notes": ["random weights: scores are noise"]}]


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
        {CHART: result(70.123, (68.0, 72.0), 2500, 2500, fixed=71.5), "mvbench": result(57.0, None, 3, 4000)},
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
    text = render(build(card, [Run("our run", {"refcoco_val": result(80.0, (79.0, 81.0), 10834, 10834)})]), "md")
    rows = [line for line in text.split("## Grounding")[1].splitlines() if line.startswith("|")]
    cells = {row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]] for row in rows}
    assert cells["InternVL2-1B"] == ["79.9", "83.6", "88.7", "79.8", "76.0", "83.6", "67.7", "80.2", "79.9"]
    assert cells["our run"][1] == "80.0" and cells["- difference"][1] == "-3.6" and cells["- verdict"][1] == "differs"


def test_no_run_shows_published_values_only(card: Card) -> None:
    text = render(build(card, []), "md")
    assert "| DocVQA test " in text and "81.7" in text and "not run" not in text


def test_csv_and_json_hold_every_cell(card: Card) -> None:
    runs = [Run("a", {CHART: result(70.0, (68.0, 72.0), 2500, 2500)}), Run("b", {})]
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
