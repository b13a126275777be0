"""Writes a run's scores, ``scores.jsonl`` and ``scores.json``, and the messages about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from evalkit.console import listed, say
from evalkit.errors import IncompleteError, UsageError
from evalkit.judging import Judged
from evalkit.records import Outcome, Response, Sample
from evalkit.runs.record import read_json
from evalkit.runs.store import write_json, write_scores
from evalkit.scoring import score_task
from evalkit.summary import TaskSummary, of_official, outcome_text, read_summaries
from evalkit.task import Task

SCORES = "scores.json"


class Answered(NamedTuple):
    """A task with its samples, the responses to them by id, and a judge's exchanges about these."""

    task: Task
    samples: list[Sample]
    responses: Mapping[str, Response]
    judged: Judged | None = None


def write_results(out: Path, answered: Sequence[Answered]) -> dict[str, TaskSummary]:
    """Score tasks and write scores.jsonl and scores.json; scores of other tasks in the folder stay.

    Returns:
        The summaries of these tasks.
    """
    stored = read_json(out / SCORES) if (out / SCORES).exists() else {}
    fresh = {}
    for item in answered:
        scores = score_task(item.task, item.samples, item.responses, item.judged)
        write_scores(out / item.task.name, scores.lines)
        # A server's score came from outside and cannot be recomputed.
        scores.summary.server_score = stored.get(item.task.name, {}).get("server_score")
        fresh[item.task.name] = scores.summary
    write_json(out / SCORES, stored | {name: summary.to_json() for name, summary in fresh.items()})
    return fresh


def judges_of(out: Path) -> dict[str, str | None]:
    """Return the judge that the last score of each task of a run rests on."""
    if not (out / SCORES).exists():
        return {}
    summaries = read_summaries(read_json(out / SCORES), str(out / SCORES))
    return {name: summary.judge["name"] for name, summary in summaries.items() if summary.judge}


def score_lines(scores: Mapping[str, TaskSummary]) -> str:
    """Return a line per task for people."""
    lines = []
    for name, summary in scores.items():
        digits = summary.decimals
        score = "no local labels" if summary.score is None else f"{summary.score:.{digits + 1}f}"
        ci = "" if summary.ci95 is None else "  95% [{0:.{2}f}, {1:.{2}f}]".format(*summary.ci95, digits)
        fixed = "" if summary.fixed_score is None else f"  fixed {summary.fixed_score:.{digits + 1}f}"
        more = "".join(f"  {one} {measured['score']:.{digits + 1}f}" for one, measured in summary.metrics.items())
        judge = summary.judge or {}
        judged = f"  judged by {judge['name']}" if judge.get("name") else "  no judge" if judge.get("asked") else ""
        whole = f"n {of_official(summary.n, summary.expected_n)}"
        lines.append(
            f"{name}: {summary.metric} {score}{ci}{fixed}{more}{judged}  {whole}  ({outcome_text(summary.outcomes)})\n"
        )
    return "".join(lines)


def record_server_scores(out: Path, given: Mapping[str, float]) -> None:
    """Record scores that a benchmark's server returned, marked as such.

    Raises:
        UsageError: a task that the run has not answered, or that is scored here.
    """
    scores = read_json(out / SCORES)
    for name, score in given.items():
        if name not in scores:
            raise UsageError(f"{out} has no task {name!r}; it has {', '.join(scores)}")
        if scores[name]["score"] is not None:
            raise UsageError(f"task {name!r} has local labels: its score is computed, not taken from a server")
        scores[name]["server_score"] = score
    write_json(out / SCORES, scores)


def report_gaps(
    scores: Mapping[str, TaskSummary], missing: Sequence[str], out: Path | None, before_judging: bool = False
) -> int:
    """Say what is incomplete.

    Args:
        scores: the summaries.
        missing: absent data files.
        out: the run folder, if there is one.
        before_judging: whether answers that no judge has seen yet are in order: a run is done before its judge begins.

    Returns:
        The exit code, 0 or 3.
    """
    unjudged = (summary.judge for summary in scores.values() if Outcome.UNJUDGED.value in summary.failed)
    if any(judge and judge["judged"] < judge["asked"] for judge in unjudged):
        say(f"answers are not judged yet: evalkit judge {out or 'RUN'} --judge MODEL")
    gaps = []
    for name, summary in scores.items():
        awaited = Outcome.UNJUDGED.value if before_judging and summary.judge and not summary.judge["name"] else None
        kinds = ", ".join(f"{n} {kind}" for kind, n in summary.failed.items() if kind != awaited)
        gaps += [f"{name}: {kinds}"] if kinds else []
    if gaps:
        where = f" (reasons in {out}/<task>/scores.jsonl)" if out else ""
        say(f"incomplete: samples without an answer score 0: {'; '.join(gaps)}{where}")
    if missing:
        say(f"incomplete: data files are missing: {listed(missing)}")
    return IncompleteError.exit_code if gaps or missing else 0
