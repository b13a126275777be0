"""The golden vectors of VLMEvalKit's image rows, and everything in which a task differs from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.card import load_card
from evalkit.data.root import DataRoot
from evalkit.judging import Exchange, Judge, Judged, settle
from evalkit.records import Response, Sample, SampleScore
from evalkit.requests import build_requests
from evalkit.scoring import TaskScores, score_task
from evalkit.task import Task
from tasks import hallusionbench, mathvista, mmvet_turbo, ocrbench, vlmevalkit_choice
from tests.conftest import SHARED

GOLDEN = SHARED / "golden_vk"
MODULES = (vlmevalkit_choice, ocrbench, hallusionbench, mathvista, mmvet_turbo)
TASKS: dict[str, Task] = {task.name: task for module in MODULES for task in module.TASKS}
# The score is a judge's; else a judge only helps out.
GRADED = ("mathvista_testmini", "mmvet_turbo")


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def expected_of(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))[name]
    return content


def judge_lines(name: str) -> list[Any]:
    """The recorded exchanges of a task; none if it has no judge."""
    path = GOLDEN / "judge" / f"{name}.jsonl"
    return lines_of(path) if path.is_file() else []


def scored(task: Task, with_judge: bool) -> TaskScores:
    exchanges = {line["id"]: Exchange(tuple(line["replies"])) for line in judge_lines(task.name)}
    answers = {line["id"]: line["response"] for line in lines_of(GOLDEN / "predictions" / f"{task.name}.jsonl")}
    responses = {key: Response(key, answer) for key, answer in answers.items()}
    return score_task(task, samples_of(task), responses, Judged("scripted", exchanges) if with_judge else None)


def samples_of(task: Task) -> list[Sample]:
    return list(task.load(DataRoot(GOLDEN / "root")))


def wrong_scores(task: Task) -> list[str]:
    """What differs from the golden scores without a judge, and with one."""
    graded = task.name in GRADED
    expected, wrong = expected_of(task.name), []
    found = scored(task, with_judge=graded)
    if not close(found.summary.score, expected["score"]):
        wrong.append(f"score {found.summary.score}, not {expected['score']}")
    wrong += [
        *wrong_values(found, expected["per"]),
        *wrong_parts(found, expected),
        *wrong_questions(found, expected, ""),
    ]
    for line in found.lines:
        answer = expected.get("answers", {}).get(line.id, line.answer)
        if line.answer != (None if answer == "Unknown" else answer):
            wrong.append(f"{line.id}: answer {line.answer!r}, not {answer!r}")
    if judge_lines(task.name) and not graded:
        judged = scored(task, with_judge=True)
        if not close(judged.summary.score, expected["judged_score"]):
            wrong.append(f"judged score {judged.summary.score}, not {expected['judged_score']}")
        wrong += wrong_values(judged, expected["per"] | expected["judged_per"])
        wrong += [f"judged {name}" for name in unlike(metrics(judged), expected.get("judged_parts", {}))]
        wrong += wrong_questions(judged, expected, "judged_")
    return wrong


def close(ours: float | None, theirs: float) -> bool:
    return ours == pytest.approx(theirs, abs=1e-9)


def unlike(ours: dict[str, float | None], theirs: dict[str, float]) -> Iterator[str]:
    return (
        f"{name}: {ours.get(name)}, not {value}" for name, value in theirs.items() if not close(ours.get(name), value)
    )


def wrong_values(found: TaskScores, per: dict[str, float]) -> list[str]:
    ours = {line.id: line.value for line in found.lines}
    return [*unlike(ours, per), *(f"{key}: not asked officially" for key in ours.keys() - per.keys())]


def metrics(found: TaskScores) -> dict[str, float | None]:
    return {name: one["score"] for name, one in found.summary.metrics.items()}


def wrong_parts(found: TaskScores, expected: dict[str, Any]) -> Iterator[str]:
    """What differs in the further metrics and subsets; MM-Vet's break-down consists of metrics."""
    yield from unlike(metrics(found), expected.get("parts", {}))
    subsets = found.summary.subsets
    for name, theirs in expected.get("subsets", {}).items():
        whole = subsets.get(name, {"score": metrics(found).get(name), "n": 0, "metrics": {}})
        if isinstance(theirs, dict) and "acc" in theirs:  # MathVista: tot, prefetch, hit, acc
            yield from unlike({"n": whole["n"], "acc": whole["score"]}, {"n": theirs["tot"], "acc": theirs["acc"]})
        elif isinstance(theirs, dict):
            yield from unlike({part: one["score"] for part, one in whole["metrics"].items()}, theirs)
        elif not close(whole["score"], theirs):
            yield f"{name}: {whole['score']}, not {theirs}"
    yield from sorted(subsets.keys() - expected.get("subsets", {}).keys())


def wrong_questions(found: TaskScores, expected: dict[str, Any], kind: str) -> list[str]:
    """What differs in the values of whole questions (MMBench)."""
    by_question: dict[str, list[SampleScore]] = {}
    for line in found.lines:
        by_question.setdefault(line.unit or line.id, []).append(line)
    ours: dict[str, float | None] = {
        key: min(line.value or 0.0 for line in lines) for key, lines in by_question.items()
    }
    return list(unlike(ours, expected.get(f"{kind}per_question", {})))


def wrong_requests(task: Task) -> list[str]:
    """The ids about which the judge is asked in another way than officially, or not at all, or needlessly."""
    judge, record = task.judge, {line["id"]: line for line in judge_lines(task.name)}
    answers = {line["id"]: line["response"] for line in lines_of(GOLDEN / "predictions" / f"{task.name}.jsonl")}
    if judge is None:
        return []
    wrong = []
    for sample in samples_of(task):
        prompt, line = judge.ask(sample, answers[sample.id]), record.get(sample.id)
        if line is None:
            # Officially a rotation is not sent if another one has already lost the question.
            if prompt is not None and task.unit is None:
                wrong.append(f"{sample.id}: asked needlessly")
        elif line["messages"] != [{"role": "user", "content": [{"type": "text", "text": prompt}]}]:
            wrong.append(f"{sample.id}: another request")
        elif (line["model"], line["max_tokens"]) != (judge.name, judge.max_new_tokens):
            wrong.append(f"{sample.id}: another judge")
        elif temperatures(judge, sample, line) != [*line["temperatures"], None]:
            wrong.append(f"{sample.id}: other temperatures")
    return wrong


def temperatures(judge: Judge, sample: Sample, line: dict[str, Any]) -> list[float | None]:
    """The temperature of each request, and None after the last: what the retry rule makes of the replies."""
    attempts = (
        settle(judge, sample, line["response"], line["replies"][:number]).attempt
        for number in range(len(line["replies"]) + 1)
    )
    return [None if attempt is None else judge.temperatures[attempt] for attempt in attempts]


def wrong_prompts(task: Task) -> list[str]:
    """The ids whose questions to the model are not the official ones."""
    recipe, root = load_card("internvl2").recipe(task.name), DataRoot(GOLDEN / "prompts_root")
    assert recipe is not None
    requests = build_requests(task, list(task.load(root)), recipe, root, 448)
    cases = json.loads((GOLDEN / "prompts.json").read_text(encoding="utf-8"))[task.name]
    asked = {case["id"]: case["question"] for case in cases}
    prompts = {request.id: request.prompt for request in requests}
    return sorted(key for key in asked.keys() | prompts.keys() if asked.get(key) != prompts.get(key))
