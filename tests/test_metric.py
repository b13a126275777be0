"""Metrics of a task: official arithmetic on the golden values, what a summary says of them, and an example plugin."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.errors import UsageError
from evalkit.metrics.metric import Metric, all_right, count, f1, mean, mean_of, per, precision, recall, sum_of, within
from evalkit.metrics.statistics import interval
from evalkit.metrics.sums import group_sums
from evalkit.records import Outcome, Response, Sample, SampleScore, Score
from evalkit.runs.folder import RunFolder
from evalkit.runs.results import score_lines
from evalkit.scoring import score_task
from evalkit.summary import TaskSummary, read_summaries
from evalkit.task import Task
from tests.conftest import REPO, Cli, write_jsonl

MME = per(
    "points",
    "task",
    sum_of("acc + acc_plus", (mean("acc", included=lambda line: line.answer != "dropped"), all_right("plus", "image"))),
    maximum=2800,
)
HALLUSION = mean_of("avg", (mean("aAcc"), all_right("fAcc", "figure"), all_right("qAcc", "question")))


def line(key: str, value: float, group: str, answer: str = "x", **keys: str) -> SampleScore:
    return SampleScore(key, value, answer, Outcome.OK, "", group, None, value, keys.pop("subset", None), None, keys)


def score_of(metric: Metric, lines: Sequence[SampleScore]) -> float:
    return group_sums(metric, lines).score


def expected(shared: Path, vectors: str, task: str) -> Any:
    return json.loads((shared / vectors / "expected.json").read_text())[task]


@pytest.mark.shared_data
def test_mme_is_acc_and_acc_plus_of_14_parts_in_points(shared: Path) -> None:
    gold = expected(shared, "golden_iv", "mme")
    lines = []
    for key, value in gold["per"].items():
        part, number = key.split("/")
        file = shared / "golden_iv" / "root" / "data" / "mme" / "Your_Results" / f"{part}.txt"
        image = f"{part}/{file.read_text().splitlines()[int(number)].split()[0]}"
        lines.append(line(key, value, image, "dropped" if key in gold["dropped"] else "x", task=part, image=image))
    assert score_of(MME, lines) == pytest.approx(gold["score"], abs=1e-9)
    for part, points in gold["subsets"].items():
        alone = [one for one in lines if one.keys["task"] == part]
        assert score_of(MME, alone) == pytest.approx(points, abs=1e-9), part
    found = interval({"mme": group_sums(MME, lines)}).ci95
    assert found is not None and found[0] < gold["score"] < found[1]


@pytest.mark.shared_data
@pytest.mark.parametrize("judged", [False, True])
def test_hallusionbench_is_the_mean_of_three_groupings(judged: bool, shared: Path) -> None:
    gold = expected(shared, "golden_vk", "hallusionbench")
    values = gold["per"] | (gold["judged_per"] if judged else {})
    lines = []
    for key, value in values.items():
        kind, _, number, figure, question = key.rsplit("_", 4)
        group = f"{kind}/{number}"
        lines.append(line(key, value, group, figure=f"{group}/{figure}", question=f"{group}/{question}"))
    score, parts = ("judged_score", "judged_parts") if judged else ("score", "parts")
    assert score_of(HALLUSION, lines) == pytest.approx(gold[score], abs=1e-9)
    for part in (mean("aAcc"), all_right("fAcc", "figure"), all_right("qAcc", "question")):
        assert score_of(part, lines) == pytest.approx(gold[parts][part.name], abs=1e-9), part.name


def test_a_count_of_part_of_a_split_is_no_plain_mean() -> None:
    found = summary(a_task(yes_no, count("right", maximum=1000)), ["no"] * 4, ["no", "no", "no", "yes"])
    assert (found["score"], found["maximum"], found["plain_mean"]) == (3.0, 1000, False)


@pytest.mark.shared_data
def test_ocrbench_is_a_count(shared: Path) -> None:
    gold = expected(shared, "golden_vk", "ocrbench")
    metric = count("right", maximum=1000)
    lines = [line(key, value, key) for key, value in gold["per"].items()]
    assert score_of(metric, lines) == gold["score"] == 77
    (low, high), share = interval({"t": group_sums(metric, lines)}).ci95 or (0, 0), 77 / 130
    deviation = 130 * (share * (1 - share) / 130) ** 0.5  # of the number right among 130
    assert (low, high) == pytest.approx((77 - 1.96 * deviation, 77 + 1.96 * deviation), abs=0.6)
    assert group_sums(metric, lines).one_wrong == pytest.approx(1), "not 1000/130"


@pytest.mark.shared_data
@pytest.mark.parametrize("task", ["videomme_wo_subs", "videomme_w_subs"])
def test_videomme_leaves_answers_without_a_letter_out(task: str, shared: Path) -> None:
    gold = expected(shared, "golden_vk", task)
    lines = [line(key, value, key, "" if key in gold["excluded"] else "A") for key, value in gold["per"].items()]
    metric = mean("accuracy", included=lambda one: one.answer != "", fixed=mean("accuracy"))
    assert score_of(metric, lines) == pytest.approx(gold["score"], abs=1e-9)
    assert metric.fixed is not None
    assert score_of(metric.fixed, lines) == pytest.approx(gold["score_if_invalid_counted_wrong"], abs=1e-9)
    assert mean_of("both", (metric, mean("b"))).fixed is not None, "a part's fixed metric is a part of the whole's"


@pytest.mark.shared_data
def test_mmbench_video_is_on_a_scale_of_3_with_values_above_1(shared: Path) -> None:
    gold = expected(shared, "golden_vk", "mmbench_video_8f")
    assert max(gold["per"].values()) > 1
    task = a_task(lambda sample, answer: Score(float(answer), answer), mean("rating", maximum=3), unbounded=True)
    samples = [Sample(key, "?", (), ("x",), key) for key in gold["per"]]
    answers = {key: Response(key, repr(value)) for key, value in gold["per"].items()}
    found = score_task(task, samples, answers).summary.to_json()
    assert found["score"] == pytest.approx(gold["score"], abs=1e-9)
    assert (found["maximum"], found["unbounded"]) == (3, True)


# --- Tasks and records ---------------------------------------------------------------------------------------------


def a_task(score: Callable[[Sample, str], Score], *metrics: Metric, **more: Any) -> Task:
    return Task(name="t", metrics=metrics, expected_n=4, files=(), load=lambda root: (), score=score, **more)


def yes_no(sample: Sample, answer: str) -> Score:
    return Score(float(answer == sample.references[0]), answer, 1.0)


def always(value: float, sample: Sample, answer: str) -> Score:
    return Score(value, answer)


def summary(task: Task, gold: Sequence[str], said: Sequence[str], groups: Sequence[str] | None = None) -> Any:
    samples = [
        Sample(str(i), "?", (), (label,), groups[i] if groups else str(i), "ab"[i % 2], keys={"label": label})
        for i, label in enumerate(gold)
    ]
    return score_task(task, samples, {str(i): Response(str(i), text) for i, text in enumerate(said)}).summary.to_json()


def test_every_metric_of_a_task_is_in_its_summary() -> None:
    task = a_task(yes_no, f1(), mean("accuracy"), precision(), recall(), defects=("a defect",))
    found = summary(task, ["yes", "yes", "no", "no"], ["yes", "no", "yes", "no"])
    assert (found["metric"], found["score"], found["plain_mean"]) == ("f1", 50.0, False)
    assert {name: one["score"] for name, one in found["metrics"].items()} == {
        "accuracy": 50.0,
        "precision": 50.0,
        "recall": 50.0,
    }
    assert found["fixed_score"] == 100.0, "F1 of the fixed values"
    subset = found["subsets"]["a"]
    others = {name: one["score"] for name, one in subset.pop("metrics").items()}
    assert subset == {"n": 2, "maximum": 100.0, "score": pytest.approx(200 / 3), "ci95": [0.0, 100.0]}
    assert others == {"accuracy": 50.0, "precision": 50.0, "recall": 100.0}
    summaries = read_summaries({"t": found}, "scores.json")
    assert "f1 50.000" in score_lines(summaries) and "recall 50.000" in score_lines(summaries)


def test_a_metric_within_part_of_the_lines() -> None:
    part = within(mean("accuracy", fixed=mean("fixed")), lambda one: one.subset == "a", "accuracy of a")
    found = summary(a_task(yes_no, f1(), part), ["yes", "yes", "no", "no"], ["yes", "no", "yes", "no"])
    assert found["metrics"]["accuracy of a"]["score"] == 50.0 and part.fixed and part.fixed.name == "accuracy of a"


def test_a_metric_within_no_line_of_a_subset_is_not_shown_for_it() -> None:
    points = per("points", "label", mean("accuracy"), maximum=200)
    task = a_task(yes_no, f1(), within(points, lambda one: one.subset == "a", "points of a"))
    subsets = summary(task, ["yes", "yes", "no", "no"], ["yes", "no", "yes", "no"])["subsets"]
    assert {name: list(one["metrics"]) for name, one in subsets.items()} == {"a": ["points of a"], "b": []}


def test_a_sample_may_be_part_of_several_subsets() -> None:
    samples = [Sample(str(i), "?", (), ("yes",), str(i), "a", more_subsets=("b", "a")) for i in range(2)]
    scores = score_task(
        a_task(yes_no, mean("accuracy")), samples, {"0": Response("0", "yes"), "1": Response("1", "no")}
    )
    assert {name: (one["n"], one["score"]) for name, one in scores.summary.subsets.items()} == {
        "a": (2, 50.0),
        "b": (2, 50.0),
    }


def test_a_metric_without_positives_is_0() -> None:
    found = summary(a_task(yes_no, precision()), ["no", "no"], ["no", "no"])
    assert found["score"] == 0.0 and found["ci95_reason"] == "all resamples are equal"


def test_a_mean_that_leaves_every_sample_out_is_0() -> None:
    none = mean("accuracy", included=lambda one: False)
    found = summary(a_task(yes_no, none), ["no", "no"], ["no", "no"])
    assert (found["score"], found["ci95"]) == (0.0, None)
    assert found["ci95_reason"] == "no resample has a score"


@pytest.mark.parametrize(
    ("said", "groups", "ci95", "reason"),
    [
        (["no"] * 4, "abcd", [100 * 0.025**0.25, 100.0], None),
        (["no"] * 4, "aabb", [100 * 0.025**0.5, 100.0], None),
        (["yes"] * 4, "abcd", [0.0, 100 * (1 - 0.025**0.25)], None),
        (["no"] * 4, "aaaa", None, "one media group"),
        (["yes", "no"] * 2, "aabb", None, "all resamples are equal"),
    ],
)
def test_equal_answers_have_an_exact_interval_or_a_reason(
    said: list[str], groups: str, ci95: list[float] | None, reason: str | None
) -> None:
    found = summary(a_task(yes_no, mean("accuracy")), ["no"] * 4, said, groups)
    assert found["ci95"] == (None if ci95 is None else pytest.approx(ci95, abs=1e-12))
    assert found.get("ci95_reason") == reason


def test_the_exact_interval_is_the_one_of_clopper_and_pearson() -> None:
    """If the true share is a bound, all n answers are right with probability alpha/2; here n is 105."""
    found = summary(a_task(yes_no, mean("accuracy")), ["no"] * 105, ["no"] * 105)
    low, high = found["ci95"]
    assert (low / 100) ** 105 == pytest.approx(0.025) and high == 100
    assert round(low, 2) == 96.55


def test_values_beyond_1_are_refused_unless_the_task_says_otherwise() -> None:
    for value, unbounded, passes in (
        (1.5, False, False),
        (1.5, True, True),
        (-0.5, True, False),
        (np.inf, True, False),
    ):
        task = a_task(partial(always, value), mean("rating"), unbounded=unbounded)
        if passes:
            assert summary(task, ["x"] * 2, ["x"] * 2)["score"] == 150
        else:
            with pytest.raises(UsageError, match=f"sample '0': scorer returned {value}, expected"):
                summary(task, ["x"] * 2, ["x"] * 2)


def test_a_task_has_either_a_metric_or_metrics() -> None:
    given: dict[str, Any] = {"name": "t", "expected_n": 1, "files": (), "load": lambda root: (), "score": yes_no}
    plain = Task(metric="anls", **given)
    assert [one.name for one in plain.metrics] == ["anls"] and plain.metrics[0].is_plain
    assert Task(metrics=(f1(), mean("accuracy")), **given).metric == "f1"
    for wrong in ({}, {"metric": "anls", "metrics": (f1(),)}, {"metrics": (f1(), f1())}):
        with pytest.raises(ValueError, match="task t: "):
            Task(**given, **wrong)


def test_samples_that_count_together_must_share_their_media_group() -> None:
    split = [line("1", 1, "a", figure="f1"), line("2", 1, "b", figure="f1")]
    with pytest.raises(UsageError, match=r"'avg': samples '1' and '2' count together \(figure 'f1'\) .*'a' and 'b'"):
        score_of(HALLUSION, split)
    with pytest.raises(UsageError, match="'fAcc': a sample lacks the key 'figure'"):
        score_of(all_right("fAcc", "figure"), [line("1", 1, "a")])
    units = [SampleScore(key, 1.0, "x", Outcome.OK, "", key, "u", 1.0, None) for key in "ab"]
    with pytest.raises(UsageError, match="count together \\(unit 'u'\\)"):
        score_of(mean("accuracy"), units)


def test_a_metric_without_its_plugin(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({
        "data_root": ".", "card": "internvl2", "plugins": [str(tmp_path / "gone.py")], "model": {},
        "settings": {"model": {}, "tasks": {}},
    }))  # fmt: skip
    entry = {
        "metric": "accuracy",
        "score": 50.0,
        "fixed_score": None,
        "ci95": None,
        "n": 2,
        "expected_n": 2,
        "outcomes": {},
    }
    scores = {
        "plain": entry | {"plain_mean": True, "maximum": 3.0},
        "older": entry,
        "other": entry | {"plain_mean": False},
    }
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    folder = RunFolder(tmp_path)
    assert folder.metric("plain").maximum == 3 and folder.metric("older").is_plain
    with pytest.raises(
        UsageError, match=r"task 'other' is scored by 'accuracy', .* no --plugin file of the run"
    ) as caught:
        folder.metric("other")
    assert "gone.py" in str(caught.value) and "\n" not in str(caught.value)


# --- Through the command line ----------------------------------------------------------------------------------------

POPE = REPO / "examples" / "pope.py"


@pytest.fixture(scope="module")
def pope(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scored runs of the example plugin, on drawn questions: ``good`` and ``bad``."""
    root = tmp_path_factory.mktemp("pope")
    generator = np.random.default_rng(0)
    labels = generator.choice(["yes", "no"], 300)
    lines: list[dict[str, object]] = [
        {"question_id": i, "image": f"COCO_val2014_{i // 6:012d}.jpg", "text": "Is there a dog?", "label": str(label)}
        for i, label in enumerate(labels)
    ]
    write_jsonl(root / "data" / "pope" / "coco_pope_random.json", lines)
    for name, right in (("good", 0.85), ("bad", 0.55)):
        said = np.where(generator.random(300) < right, labels, np.where(labels == "yes", "no", "yes"))
        text = {"yes": "Yes, there is.", "no": "There is not, I think."}
        answers: list[dict[str, object]] = [{"id": str(i), "response": text[one]} for i, one in enumerate(said)]
        predictions = write_jsonl(root / f"{name}.jsonl", answers)
        given = ["--plugin", POPE, "--task", "pope_random", "--predictions", predictions, "--data-root", root]
        done = cli("score", *given, "--out", root / name)
        assert done.returncode == 0, done.stderr
    return root


