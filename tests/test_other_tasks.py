"""Scores outside the card's rows: val and dev splits, plugins; in every format, in the report and in the plots."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from evalkit.card import Card, load_card
from evalkit.cli.main import build_parser, main
from evalkit.formula import Formula
from evalkit.report import table
from evalkit.report.formats.render import FORMATS, render
from evalkit.report.output import HUB_FORMATS, table_text
from evalkit.report.plot_data import score_plots
from evalkit.report.table import TableData, build
from evalkit.runs.folder import RowResult, RunFolder, open_runs
from evalkit.summary import TaskSummary

BASELINE = Path(__file__).parent.parent / "results" / "demo-baseline"
# Asked like a row of the card, and not part of its score.
OTHERS = ["docvqa_val", "infovqa_val", "ai2d_test_no_mask", "mmbench_dev_en", "mmbench_dev_cn"]
SMALL = ["docvqa_val", "mmbench_dev_en", "mmbench_dev_cn"]  # those in the small demo


class Run(RunFolder):
    """A run with made-up results of tasks outside the card."""

    def __init__(self, label: str, metric: str = "f1", **results: RowResult) -> None:
        self.label = label
        self.notes = ()
        self._results = results
        self._metric = metric

    def row(self, formula: Formula) -> RowResult | None:
        return self._results.get(formula.tasks[0]) if len(formula.tasks) == 1 else None

    @property
    def tasks(self) -> list[str]:
        return list(self._results)

    def summary(self, task: str) -> TaskSummary:
        return TaskSummary(metric=self._metric, maximum=3.0, decimals=3, n=10, expected_n=10, outcomes={})


def full(score: float | None, n: int = 10) -> RowResult:
    return RowResult(score, None if score is None else (score - 0.5, score + 0.25), n, 10, score, (), ())


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card("internvl2")


def printed(tables: list[TableData], **options: bool) -> list[list[str]]:
    """Return the cells of the last table in Markdown."""
    lines = render(tables, "md", **options).split("\n## ")[-1].splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]


def test_splits_outside_the_card_have_a_table_of_their_own(card: Card) -> None:
    text = table_text([BASELINE], "internvl2", "md", False)
    scores = json.loads((BASELINE / "scores.json").read_text())
    head, _, *rows = printed(build(card, [RunFolder(BASELINE, card)]))
    assert text.split("\n## ")[-1].startswith("Other tasks\n")
    assert head == ["task", "metric", "checkpoint (demo-baseline)", "95%", "n"]
    assert [row[0] for row in rows] == OTHERS, "halves of ChartQA test are part of a row"
    for name, *cells in rows:
        found = scores[name]
        interval = "[{:.2f}, {:.2f}]".format(*found["ci95"])
        assert cells == [found["metric"], f"{found['score']:.2f}", interval, f"{found['n']}/{found['expected_n']}"]
    assert [row[0] for row in printed(build(card, [RunFolder(BASELINE, card)]), compact=True)[2:]] == OTHERS
    assert "as published" not in text.split("## Other tasks")[1]
    assert "\n## Other tasks\n" in (BASELINE / "card.md").read_text()


def test_data_formats_hold_them(card: Card) -> None:
    tables = build(card, [RunFolder(BASELINE, card)])
    lines = [line for line in csv.DictReader(io.StringIO(render(tables, "csv"))) if line["table"] == "other_tasks"]
    assert [line["row"] for line in lines] == OTHERS and {line["kind"] for line in lines} == {"run"}
    assert lines[0]["metric"] == "anls" and lines[0]["verdict"] == "partial (120 of 5349)"
    last = json.loads(render(tables, "json"))["tables"][-1]
    assert last["title"] == "Other tasks" and [row["tasks"] for row in last["rows"]] == [[name] for name in OTHERS]
    (cell,) = last["rows"][0]["runs"]
    assert cell["score"] == float(lines[0]["value"]) and last["rows"][0]["metric"] == "anls"
    assert cell["difference"] is None and last["rows"][0]["published"] == {}


@pytest.mark.parametrize("output", ["tex", "html"])
def test_printed_formats_hold_them(card: Card, output: str) -> None:
    text = render(build(card, [Run("甲 & b", colours_test=full(2.5))]), output).split("Other tasks")[1]
    for part in ("metric", "colours_test", "f1", "2.500", "2.000, 2.750", "10/10"):
        assert part in text.replace(r"\_", "_").replace("{[}", "[").replace("{]}", "]"), part
    assert "verdict" not in text and "difference" not in text
    if output == "tex":
        assert r" &  & \multicolumn{3}{c}{甲 \& b} \\" in text and "95\\% & n" in text


def test_several_runs_are_ranked_as_in_the_cards_tables(card: Card) -> None:
    runs = [Run("a", t=full(1.0), only=full(2.0)), Run("b", t=full(2.0)), Run("c", t=full(3.0, n=9))]
    with mock.patch.object(table, "paired_test", lambda run, best, formula: 0.001):
        first = build(card, runs[:2])
        third = build(card, runs)
    rows = {row[0]: row for row in printed(first)}
    assert rows["t"][2] == "1.000 †" and rows["t"][5] == "**2.000**"
    assert rows["only"][2:] == ["2.000", "[1.500, 2.250]", "10/10", "-", "-", "-"], "of one run only"
    assert "Bold: best run of the row" in render(first, "md")
    assert [row[8] for row in printed(third) if row[0] == "t"] == ["3.000"], "runs with different n are not ranked"
    compact = {row[0]: row for row in printed(first, compact=True)}
    assert compact["t"][2:] == ["1.000 ± 0.375 †", "**2.000 ± 0.375**"] and compact["only"][3] == "-"


def test_runs_with_other_metrics_are_not_ranked(card: Card) -> None:
    row = printed(build(card, [Run("a", t=full(1.0)), Run("b", "accuracy", t=full(2.0))]))[-1]
    assert row[:2] == ["t", "f1, accuracy"] and row[5] == "2.000"


def test_hidden_labels_are_said(card: Card) -> None:
    (row,) = printed(build(card, [Run("a", t=full(None))]))[2:]
    assert row == ["t", "f1", "no local labels", "-", "10/10"]
    cells = build(card, [Run("a", t=full(None), u=full(1.0))])[-1].runs[0][2]
    assert [cell.verdict for cell in cells] == ["no local labels", "complete"]


def test_by_task_is_one_table_of_all_tasks() -> None:
    tables = json.loads(table_text([BASELINE], "internvl2", "json", False, by_task=True))["tables"]
    (only,) = tables
    assert [row["id"] for row in only["rows"]] == list(json.loads((BASELINE / "scores.json").read_text()))
    text = table_text([BASELINE], "internvl2", "md", False, by_task=True)
    assert text.startswith("# Scores\n") and "tiny demo model" in text and "InternVL2-1B" not in text


def test_by_task_keeps_footnotes_of_settings(tmp_path: Path) -> None:
    record = json.loads((BASELINE / "run.json").read_text())
    record["settings"]["tasks"]["textvqa_val"]["recipe"]["max_new_tokens"] = 99
    (tmp_path / "run.json").write_text(json.dumps(record))
    (tmp_path / "scores.json").write_text((BASELINE / "scores.json").read_text())
    text = table_text([tmp_path], "internvl2", "md", False, by_task=True)
    assert "100.00 [1]" in text and "textvqa_val: max_new_tokens: 99 (card: 10)" in text


def test_plots_show_them_on_the_metrics_own_scale(card: Card) -> None:
    plots = {plot.name: plot for plot in score_plots(open_runs([BASELINE], card), card)}
    labels = [text.get_text() for text in plots["scores-other_tasks"].draw().axes[0].get_yticklabels()]
    assert labels == OTHERS and "published" not in plots["scores-other_tasks"].about
    bars = [text.get_text() for text in plots["card"].draw().axes[0].get_xticklabels()]
    assert "MVBench" in bars and not set(bars) & set(OTHERS), "no row of the card"
    (own,) = [plot for plot in score_plots([Run("a", t=full(1.5))], card) if plot.name.startswith("scores-")]
    axes: Any = own.draw().axes[0]
    places = [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "o"]
    assert places == [50.0], "1.5 of 3 is half of the axis"


def test_the_report_shows_them(demo: Path, gold_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, answers, tasks = tmp_path / "run", gold_run.parent / "answers", f"mvbench,{','.join(SMALL)}"
    shared = ["--data-root", str(demo)]
    main(["run", "--model", f"replay:{answers}", "--tasks", tasks, "--out", str(run), *shared])
    monkeypatch.setattr("evalkit.report.page.image", lambda plot, output, theme: plot.name.encode())
    out = tmp_path / "r.html"
    assert main(["report", str(run), "--images", "1", "--out", str(out)]) in (0, 3)
    section = out.read_text().split("<caption>Other tasks</caption>")[1].split("</table>")[0]
    assert all(f'<th scope="row">{name}</th>' in section for name in SMALL)


def test_every_format_can_be_asked_for() -> None:
    for output in (*FORMATS, *HUB_FORMATS):
        assert build_parser().parse_args(["table", "RUN", "--format", output]).format == output
