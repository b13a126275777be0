"""Leaderboards, TeX, HTML, compact tables and the Hub's metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

import pytest
import yaml
from huggingface_hub import ModelCardData, parse_eval_result_entries

from evalkit.card import Card, load_card
from evalkit.errors import IncompleteError
from evalkit.formula import Formula
from evalkit.metrics.metric import Metric, mean
from evalkit.records import Outcome, SampleScore
from evalkit.report import table
from evalkit.report.compare import paired_test, row_p_value
from evalkit.report.formats.hub import Measurement, eval_results_yaml, model_index_yaml
from evalkit.report.formats.markdown import width
from evalkit.report.formats.render import render
from evalkit.report.table import TableData, build
from evalkit.runs.folder import RowResult, RunFolder
from evalkit.summary import TaskSummary
from tests.conftest import Cli

HOSTILE = "a|b <script>alert(1)</script> \\input{x} $x$ 50% 甲_乙"


class Run(RunFolder):
    """A run with made-up results, by the row's first task, for rows of one task."""

    def __init__(self, label: str, **results: RowResult) -> None:
        self.label = label
        self.notes = ()
        self._results = results

    def row(self, formula: Formula) -> RowResult | None:
        return self._results.get(formula.tasks[0]) if len(formula.tasks) == 1 else None

    @property
    def tasks(self) -> list[str]:
        return []  # none that could be paired


def full(score: float, n: int = 5000, **more: object) -> RowResult:
    plain = RowResult(score, (score - 1.5, score + 1.5), n, 5000, score, (), ())
    return plain._replace(**more)  # type: ignore[arg-type]  # names of fields


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card("internvl2")


@pytest.fixture(scope="module")
def board(card: Card) -> list[TableData]:
    """Three runs: the second is best, the third differs significantly from it."""
    runs = [
        Run("first", textvqa_val=full(70.0), mvbench=full(50.0, 3999)),
        Run(HOSTILE, textvqa_val=full(70.4), mvbench=full(60.0)),
        Run("third", textvqa_val=full(60.0, settings=("textvqa_val: max_tiles: 1 (card: 6)",))),
    ]

    def test(run: RunFolder, best: RunFolder, formula: Formula) -> float:
        assert best.label == HOSTILE and formula.tasks == ("textvqa_val",), "compared only where runs can be ranked"
        return 0.001 if run.label == "third" else 0.4

    with mock.patch.object(table, "paired_test", test):
        return build(card, runs)


def test_leaderboard_marks_the_best_and_what_differs_from_it(board: list[TableData]) -> None:
    cells = {row.id: place for place, row in enumerate(board[0].table.rows)}
    marks = [
        (cells_of[cells["textvqa_val"]].best, cells_of[cells["textvqa_val"]].significant)
        for _, _, cells_of in board[0].runs
    ]
    assert marks == [(False, False), (True, False), (False, True)]
    text = render(board, "md")
    (line,) = [line for line in text.splitlines() if line.startswith("| TextVQA")]
    shown = [cell.strip() for cell in line.split(" | ")]
    assert shown[5] == "70.0" and shown[10] == "**70.4**" and shown[15] == "60.0 † [1]"
    assert "[1] third, textvqa_val: max_tiles: 1 (card: 6)" in text
    (video,) = [line for line in text.splitlines() if line.startswith("| MVBench")]
    assert "**" not in video and "†" not in video, "runs with different n are not ranked"
    assert "Bold: best run of the row. †: differs significantly" in text


def test_equal_runs_have_no_best(card: Card) -> None:
    text = render(build(card, [Run("a", mvbench=full(50.0)), Run("b", mvbench=full(50.0))]), "md")
    assert "Bold" not in text and not re.search(r"\*\*50", text)


