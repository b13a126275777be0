"""Comparison and gate: paired differences, p-values, flips, verdicts, files for CI."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from evalkit.metrics.metric import mean
from evalkit.metrics.statistics import SEED, holm, sign_flip_test
from evalkit.metrics.sums import question_sums
from evalkit.records import Outcome, SampleScore
from evalkit.report.compare import compare, regressions
from tests.conftest import Cli, write_jsonl


def scores(values: list[float], per_group: int = 1) -> list[SampleScore]:
    return [
        SampleScore(str(i), value, "x", Outcome.OK, "", str(i // per_group), None, value, None)
        for i, value in enumerate(values)
    ]


def drop_p_value(differences: list[tuple[str, float]], seed: int = SEED) -> float:
    return sign_flip_test(question_sums(differences).column("sum"), seed).drop


def settings(**model: Any) -> dict[str, Any]:
    return {"model": model, "tasks": {"t": {"recipe": {"max_tiles": 6}, "limit": None}}}


@pytest.mark.parametrize(("worse", "better", "p"), [(0, 0, 1.0), (3, 0, 1 / 8), (5, 0, 1 / 32), (8, 2, 56 / 1024)])
def test_one_question_a_group_is_the_exact_mcnemar_test(worse: int, better: int, p: float) -> None:
    changes = [-1.0] * worse + [1.0] * better + [0.0] * 50
    assert drop_p_value([(str(i), value) for i, value in enumerate(changes)]) == pytest.approx(p)


def test_flips_of_one_image_are_one_piece_of_evidence() -> None:
    """Twelve answers lost on two images prove as little as two answers lost."""
    lost = [(str(i // 6), -1.0) for i in range(12)]
    assert drop_p_value(lost) == pytest.approx(0.25, abs=0.02)
    assert drop_p_value([(str(i), -1.0) for i in range(12)]) == pytest.approx(2**-12)


def test_p_values_of_a_continuous_metric_are_uniform_under_the_null() -> None:
    generator = np.random.default_rng(0)
    found = [
        drop_p_value([(str(i), value) for i, value in enumerate(generator.standard_normal(60))], seed=trial)
        for trial in range(400)
    ]
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_compare_counts_flips_and_orders_settings() -> None:
    base, run = [1.0] * 90 + [0.0] * 10, [1.0] * 80 + [0.0] * 19 + [1.0]
    found = compare(
        {"t": scores(run)},
        {"t": scores(base)},
        {"t": mean("accuracy")},
        (settings(dtype="b", checkpoint="y"), settings(dtype="a", checkpoint="x")),
    )
    (item,) = found.tasks
    assert (item.run, item.base, item.difference) == pytest.approx((81, 90, -9))
    assert item.worse == tuple(str(i) for i in range(80, 90)) and item.better == ("99",)
    assert item.ci95 is not None and item.ci95[0] < -9 < item.ci95[1] < 0
    assert item.p_drop == pytest.approx(12 / 2**11)
    assert [line.split(":")[0] for line in found.settings] == ["model.checkpoint", "model.dtype"]
    assert not found.same_fingerprint
    assert [fallen.task for fallen in regressions(found, 0.05, 0.0)] == ["t"]
    assert regressions(found, 0.05, 10.0) == [] and regressions(found, 0.001, 0.0) == []


def test_equal_runs_do_not_claim_to_detect_any_drop() -> None:
    """Where nothing changed the spread is 0, and still no drop of four answers could ever be significant."""
    equal = scores([1.0] * 100)
    metric = mean("accuracy")
    one = compare({"t": equal}, {"t": equal}, {"t": metric}, (settings(), settings()))
    assert [item.detectable for item in one.tasks] == [pytest.approx(5.0)]
    lines = {f"t{i}": equal for i in range(16)}
    metrics = dict.fromkeys(lines, metric)
    many = compare(lines, lines, metrics, (settings(), settings())).tasks
    assert [item.detectable for item in many] == [pytest.approx(9.0)] * 16
    for lost, caught in ((8, 0), (9, 1)):
        worse = lines | {"t3": scores([0.0] * lost + [1.0] * (100 - lost))}
        found = compare(worse, lines, metrics, (settings(), settings()))
        assert len(regressions(found, 0.05, 0.0)) == caught


def read_scores(out: Path, task: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / task / "scores.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def perfect(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of scores in which every answer on 40 images is the gold box."""
    out = tmp_path_factory.mktemp("perfect") / "run"
    for task in ("refcoco_val", "refcoco_testA"):
        records: list[dict[str, object]] = [
            {
                "image": f"data/coco/train2014/{i // 2}.jpg",
                "sent": "it",
                "bbox": [10, 20, 60, 80],
                "height": 100,
                "width": 100,
            }
            for i in range(80)
        ]
        write_jsonl(out.parent / "root" / "data" / "refcoco" / f"{task}.jsonl", records)
        answers: list[dict[str, object]] = [{"id": str(i), "response": "it[[100, 200, 600, 800]]"} for i in range(80)]
        predictions = write_jsonl(out.parent / f"{task}.jsonl", answers)
        args = ["--task", task, "--predictions", predictions, "--data-root", out.parent / "root", "--out", out]
        done = cli("score", *args)
        assert done.returncode == 0, done.stderr
    return out


