"""Deliberate faults in the scorers from the InternVL repository: each must be seen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from evalkit.data.root import DataRoot
from evalkit.judging import Exchange, Judged, settle
from evalkit.metrics import anls, mmmu
from evalkit.metrics.choice import careful_choice, first_letter_choice
from evalkit.metrics.metric import Metric, all_right, mean, per, sum_of, within
from evalkit.plugins import load_tasks, module_of, shipped
from evalkit.records import Response, Sample, Score
from evalkit.scoring import score_task
from evalkit.task import Task
from tests import test_iv_quirks as quirks
from tests.conftest import SHARED

pytestmark = pytest.mark.shared_data

TASKS = ("infovqa_val", "ai2d_test", "ai2d_test_no_mask", "mme", "mmmu_val", "seed_image", "mmvet")


class Case(NamedTuple):
    task: Task
    samples: list[Sample]


Fault = Callable[[pytest.MonkeyPatch, Case], Case]


@cache
def case_of(name: str) -> Case:
    task = load_tasks()[name]
    return Case(task, list(task.load(DataRoot(SHARED / "golden_iv" / "root"))))


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answers_of(task: str) -> dict[str, str]:
    rows = rows_of(SHARED / "golden_iv" / "predictions" / f"{task}.jsonl")
    return {row["id"]: row["response"] for row in rows}


def asked(case: Case) -> tuple[Judged | None, dict[str, list[Any]]]:
    """Return the golden exchanges with the judge, and its requests as [temperature, tokens, prompt] by sample."""
    judge, answers = case.task.judge, answers_of(case.task.name)
    if judge is None:
        return None, {}
    rows = rows_of(SHARED / "golden_iv" / "judge" / "mmvet.jsonl")
    replies = {row["id"]: tuple(row["replies"]) for row in rows}
    requests = {}
    for one in case.samples:
        used = settle(judge, one, answers[one.id], replies[one.id]).used
        prompt = judge.ask(one, answers[one.id]) or ""
        tries = zip(judge.temperatures[:used], (prompt, *[prompt + judge.retry] * (used - 1)), strict=True)
        requests[one.id] = [[temperature, judge.max_new_tokens, text] for temperature, text in tries]
    return Judged("told", {key: Exchange(said) for key, said in replies.items()}), requests


def differences(case: Case) -> list[str]:
    """Return what differs from the golden vectors."""
    iv, name = SHARED / "golden_iv", case.task.name
    want = json.loads((iv / "expected.json").read_text())[name]
    judged, requests = asked(case)
    responses = {key: Response(key, answer) for key, answer in answers_of(name).items()}
    scores = score_task(case.task, case.samples, responses, judged)
    summary = scores.summary.to_json()
    subsets = {key: part["score"] for key, part in summary["subsets"].items() if not key.startswith("Overall-")}
    domains = {key: round(part["score"] / 100, 3) for key, part in summary["subsets"].items() if "Overall-" in key}
    printed = want["printed"] if name == "mmmu_val" else {}
    pairs: list[tuple[str, Any, Any]] = [
        ("score", summary["score"], want["score"]),
        ("per", {line.id: line.value for line in scores.lines}, want["per"]),
        ("subsets", subsets, want.get("subsets", {})),
        ("parts", {key: one["score"] for key, one in summary.get("metrics", {}).items()}, want.get("parts", {})),
        ("domains", domains, {key: part["acc"] for key, part in printed.items() if key != "Overall"}),
        ("replies", {key: len(some) for key, some in requests.items()}, want.get("replies_used", {})),
    ]
    found = [key for key, value, golden in pairs if value != pytest.approx(golden, abs=1e-9)]
    official: dict[str, list[Any]] = {}
    for one in json.loads((iv / "judge" / "mmvet_requests.json").read_text()) if judged else []:
        request = [one["temperature"], one["max_tokens"], one["messages"][0]["content"]]
        official.setdefault(one["id"], []).append(request)
    return found + ["requests"] * any(requests[key] != some for key, some in official.items())


@pytest.mark.parametrize("task", TASKS)
def test_without_a_fault_nothing_differs(task: str) -> None:
    assert differences(case_of(task)) == []


# Kinds of faults


def plugin(name: str) -> ModuleType:
    return module_of(shipped("tasks") / f"{name}.py")


def helper(module: ModuleType | str, name: str, value: object) -> Fault:
    """Another function or constant in the scorer's module (a plugin by its name)."""

    def fault(patch: pytest.MonkeyPatch, case: Case) -> Case:
        patch.setattr(plugin(module) if isinstance(module, str) else module, name, value, raising=False)
        return case

    return fault


def scorer(score: Callable[[Sample, str], float]) -> Fault:
    return lambda patch, case: case._replace(
        task=replace(case.task, score=lambda sample, answer: Score(float(score(sample, answer)), answer))
    )