def test_pope_is_a_plugin_of_at_most_60_lines(pope: Path) -> None:
    assert len(POPE.read_text().splitlines()) <= 60
    lines = [json.loads(text) for text in (pope / "good" / "pope_random" / "scores.jsonl").read_text().splitlines()]
    said = [(one["answer"] == "yes", one["keys"]["label"] == "yes") for one in lines]
    hits, all_yes, all_gold = sum(a and b for a, b in said), sum(a for a, _ in said), sum(b for _, b in said)
    expect = {
        "f1": 200 * hits / (all_yes + all_gold),
        "accuracy": 100 * sum(a == b for a, b in said) / len(said),
        "precision": 100 * hits / all_yes,
        "recall": 100 * hits / all_gold,
    }
    found = json.loads((pope / "good" / "scores.json").read_text())["pope_random"]
    shown = {"f1": found["score"]} | {name: one["score"] for name, one in found["metrics"].items()}
    assert shown == pytest.approx(expect)
    assert all(one["ci95"][0] < one["score"] < one["ci95"][1] for one in (found, *found["metrics"].values()))


def test_every_command_understands_f1(pope: Path, cli: Cli, tmp_path: Path) -> None:
    good, bad = pope / "good", pope / "bad"
    scores = [json.loads((run / "scores.json").read_text())["pope_random"]["score"] for run in (bad, good)]
    compared = json.loads(cli("compare", bad, good, "--json").stdout)["tasks"][0]
    assert (compared["metric"], compared["run"], compared["base"]) == ("f1", *map(pytest.approx, scores))
    assert compared["ci95"][1] < 0 and compared["p_drop"] < 0.01 and 0 < compared["detectable"] < 30
    assert cli("check", bad, "--baseline", good).returncode == 1
    assert cli("check", good, "--baseline", good).returncode == 0
    assert cli("table", good, bad).returncode == 0
    assert cli("plot", good, bad, "--out", tmp_path / "plots").returncode == 0
    assert (tmp_path / "plots" / "runs.svg").exists()
    report = tmp_path / "report.html"
    assert cli("report", bad, "--against", good, "--out", report).returncode == 0
    text = report.read_text()
    assert all(f">{name}</td>" in text for name in ("f1", "accuracy", "precision", "recall"))


