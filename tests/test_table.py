"""What a reader of the tables relies on: bounds of the verdict, sources, footnotes, digits, parseable output."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import pytest

from evalkit.card import Card, load_card
from evalkit.report.render import render, width
from evalkit.report.table import RowResult, build, verdict

GROUNDING = ("refcoco_val", "refcoco_testA", "refcoco_testB", "refcoco+_val")


class Run:
    """A run with made-up results, by the row's first task."""

    notes: tuple[str, ...] = ("random weights: scores are noise",)

    def __init__(self, label: str, results: dict[str, RowResult]) -> None:
        self.label = label
        self._results = results

    def row(self, tasks: Sequence[str]) -> RowResult | None:
        return self._results.get(tasks[0]) if len(tasks) == 1 else None


def full(score: float | None, low: float, high: float, n: int = 100) -> RowResult:
    return RowResult(score, (low, high) if score is not None else None, n, n, score, (), ())


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