def metrics(*found: Metric) -> Fault:
    """Other metrics, the first ones of the task."""
    return lambda patch, case: case._replace(
        task=replace(case.task, metric="", metrics=(*found, *case.task.metrics[len(found) :]))
    )


def samples(change: Callable[[int, Sample], Sample]) -> Fault:
    return lambda patch, case: case._replace(samples=[change(*numbered) for numbered in enumerate(case.samples)])


def judge(**changed: Any) -> Fault:
    def fault(patch: pytest.MonkeyPatch, case: Case) -> Case:
        assert case.task.judge is not None
        return case._replace(task=replace(case.task, judge=replace(case.task.judge, **changed)))

    return fault


# What the faults do


def points(name: str, accuracy: Metric, chosen: Sequence[str] | None = None, maximum: float = 2800) -> Metric:
    metric = per(name, "task", sum_of("both", (accuracy, all_right("acc_plus", "image"))), maximum=maximum)
    return within(metric, lambda line: line.keys["task"] in chosen) if chosen else metric


def mme_metrics(
    accuracy: Metric, perception: Sequence[str] | None = None, cognition: Sequence[str] | None = None
) -> Fault:
    mme = plugin("mme")
    return metrics(
        points("points", accuracy),
        points("perception", accuracy, perception or mme.PERCEPTION),
        points("cognition", accuracy, cognition or mme.COGNITION),
    )


def shifted_pairs(place: int, sample: Sample) -> Sample:
    """The second question on a picture with the first on the next, within a task."""
    task, line = sample.id.split("/")
    return replace(sample, keys={"task": task, "image": f"{task}/{(int(line) + 1) // 2}"}, group=task)


def label_in_five(text: str) -> str | None:
    return next((label for label in ("yes", "no") if label in text[:5]), None)


def unpadded(sample: Sample, answer: str) -> str:
    return str(plugin("mmvet").JUDGE.fill(question=sample.question, truth=sample.references[0], answer=answer))


def grade(reply: str, cut: Callable[[str], str]) -> Score | None:
    try:
        value = float(cut(reply))
    except ValueError:
        return None
    return Score(min(value, 1.0), reply) if value >= 0 else None


ACCURACY = mean("acc", included=lambda line: line.answer != plugin("mme").DROPPED)
PERCEPTION, COGNITION = plugin("mme").PERCEPTION, plugin("mme").COGNITION

