"""From responses to scores: every sample stays in ``n``, every failure is counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from inspect import getsourcefile, unwrap
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from evalkit.errors import UsageError
from evalkit.metrics.statistics import Observation, cluster_bootstrap, interval
from evalkit.records import Outcome, Response, Sample, SampleScore, Score
from evalkit.task import Task

PERCENT = 100.0


class TaskScores(NamedTuple):
    """The summary of a task for scores.json, and its lines for scores.jsonl."""

    summary: dict[str, Any]
    lines: list[SampleScore]


def score_task(task: Task, samples: Sequence[Sample], responses: Mapping[str, Response]) -> TaskScores:
    """Score one task.

    Args:
        task: the task.
        samples: all its samples, in order.
        responses: responses by id; a sample without one is ``missing``.

    Raises:
        UsageError: see ``check_labels``; or a value that is not within 0 and 1.
    """
    scored = check_labels(task, samples)
    absent = Response("", "", Outcome.MISSING, reason="no response")
    lines = [_score(task, sample, responses.get(sample.id, absent), scored) for sample in samples]
    counts = Counter(line.outcome for line in lines)
    summary: dict[str, Any] = {
        "metric": task.metric,
        "score": None,
        "n": len(lines),
        "expected_n": task.expected_n,
        "ci95": None,
        "outcomes": {outcome.value: counts[outcome] for outcome in Outcome},
        "fixed_score": None,
        "subsets": {},
        "scorer_sha256": scorer_sha256(task),
    }
    if scored:
        official = observations(lines)
        summary["score"] = PERCENT * _mean(official)
        summary["ci95"] = _interval(official)
        if task.defects:
            summary["fixed_score"] = PERCENT * _mean(observations(lines, fixed=True))
        summary["subsets"] = _subsets(lines)
    return TaskScores(summary, lines)


def check_labels(task: Task, samples: Sequence[Sample]) -> bool:
    """Return whether a task can be scored here.

    Raises:
        UsageError: some samples have gold answers and some have none, or a task with local labels has none.
    """
    scored = any(sample.references for sample in samples)
    bare = next((sample for sample in samples if not sample.references), None)
    if bare is not None and (scored or task.labelled):
        raise UsageError(f"task {task.name}: sample {bare.id!r} has no gold answer in the data file")
    return scored


def scorer_sha256(task: Task) -> str:
    """Return the hash of the code that turns an answer into a value: the plugin's file and the metrics."""
    plugin = getsourcefile(unwrap(getattr(task.score, "func", task.score)))
    files = [Path(plugin)] if plugin else []
    files += [Path(__file__), *sorted((Path(__file__).parent / "metrics").glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def observations(lines: Sequence[SampleScore], fixed: bool = False) -> list[Observation]:
    """Return (media group, value) of each question; the rotations of a question are one, right only if all are."""
    units: dict[tuple[str, bool], Observation] = {}
    for line in lines:
        value = (line.fixed if fixed else line.value) or 0.0
        unit = (line.id, False) if line.unit is None else (line.unit, True)
        units[unit] = (line.group, min(value, units[unit][1]) if unit in units else value)
    return list(units.values())


def _score(task: Task, sample: Sample, response: Response, scored: bool) -> SampleScore:
    verdict = Score(0.0, None)
    outcome, reason = response.outcome, response.reason
    if not outcome.failed:
        verdict = task.score(sample, response.response) if scored else Score(0.0, response.response.strip() or None)
        if verdict.answer is None and outcome is Outcome.OK:
            outcome, reason = Outcome.UNPARSED, "no answer could be parsed"
    fixed = verdict.value if verdict.fixed is None else verdict.fixed
    if not (0 <= verdict.value <= 1 and 0 <= fixed <= 1):
        raise UsageError(f"task {task.name}: sample {sample.id!r}: its scorer gave {verdict.value}, not within 0 and 1")
    return SampleScore(
        id=sample.id,
        value=verdict.value if scored else None,
        answer=verdict.answer,
        outcome=outcome,
        reason=reason,
        group=sample.group,
        unit=task.unit(sample) if task.unit else None,
        fixed=fixed if scored else None,
        subset=sample.subset,
        disagrees=fixed != verdict.value if scored and task.defects else None,
    )


def _mean(pairs: Sequence[Observation]) -> float:
    return fmean(value for _, value in pairs)


def _interval(pairs: Sequence[Observation]) -> list[float] | None:
    if len({cluster for cluster, _ in pairs}) < 2:
        return None  # one cluster says nothing about the spread between clusters
    low, high = interval(cluster_bootstrap([pairs])[:, 0])
    return [PERCENT * low, PERCENT * high]


def _subsets(lines: Sequence[SampleScore]) -> dict[str, dict[str, float | int]]:
    parts: dict[str, list[SampleScore]] = {}
    for line in lines:
        if line.subset is not None:
            parts.setdefault(line.subset, []).append(line)
    return {name: {"score": PERCENT * _mean(observations(part)), "n": len(part)} for name, part in parts.items()}
