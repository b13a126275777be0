"""From responses to scores: every sample stays in ``n``, every failure is counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import getsourcefile, unwrap
from pathlib import Path
from typing import Any, NamedTuple

from evalkit.errors import UsageError
from evalkit.judging import Judged, settle
from evalkit.metrics.metric import Metric, in_range
from evalkit.metrics.statistics import Combine, Interval, interval, plain_mean
from evalkit.metrics.sums import GroupSums, group_sums
from evalkit.records import Outcome, Response, Sample, SampleScore, Score
from evalkit.summary import TaskSummary
from evalkit.task import Task


class TaskScores(NamedTuple):
    """The summary of a task for scores.json, and its lines for scores.jsonl."""

    summary: TaskSummary
    lines: list[SampleScore]


def score_task(
    task: Task, samples: Sequence[Sample], responses: Mapping[str, Response], judged: Judged | None = None
) -> TaskScores:
    """Score one task.

    Args:
        task: the task.
        samples: all its samples, in order.
        responses: responses by id; a sample without one is ``missing``.
        judged: a judge's exchanges about the answers; None without a judge.

    Raises:
        UsageError: see ``check_labels`` and ``group_sums``; or a value that is not between 0 and 1.
    """
    scored = check_labels(task, samples)
    absent = Response("", "", Outcome.MISSING, reason="no response")
    lines = [_score(task, sample, responses.get(sample.id, absent), scored, judged) for sample in samples]
    counts = Counter(line.outcome for line in lines)
    metric, *others = task.metrics
    summary = TaskSummary(
        metric=metric.name,
        maximum=metric.maximum,
        decimals=metric.decimals,
        plain_mean=metric.is_plain,
        unbounded=task.unbounded,
        n=len(lines),
        expected_n=task.expected_n,
        outcomes={outcome: counts[outcome] for outcome in Outcome},
        scorer_sha256=scorer_sha256(task),
    )
    if task.judge:
        answers = {key: item.response for key, item in responses.items() if not item.outcome.failed}
        summary.judge = _judge_summary(task, samples, answers, judged)
    if scored:
        measured = _measured(task, metric, lines)
        summary.score, summary.ci95 = measured["score"], measured["ci95"]
        summary.ci95_reason = measured.get("ci95_reason", "")
        if task.defects:
            fixed = [replace(line, value=line.fixed) for line in lines]
            summary.fixed_score = _sums(task.name, metric.fixed or metric, fixed).score
        summary.subsets = _subsets(task, lines)
        summary.metrics = {one.name: _measured(task, one, lines) for one in others}
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


def row_interval(tasks: Mapping[str, tuple[Metric, Sequence[SampleScore]]], combine: Combine = plain_mean) -> Interval:
    """Return the interval of a row of a card from one joint draw of its tasks' media groups.

    Args:
        tasks: metric and score lines of each task.
        combine: the row's value from those of its tasks, arrays of one shape.
    """
    return interval({name: _sums(name, metric, lines) for name, (metric, lines) in tasks.items()}, combine)


def scorer_sha256(task: Task) -> str:
    """Return the hash of the code that scores an answer: the plugin's file, the metrics, a judge's retry rule."""
    plugin = getsourcefile(unwrap(getattr(task.score, "func", task.score)))
    files = [Path(plugin)] if plugin else []
    here = Path(__file__).parent
    files += [Path(__file__), here / "judging.py", *sorted((here / "metrics").glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _score(task: Task, sample: Sample, response: Response, scored: bool, judged: Judged | None) -> SampleScore:
    score, outcome, reason = Score(0.0, None), response.outcome, response.reason
    if not outcome.failed:
        plain = Score(0.0, response.response.strip() or None)
        score, unjudged = _read(task, sample, response.response, judged) if scored else (plain, "")
        if unjudged:
            outcome, reason = Outcome.UNJUDGED, unjudged
        elif score.answer is None and outcome is Outcome.OK:
            outcome, reason = Outcome.UNPARSED, "no answer could be parsed"
        reason = score.reason or reason
    fixed = score.value if score.fixed is None else score.fixed
    for value in (score.value, fixed):
        if not in_range(value, task.unbounded):
            allowed = "a finite value of at least 0" if task.unbounded else "0..1"
            raise UsageError(f"task {task.name}: sample {sample.id!r}: scorer returned {value}, expected {allowed}")
    return SampleScore(
        id=sample.id,
        value=score.value if scored else None,
        answer=score.answer,
        outcome=outcome,
        reason=reason,
        group=sample.group,
        unit=task.unit(sample) if task.unit else None,
        fixed=fixed if scored else None,
        subset=sample.subset,
        disagrees=fixed != score.value if scored and task.defects else None,
        keys=sample.keys,
        more_subsets=sample.more_subsets,
    )


def _read(task: Task, sample: Sample, answer: str, judged: Judged | None) -> tuple[Score, str]:
    """Return the score of an answer, and why it is unjudged: then a score of 0, which may have a fixed value."""
    judge = task.judge
    exchange = judged.exchanges.get(sample.id) if judged else None
    if judge is None or judge.ask(sample, answer) is None or (exchange is None and judge.fallback):
        return task.score(sample, answer), ""
    if exchange is None:
        return Score(0.0, None), "not judged"
    # A judge that says nothing usable does not change what the answer itself says.
    none = replace(task.score(sample, answer), value=0.0, answer=None, reason="")
    settled = settle(judge, sample, answer, exchange.replies)
    if settled.attempt is not None:
        return none, f"incomplete judge record: more replies must follow the {len(exchange.replies)} recorded"
    score = settled.score or none
    if judge.careful:
        readings = (judge.careful(reply) for reply in exchange.replies[: settled.used] if reply)
        score = replace(score, fixed=next((value for value in readings if value is not None), 0.0))
    return score, "no usable judge reply" if score.answer is None else ""


def _judge_summary(task: Task, samples: Sequence[Sample], answers: Mapping[str, str], judged: Judged | None) -> Any:
    """Return the judge, how many answers need and have a judgement, and replies that the retry rule never reaches."""
    judge = task.judge
    assert judge is not None
    asked = [item for item in samples if item.id in answers and judge.ask(item, answers[item.id]) is not None]
    exchanges = judged.exchanges if judged else {}
    unused = sum(
        len(exchanges[item.id].replies) - settle(judge, item, answers[item.id], exchanges[item.id].replies).used
        for item in asked
        if item.id in exchanges
    )
    known = {"name": judged.name if judged else None, "card": judge.name, "asked": len(asked)}
    return known | {"judged": sum(item.id in exchanges for item in asked), "unused_replies": unused}


def _sums(task: str, metric: Metric, lines: Sequence[SampleScore]) -> GroupSums:
    try:
        return group_sums(metric, lines)
    except UsageError as error:
        raise UsageError(f"task {task}: {error}") from error


def _measured(task: Task, metric: Metric, lines: Sequence[SampleScore]) -> dict[str, Any]:
    """Return a metric with its interval, or the reason for having none."""
    sums = _sums(task.name, metric, lines)
    ci95, reason = interval({task.name: sums}, exact=not task.unbounded)
    measured: dict[str, Any] = {"score": sums.score, "ci95": None if ci95 is None else list(ci95)}
    return measured | ({"ci95_reason": reason} if reason else {})


def subsets_of(line: SampleScore) -> list[str]:
    """Return the distinct subsets that a sample is part of."""
    own = [] if line.subset is None else [line.subset]
    return list(dict.fromkeys([*own, *line.more_subsets]))


def _subsets(task: Task, lines: Sequence[SampleScore]) -> dict[str, dict[str, Any]]:
    """Return the metrics of each subset, and the value of the first if all answers were right."""
    metric, *others = task.metrics
    parts: dict[str, list[SampleScore]] = {}
    for line in lines:
        for name in subsets_of(line):
            parts.setdefault(name, []).append(line)
    subsets: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        maximum = _sums(task.name, metric, [replace(line, value=1.0) for line in part]).score
        subsets[name] = {"n": len(part), "maximum": maximum} | _measured(task, metric, part)
        if others:
            counted = (one for one in others if _sums(task.name, one, part).columns)  # perception has no OCR questions
            subsets[name]["metrics"] = {one.name: _measured(task, one, part) for one in counted}
    return subsets