def test_points_beyond_100_are_a_drop_like_any_other(pope: Path, cli: Cli) -> None:
    assert cli("check", pope / "bad", "--baseline", pope / "good", "--max-drop", "250").returncode == 0
    refused = cli("check", pope / "bad", "--baseline", pope / "good", "--max-drop", "-1")
    assert refused.returncode == 2 and "must be a number of points, 0 or more" in refused.stderr


def test_unbounded_values_are_read_back(cli: Cli, tmp_path: Path) -> None:
    plugin = tmp_path / "rated.py"
    plugin.write_text(POPE.read_text().replace("float(said == sample.references[0])", "len(answer) / 3").replace(
        "metrics=(f1(), mean(\"accuracy\"), precision(), recall())",
        "metrics=(mean(\"rating\", maximum=3),), unbounded=True",
    ))  # fmt: skip
    questions: list[dict[str, object]] = [
        {"question_id": i, "image": f"{i}.jpg", "text": "?", "label": "yes"} for i in range(4)
    ]
    write_jsonl(tmp_path / "data" / "pope" / "coco_pope_random.json", questions)
    answers: list[dict[str, object]] = [{"id": str(i), "response": "x" * (i + 1)} for i in range(4)]
    predictions = write_jsonl(tmp_path / "answers.jsonl", answers)
    run = tmp_path / "run"
    given = ["--plugin", plugin, "--task", "pope_random", "--predictions", predictions, "--data-root", tmp_path]
    assert cli("score", *given, "--out", run).returncode == 0
    assert json.loads((run / "scores.json").read_text())["pope_random"]["score"] == pytest.approx(2.5)
    assert cli("check", run, "--baseline", run).returncode == 0, "4/3 is a value here"
    assert cli("plot", run, "--out", tmp_path / "plots").returncode == 0
    lines = run / "pope_random" / "scores.jsonl"
    lines.write_text(lines.read_text().replace('"value": 1.0', '"value": -1.0'))
    damaged = cli("check", run, "--baseline", run)
    assert damaged.returncode == 2 and "scores.jsonl:3: a value is not finite and at least 0" in damaged.stderr


def test_a_summary_round_trips_and_leaves_out_what_does_not_apply() -> None:
    outcomes = {Outcome.OK: 1, Outcome.MISSING: 1}
    plain = TaskSummary(metric="anls", n=2, expected_n=5, outcomes=outcomes, server_score=0.0)
    content = plain.to_json()
    assert content["server_score"] == 0.0
    assert not {"unbounded", "ci95_reason", "metrics", "judge"} & content.keys()
    assert read_summaries({"t": content}, "scores.json") == {"t": plain}
    rated = replace(plain, unbounded=True, ci95=(1.0, 2.0), judge={"name": None}, server_score=None)
    assert read_summaries({"t": json.loads(json.dumps(rated.to_json()))}, "scores.json") == {"t": rated}
    for broken in (content | {"n": -1}, content | {"score": "70"}, content | {"outcomes": {"fine": 1}}):
        with pytest.raises(UsageError, match=r"scores\.json: not written by evalkit"):
            read_summaries({"t": broken}, "scores.json")