def degrade(out: Path, target: Path, cli: Cli, share: float) -> Path:
    """Copy a run and spoil a share of its answers."""
    shutil.copytree(out, target)
    predictions = target / "refcoco_val" / "predictions.jsonl"
    lines = [json.loads(line) for line in predictions.read_text().splitlines()]
    for line in lines[: int(share * len(lines))]:
        line["response"] = "no box"
    predictions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert cli("score", target).returncode == 0
    return target


def test_an_equal_run_passes(perfect: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "check", perfect, "--baseline", perfect, "--junit", tmp_path / "junit.xml", "--summary", tmp_path / "summary.md"
    )
    assert done.returncode == 0, done.stdout
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert suite.attrib["tests"] == "2" and suite.attrib["failures"] == "0"
    assert "| refcoco_val | passed |" in (tmp_path / "summary.md").read_text()


def test_a_degraded_run_is_caught(perfect: Path, cli: Cli, tmp_path: Path) -> None:
    spoiled = degrade(perfect, tmp_path / "spoiled", cli, 1.0)
    done = cli("check", spoiled, "--baseline", perfect, "--junit", tmp_path / "junit.xml", "--json")
    assert done.returncode == 1
    statuses = {check["name"]: check["status"] for check in json.loads(done.stdout)["checks"]}
    assert statuses == {"refcoco_val": "regression", "refcoco_testA": "passed"}
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().attrib["failures"] == "1"
    assert cli("check", spoiled, "--baseline", perfect, "--max-drop", "100").returncode == 0
    compared = json.loads(cli("compare", spoiled, perfect, "--json").stdout)
    worse = {item["task"]: item["worse"] for item in compared["tasks"]}
    assert len(worse["refcoco_val"]) == len(read_scores(perfect, "refcoco_val")) and not worse["refcoco_testA"]


def test_disagreements_of_official_and_fixed_are_marked_and_listed(perfect: Path, cli: Cli, tmp_path: Path) -> None:
    """Corners in the wrong order are wrong officially and right when mended."""
    run = tmp_path / "run"
    shutil.copytree(perfect, run)
    predictions = run / "refcoco_val" / "predictions.jsonl"
    lines = [json.loads(line) for line in predictions.read_text().splitlines()]
    lines[7]["response"] = "it[[600, 800, 100, 200]]"
    predictions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert cli("score", run).returncode == 0
    marks = {line["id"]: line["disagrees"] for line in read_scores(run, "refcoco_val")}
    assert [key for key, mark in marks.items() if mark] == ["7"] and len(marks) == 80
    assert "- refcoco_val, official and fixed scorer disagree: 1 (7)" in cli("compare", run, perfect).stdout
    found = {
        item["task"]: item["disagree"] for item in json.loads(cli("compare", run, perfect, "--json").stdout)["tasks"]
    }
    assert found == {"refcoco_val": ["7"], "refcoco_testA": []}


