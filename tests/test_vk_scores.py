"""The image rows of VLMEvalKit score as the official code does, without a judge and with one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.data.root import DataRoot
from evalkit.judging import Exchange, Judged
from evalkit.records import Outcome, Response
from evalkit.scoring import score_task
from tests.conftest import Cli
from tests.vk_golden import (
    GOLDEN,
    GRADED,
    TASKS,
    expected_of,
    judge_lines,
    lines_of,
    scored,
    wrong_requests,
    wrong_scores,
)

pytestmark = pytest.mark.shared_data


@pytest.mark.parametrize("name", TASKS)
def test_golden_scores_values_answers_and_break_downs(name: str) -> None:
    assert wrong_scores(TASKS[name]) == []


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS[name].judge])
def test_the_judge_is_asked_as_officially_byte_for_byte(name: str) -> None:
    assert len(judge_lines(name)) >= 16
    assert wrong_requests(TASKS[name]) == []


@pytest.mark.parametrize("name", ["realworldqa", "hallusionbench", "mathvista_testmini"])
def test_golden_scores_through_the_command_line(name: str, cli: Cli, shared: Path) -> None:
    files = ["--predictions", GOLDEN / "predictions" / f"{name}.jsonl", "--judged", GOLDEN / "judge" / f"{name}.jsonl"]
    done = cli("score", "--task", name, *files, "--data-root", GOLDEN / "root", "--json")
    summary, expected = json.loads(done.stdout)[name], expected_of(name)
    assert summary["score"] == pytest.approx(expected.get("judged_score", expected["score"]), abs=1e-9)
    assert summary["judge"]["asked"] == summary["judge"]["judged"] == len(judge_lines(name))
    assert summary["judge"]["unused_replies"] == 0
    assert sum(summary["outcomes"].values()) == summary["n"] == len(expected["per"])


def test_without_a_usable_reply_an_answer_is_unjudged_also_where_the_official_code_draws_at_random() -> None:
    for name in TASKS:
        useless = {
            line["id"] for line in judge_lines(name) if line.get("random_draw") or line["answer"] in (None, "Unknown")
        }
        lines = scored(TASKS[name], with_judge=bool(judge_lines(name))).lines
        left = {line.id for line in lines if line.outcome is Outcome.UNJUDGED}
        if name == "mathvista_testmini":  # a reply that is lost in the xlsx file has been read
            left |= {line.id for line in lines if line.outcome is Outcome.UNPARSED}
        assert left == useless
        assert all(line.value == 0 for line in lines if line.id in useless)


def test_without_a_judge_only_the_graded_tasks_have_unjudged_answers() -> None:
    for name, task in TASKS.items():
        outcomes = scored(task, with_judge=False).summary.outcomes
        assert (outcomes[Outcome.UNJUDGED] > 0) == (name in GRADED)


# Recorded answers of other models, with the scores that their runs printed.


RECORDED = [
    ("vila-13b", "ocrbench", 458, 1000),
    ("vila-13b", "hallusionbench", 38.2629163109096, 951),
    ("vila-13b", "realworldqa", 53.4640522875817, 765),
    ("vila-13b", "mmstar", 44.266666666666666, 1500),
    ("idefics-9b-instruct", "mmmu_val_vlmevalkit", 25.11111111111111, 900),
    ("instructblip-7b", "mmvet_turbo", 30.504587155963304, 218),
    ("llava-llama-2-13b", "mathvista_testmini", 25.5, 1000),
]
PARTS = {
    "hallusionbench": {"aAcc": 58.0441640378549, "fAcc": 28.61271676300578, "qAcc": 28.13186813186813},
    "mmvet_turbo": {
        "rec": 42.299465,
        "ocr": 22.777778,
        "know": 21.666667,
        "gen": 19.25,
        "spat": 20.266667,
        "math": 11.538462,
    },
}
OCRBENCH = [181, 156, 73, 48, 0]


@pytest.mark.parametrize(("model", "name", "score", "n"), RECORDED)
def test_recorded_answers_score_as_recorded(model: str, name: str, score: float, n: int, shared: Path) -> None:
    task, data = TASKS[name], shared / "data"
    record = data / "judge" / model / f"{name}.jsonl"
    exchanges = {
        line["id"]: Exchange(tuple(line["replies"])) for line in (lines_of(record) if record.is_file() else [])
    }
    answers = {line["id"]: line["response"] for line in lines_of(data / "predictions" / model / f"{name}.jsonl")}
    responses = {key: Response(key, answer) for key, answer in answers.items()}
    judged = Judged("recorded", exchanges) if exchanges else None
    summary = score_task(task, list(task.load(DataRoot(data / "root"))), responses, judged).summary
    assert summary.score == pytest.approx(score, abs=1e-9)
    assert summary.n == summary.expected_n == n
    for part, value in PARTS.get(name, {}).items():
        assert summary.metrics[part]["score"] == pytest.approx(value, abs=1e-6)
    if name == "ocrbench":
        assert [round(one["score"], 9) for one in summary.subsets.values()] == OCRBENCH


@pytest.mark.parametrize("name", GRADED)
def test_the_judge_of_recorded_answers_is_asked_as_officially(name: str, shared: Path) -> None:
    model = next(model for model, recorded, _, _ in RECORDED if recorded == name)
    task = TASKS[name]
    samples = {sample.id: sample for sample in task.load(DataRoot(shared / "data" / "root"))}
    asked = lines_of(shared / "data" / "judge" / model / f"{name}.jsonl")
    assert task.judge is not None
    for line in asked:
        prompt = task.judge.ask(samples[line["id"]], line["response"])
        assert line["messages"] == [{"role": "user", "content": [{"type": "text", "text": prompt}]}], line["id"]