def test_two_runs_are_paired_by_media_group() -> None:
    def lines(values: Sequence[float], groups: int) -> list[SampleScore]:
        return [
            SampleScore(str(i), value, "x", Outcome.OK, "", f"g{i % groups}", None, value, None)
            for i, value in enumerate(values)
        ]

    def difference_p_value(run: list[SampleScore], base: list[SampleScore]) -> float | None:
        return row_p_value({"t": mean("accuracy")}, {"t": run}, {"t": base})

    worse, better = [0.0] * 12 + [1.0] * 28, [1.0] * 40
    by_question = difference_p_value(lines(worse, 40), lines(better, 40))
    assert by_question == pytest.approx(2 / 2**12)  # the exact two-sided sign test of 12 flips
    clustered = difference_p_value(lines(worse, 4), lines(better, 4))
    assert clustered is not None and clustered > 0.05, "twelve flips on four images are four observations"
    assert difference_p_value(lines(worse, 40), lines(worse, 40)) == 1.0
    assert difference_p_value(lines(worse, 40), lines(worse[:-1], 40)) is None


class Answered(RunFolder):
    """A run with made-up answers: 150 images with one to three questions each, one of them wrong or none."""

    def __init__(self, wrong: bool) -> None:
        asked = [(f"g{group}", question) for group in range(150) for question in range(1 + group % 3)]
        self._values = [
            SampleScore(str(i), value, "x", Outcome.OK, "", group, None, value, None)
            for i, (group, question) in enumerate(asked)
            for value in [float(question > 0 or not wrong)]
        ]

    @property
    def tasks(self) -> list[str]:
        return ["one", "two"]

    def lines(self, task: str) -> list[SampleScore]:
        return self._values

    def summary(self, task: str) -> TaskSummary:
        return TaskSummary(metric="accuracy", n=300, expected_n=300, outcomes={Outcome.OK: 300})

    def metric(self, task: str) -> Metric:
        return mean("accuracy")


def test_a_row_of_plain_means_has_the_exact_test() -> None:
    run, base = Answered(True), Answered(False)
    one, two = Formula(task="one"), Formula(task="two")
    exact = 2 / 2**150  # drawn exchanges would give 2e-4, as images of each size are another kind to them
    assert paired_test(run, base, one) == exact
    assert paired_test(run, base, Formula(parts=(one, two))) == exact, "both tasks ask about the same images"
    halved = Formula(parts=(one, Formula(task="two", divisor=2.0)))
    assert not halved.is_plain_mean and paired_test(run, base, halved) == pytest.approx(2 / 10_001)
    assert not Formula(parts=(one, one)).is_plain_mean and not Formula(parts=(halved,)).is_plain_mean


class _Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def test_html_is_well_formed_and_escaped(board: list[TableData]) -> None:
    parser = _Balance()
    parser.feed(render(board, "html"))
    assert parser.open == [] and "script" not in parser.seen
    assert HOSTILE in parser.cells and "60.0†, 1" in parser.cells and "70.4" in parser.cells


def test_tex_has_booktabs_and_no_live_command_of_a_label(board: list[TableData]) -> None:
    text = render(board, "tex")
    for begin in ("table", "tabular"):
        assert text.count(rf"\begin{{{begin}}}") == text.count(rf"\end{{{begin}}}") == 3
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 3
    assert r"\textbackslash{}input\{x\} \$x\$ 50\% 甲\_乙" in text and r"\input{" not in text
    assert r"\textbf{70.4}" in text and r"60.0\textsuperscript{$\dagger$,1}" in text
    columns = {line.count(" & ") for line in text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()}
    assert columns == {4 + 3 * 5}


def test_compact_keeps_rows_and_columns_that_say_something(board: list[TableData], card: Card) -> None:
    text = render(board, "md", compact=True)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    names = [row.split("|")[1].strip() for row in rows]
    assert [name for name in names if name.strip("-")] == ["benchmark", "TextVQA val", "benchmark", "MVBench"]
    assert "PaliGemma" not in text and "70.0 ± 1.5" in text and "50.0 ± 1.5 (n 3999 of 5000)" in text
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({width(line) for line in lines}) <= 1, "columns do not line up, CJK included"
    one = render(build(card, [Run("only", mvbench=full(57.9, 5000))]), "md", compact=True)
    assert [line.split("|")[-2].strip() for line in one.splitlines() if "MVBench" in line] == ["reproduced"]