def test_a_lost_task_is_incomplete(perfect: Path, cli: Cli, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(perfect, part)
    kept = json.loads((part / "scores.json").read_text())
    del kept["refcoco_testA"]
    (part / "scores.json").write_text(json.dumps(kept))
    assert cli("check", part, "--baseline", perfect).returncode == 3


def test_against_published_a_part_is_incomplete(perfect: Path, cli: Cli) -> None:
    done = cli("check", perfect, "--baseline", "published")
    assert done.returncode == 3 and "of 10834" in done.stdout


def test_unusable_input(perfect: Path, cli: Cli, tmp_path: Path) -> None:
    assert cli("check", perfect, "--baseline", tmp_path).returncode == 2
    assert cli("check", perfect, "--baseline", perfect, "--alpha", "2").returncode == 2


def test_samples_that_lost_their_answer_are_incomplete(perfect: Path, cli: Cli, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(perfect, part)
    path = part / "refcoco_val" / "scores.jsonl"
    first, *others = path.read_text().splitlines()
    lost = json.loads(first) | {"outcome": "media_error", "value": 0.0, "fixed": 0.0}
    path.write_text("\n".join([json.dumps(lost), *others]) + "\n")
    done = cli("check", part, "--baseline", perfect)
    assert done.returncode == 3 and "1 samples of the baseline have no answer" in done.stdout


def test_max_drop_against_published() -> None:
    from evalkit.card import load_card
    from evalkit.formula import Formula
    from evalkit.report.gate import against_published
    from evalkit.runs.folder import RowResult, RunFolder

    class Run(RunFolder):
        def __init__(self) -> None:
            self.label, self.notes = "run", ()

        def row(self, formula: Formula) -> RowResult | None:
            found = RowResult(70.0, (69.0, 71.0), 5000, 5000, None, (), ())
            return found if formula.tasks == ("refcoco_val",) else None

    card = load_card("internvl2")
    assert against_published(card, Run(), 0.0).exit_code == 1
    assert against_published(card, Run(), 20.0).exit_code == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1e400", "value is not between 0 and 1"),
        ("NaN", "value is not between 0 and 1"),
        ("5", "value is not between 0 and 1"),
        ('"1"', "value: Input should be a valid number"),
        ("null", "some samples have a value and some do not"),
        ("1.0} {", "not a score written by evalkit"),
    ],
)
def test_a_damaged_line_of_scores_is_named(value: str, said: str, perfect: Path, cli: Cli, tmp_path: Path) -> None:
    run = shutil.copytree(perfect, tmp_path / "run")
    path = run / "refcoco_val" / "scores.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace('"value": 1.0', f'"value": {value}')
    path.write_text("\n".join(lines) + "\n")
    done = cli("check", run, "--baseline", perfect)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert f"{path}:3: " in done.stderr or value == "null"


def test_a_sample_that_is_scored_twice_is_refused(perfect: Path, cli: Cli, tmp_path: Path) -> None:
    run = shutil.copytree(perfect, tmp_path / "run")
    with (run / "refcoco_val" / "scores.jsonl").open("a+") as file:
        file.seek(0)
        file.write(file.readline())
    done = cli("check", run, "--baseline", perfect)
    assert done.returncode == 2 and "scores.jsonl:81: id '0' occurs twice" in done.stderr


def test_a_task_without_values_is_no_task_that_passed(perfect: Path, cli: Cli, tmp_path: Path) -> None:
    run = shutil.copytree(perfect, tmp_path / "run")
    path = run / "refcoco_val" / "scores.jsonl"
    path.write_text(path.read_text().replace('"value": 1.0', '"value": null'))
    done = cli("check", run, "--baseline", perfect)
    assert done.returncode == 3 and "| refcoco_val | *incomplete* |" in done.stdout


@pytest.mark.parametrize("content", ["{}", "[]", '{"refcoco_val": {"score": NaN}}', '{"refcoco_val": {"n": "many"}}'])
def test_damaged_scores_json(content: str, perfect: Path, cli: Cli, tmp_path: Path) -> None:
    run = shutil.copytree(perfect, tmp_path / "run")
    (run / "scores.json").write_text(content)
    done = cli("check", run, "--baseline", perfect)
    assert done.returncode == 2 and "scores.json: " in done.stderr and done.stderr.count("\n") == 1