FAULTS: dict[str, tuple[str, Fault]] = {
    "ANLS by the length of the compared strings": (
        "infovqa_val", scorer(lambda one, answer: anls.anls(answer, one.references, raw_length=False)),
    ),
    "ANLS of 0.5 counts 0": ("infovqa_val", helper(anls, "THRESHOLD", 0.5 + 1e-12)),
    "ANLS without a threshold": ("infovqa_val", helper(anls, "THRESHOLD", 0.0)),
    "ANLS with the first answer alone": (
        "infovqa_val", scorer(lambda one, answer: anls.anls(answer, one.references[:1])),
    ),
    "AI2D reads carefully": (
        "ai2d_test", scorer(lambda one, answer: careful_choice(answer, one.fields["options"]) in one.references),
    ),
    "AI2D with case": ("ai2d_test", scorer(lambda one, answer: answer.strip() in one.references)),
    "AI2D with outer blanks": (
        "ai2d_test", scorer(lambda one, answer: answer.lower() in [gold.lower() for gold in one.references]),
    ),
    "AI2D takes the first character": (
        "ai2d_test_no_mask", scorer(lambda one, answer: answer.strip()[:1].upper() in one.references),
    ),
    "MME leaves unreadable answers out": ("mme", mme_metrics(mean("acc", included=lambda one: one.answer is not None))),
    "MME over all questions": (
        "mme", metrics(sum_of("points", (mean("acc", maximum=1400), all_right("plus", "image", maximum=1400)))),
    ),
    "MME without paired accuracy": ("mme", metrics(per("points", "task", ACCURACY, maximum=1400))),
    "MME pairs shifted": ("mme", samples(shifted_pairs)),
    "MME with OCR in cognition": ("mme", mme_metrics(ACCURACY, PERCEPTION[:-1], (*COGNITION, "OCR"))),
    "MME reads five characters": ("mme", helper("mme", "label_of", label_in_five)),
    "MME reads words": ("mme", helper("mme", "label_of", lambda text: plugin("mme").careful_label(text))),
    "MME without Chinese": ("mme", helper("mme", "CHINESE_LABELS", ())),
    "MME replaces 是 before 不是": ("mme", helper("mme", "CHINESE_LABELS", (("是", "yes"), ("否", "no")))),
    "MMMU reads carefully": ("mmmu_val", helper("mmmu", "first_letter_choice", careful_choice)),
    "MMMU never takes an option by its text": (
        "mmmu_val", helper("mmmu", "first_letter_choice", lambda answer, options: answer.strip()[:1]),
    ),
    "MMMU takes the last option in the answer": (
        "mmmu_val",
        helper(
            "mmmu", "first_letter_choice",
            lambda answer, options: first_letter_choice(answer, dict(reversed(options.items()))),
        ),
    ),
    "MMMU's open answers must be equal": (
        "mmmu_val",
        helper("mmmu", "open_match", lambda answer, gold: answer.strip().lower() in [one.lower() for one in gold]),
    ),
    "MMMU's open answers with the first answer alone": (
        "mmmu_val", helper("mmmu", "open_match", lambda answer, gold: mmmu.open_match(answer, gold[:1])),
    ),
    "MMMU without indicators": ("mmmu_val", helper(mmmu, "_INDICATORS", ())),
    "MMMU without numbers": ("mmmu_val", helper(mmmu, "_NUMBERS", ())),
    "MMMU without thousands": ("mmmu_val", helper(mmmu, "_NUMBERS", mmmu._NUMBERS[1:])),
    "MMMU without powers of ten": ("mmmu_val", helper(mmmu, "_NUMBERS", mmmu._NUMBERS[::2])),
    "MMMU with a subject in another domain": (
        "mmmu_val", samples(lambda place, one: replace(one, more_subsets=("Overall-Business",))),
    ),
    "SEED wants the letter alone": ("seed_image", scorer(lambda one, answer: answer == one.references[0])),
    "SEED strips": ("seed_image", scorer(lambda one, answer: answer.strip()[:1] == one.references[0])),
    "SEED without case": ("seed_image", scorer(lambda one, answer: answer[:1].upper() == one.references[0])),
    "SEED reads carefully": (
        "seed_image", scorer(lambda one, answer: careful_choice(answer, one.fields["options"]) == one.references[0]),
    ),
    "SEED's second line without an id of its own": (
        "seed_image", samples(lambda place, one: replace(one, id=one.id.partition("#")[0])),
    ),
    "MM-Vet reads the last reply": ("mmvet", judge(unread=0)),
    "MM-Vet asks once less": ("mmvet", judge(temperatures=(0.0,) * 5)),
    "MM-Vet asks once": ("mmvet", judge(temperatures=(0.0,))),
    "MM-Vet asks in the same words again": ("mmvet", judge(retry="")),
    "MM-Vet asks warmer at once": ("mmvet", judge(temperatures=(0.0, 0.5, 1.0, 1.5, 2.0, 2.0))),
    "MM-Vet shows the gold answer as it is": ("mmvet", judge(ask=unpadded)),
    "MM-Vet strips a reply": (
        "mmvet", judge(read=lambda one, answer, reply: grade(reply, lambda text: text.strip().split(" ")[0])),
    ),
    "MM-Vet cuts a grade at 1": (
        "mmvet", judge(read=lambda one, answer, reply: grade(reply, lambda text: text.split(" ")[0])),
    ),
    "MM-Vet by the first capability": (
        "mmvet", samples(lambda place, one: replace(one, more_subsets=one.more_subsets[:1])),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_misses_the_golden_scores(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task, fault = FAULTS[name]
    assert differences(fault(monkeypatch, case_of(task)))


# Faults that the golden answers do not show, and the test that sees each
QUIRKS: dict[str, tuple[str, Fault, Callable[[], None]]] = {
    "AI2D with the first answer alone": (
        "ai2d_test", scorer(lambda one, answer: answer.strip().lower() == one.references[0].lower()),
        quirks.test_ai2d_takes_the_best_of_several_gold_answers,
    ),
    "MME keeps answers with a tab in the accuracy": (
        "mme", mme_metrics(mean("acc")),
        quirks.test_mme_leaves_an_answer_with_a_tab_out_of_the_accuracy_but_not_of_the_pairs,
    ),
    "MME keeps Chinese characters": (
        "mme", helper("mme", "CHINESE", re.compile("(?!)")),
        partial(quirks.test_mme_reads_four_characters, "中国 yes", "yes", "yes"),
    ),
    "MMMU's equations everywhere": (
        "mmmu_val", helper(mmmu, "_INDICATORS", (*mmmu._INDICATORS, "=")),
        partial(quirks.test_mmmu_open_answers, "so 12 = 5\nreally", ("12",), True),
    ),
    "MMMU without equations": (
        "mmmu_val", helper(mmmu, "_EQUATION", "\0"),
        partial(quirks.test_mmmu_open_answers, "so 12 = 5", ("12",), False),
    ),
    "MMMU rounds to one decimal": (
        "mmmu_val", helper(mmmu, "round", lambda value, digits: round(value, 1)),
        partial(quirks.test_mmmu_open_answers, "4.01", ("4",), False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", QUIRKS)
def test_a_fault_misses_a_quirk(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task, fault, test = QUIRKS[name]
    test()
    case = fault(monkeypatch, case_of(task))
    monkeypatch.setattr(quirks, "load_tasks", lambda: {task: case.task})
    with pytest.raises(AssertionError):
        test()