def measured(
    n: int, name: str = "textvqa_val", repo: str | None = "lmms-lab/textvqa", score: float = 70.123
) -> Measurement:
    return Measurement(name, "TextVQA val", "vqa_accuracy", full(score, n), repo, None, "validation")


def test_model_index_of_partial_and_whole_splits() -> None:
    found = [measured(5000), measured(16, "textvqa_other", score=50.0), measured(16, "plugin_task", None)]
    text = model_index_yaml("甲 model", found, ["random weights: scores are noise"], "evalkit 0")
    data = ModelCardData(**yaml.safe_load(text))
    assert data.model_name == "甲 model (random weights: scores are noise)"
    shown = {item.metric_name: item for item in data.eval_results or []}
    whole = shown["vqa_accuracy (textvqa_val, n 5000)"]
    assert whole.metric_value == 70.123 and whole.dataset_type == "lmms-lab/textvqa"
    assert whole.metric_args == {"n": 5000, "expected_n": 5000, "ci95": [68.623, 71.623]}
    assert shown["vqa_accuracy (textvqa_other, partial: n 16 of 5000)"].metric_value == 50.0
    assert shown["vqa_accuracy (plugin_task, partial: n 16 of 5000)"].dataset_type == "plugin_task"


def test_eval_results_take_whole_splits_of_the_hub_only() -> None:
    text = eval_results_yaml("m", [measured(5000), measured(16), measured(5000, "p", None)], ["a note"], "evalkit 0")
    (entry,) = parse_eval_result_entries(yaml.safe_load(text))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("lmms-lab/textvqa", "default", 70.123)
    assert entry.notes == "vqa_accuracy (textvqa_val, n 5000), evalkit 0; a note"
    with pytest.raises(IncompleteError, match="no score of m qualifies for a Hub leaderboard"):
        eval_results_yaml("m", [measured(16)], [], "evalkit 0")


def test_the_runs_own_values_are_in_the_model_index(gold_run: Path, cli: Cli) -> None:
    done = cli("table", gold_run, "--format", "model-index")
    assert done.returncode == 0, done.stderr
    data = ModelCardData(**yaml.safe_load(done.stdout))
    scores = json.loads((gold_run / "scores.json").read_text())
    shown = {item.metric_name: item.metric_value for item in data.eval_results or []}
    for name, summary in scores.items():
        if summary["score"] is not None:
            (value,) = [value for key, value in shown.items() if f"({name}, " in str(key)]
            assert value == pytest.approx(summary["score"], abs=1e-4)
    chart = [value for key, value in shown.items() if "(chartqa_test, partial" in str(key)]
    halves = [scores[f"chartqa_test_{half}"]["score"] for half in ("human", "augmented")]
    assert chart == [pytest.approx(sum(halves) / 2, abs=1e-4)]
    both = cli("table", gold_run, gold_run, "--format", "model-index")
    assert both.returncode == 2 and "takes exactly one run" in both.stderr
    hub = cli("table", gold_run, "--format", "eval-results")
    assert hub.returncode == 3 and "whole split" in hub.stderr


def test_settings_that_differ_from_the_card_are_footnotes(gold_run: Path, tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    record = json.loads((gold_run / "run.json").read_text())
    record["settings"]["tasks"]["mvbench"]["recipe"]["look"]["frames"] = 8
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "scores.json").write_text((gold_run / "scores.json").read_text())
    for name in json.loads((gold_run / "scores.json").read_text()):
        (folder / name).symlink_to(gold_run / name)
    done = cli("table", folder)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("| MVBench")]
    assert re.search(r"\| +[\d.]+ \[1\] \|", line)
    assert re.search(r"- \[1\] .*mvbench: look.frames: 8 \(card: 16\)", done.stdout)
