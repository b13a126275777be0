"""Scores recorded responses: a run's, or external predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from evalkit.card import Card
from evalkit.console import listed, say
from evalkit.data.root import DataRoot, file_sha256
from evalkit.errors import IncompleteError, UsageError
from evalkit.judging import Judged
from evalkit.records import Response, Sample
from evalkit.redact import redact
from evalkit.runs.judged import judge_folder, judged_of, read_judged, write_exchanges
from evalkit.runs.record import RunRecord, has_record, read_run
from evalkit.runs.results import Answered, judges_of, record_server_scores, report_gaps, write_results
from evalkit.runs.settings import data_files, fingerprint
from evalkit.runs.store import read_predictions, read_shards, write_predictions
from evalkit.scoring import score_task
from evalkit.selection import card_reference, select
from evalkit.summary import TaskSummary
from evalkit.task import Task


class Scored(NamedTuple):
    """What was scored.

    Attributes:
        scores: summaries by task.
        card: the card of the run.
        out: the run folder; None if nothing was written.
        exit_code: 0, or 3 if something is incomplete.
    """

    scores: dict[str, TaskSummary]
    card: Card
    out: Path | None
    exit_code: int


def score_run(
    out: Path,
    data_root: str | None,
    server_scores: Mapping[str, float] | None = None,
    judge: str | None = None,
    keep: bool = False,
) -> Scored:
    """Rescore a run folder from its stored responses.

    Args:
        out: the run folder, finished or not.
        data_root: where the data is now; None takes the run's.
        server_scores: scores that a server returned for tasks with hidden labels.
        judge: the judge whose judgements count; None takes the card's, else the only one.
        keep: whether a task that several judged keeps the judge of its last score.
    """
    record = read_run(out)
    if server_scores:
        record_server_scores(out, server_scores)
    previous = judges_of(out) if keep else {}
    root = DataRoot(data_root or record.data_root)
    settings = record.tasks
    selection = select(record.card, list(settings), record.plugins, root)
    answered = [
        with_judgements(out, recorded(out, task, root, settings[task.name]["limit"]), judge, previous.get(task.name))
        for task in selection.tasks
    ]
    if judge is not None and all(item.judged is None or item.judged.name != judge for item in answered):
        raise UsageError(f"{out}: no task is judged by {judge!r}")
    scores = write_results(out, answered)
    return Scored(scores, selection.card, out, report_gaps(scores, selection.missing, out))


def recorded(out: Path, task: Task, root: DataRoot, limit: int | None) -> Answered:
    """Return a task of a run folder with its samples (the first ``limit``) and the responses to them."""
    shards, finished = out / task.name / "shards", out / task.name / "predictions.jsonl"
    # The shards are the raw record; predictions.jsonl may be all that a user kept.
    responses = read_shards(shards) if shards.is_dir() else read_predictions(finished)
    return Answered(task, list(task.load(root))[:limit], responses)


def with_judgements(out: Path, answered: Answered, judge: str | None = None, previous: str | None = None) -> Answered:
    """Return a task with the judgements of its answers.

    Raises:
        UsageError: as ``judged_of``.
    """
    task = answered.task
    if task.judge is None:
        return answered
    answers = {key: response.response for key, response in answered.responses.items()}
    return answered._replace(judged=judged_of(out / task.name, task.judge, answers, judge, previous))


def submit(out: Path, name: str, file: Path, data_root: str | None) -> int:
    """Write the submission file of one task of a run.

    Args:
        out: the run folder.
        name: the task.
        file: what to write.
        data_root: where the data is now; None takes the run's.

    Returns:
        Number of answers.

    Raises:
        UsageError: the run has no such task, or the task has no submission format.
        IncompleteError: samples without an answer; nothing is written.
    """
    record = read_run(out)
    if name not in record.tasks:
        raise UsageError(f"{out} has no task {name!r}; it has {', '.join(record.tasks)}")
    root = DataRoot(data_root or record.data_root)
    (task,) = select(record.card, [name], record.plugins, root).tasks
    if task.submit is None:
        raise UsageError(f"task {name!r} has no submission format: its labels are local, use evalkit score")
    answered = recorded(out, task, root, None)
    samples, responses = answered.samples, answered.responses
    absent = [item.id for item in samples if item.id not in responses or responses[item.id].outcome.failed]
    if absent:
        raise IncompleteError(
            f"{len(absent)} of {len(samples)} samples have no answer: {listed(absent)}; nothing written"
        )
    task.submit(root, {sample.id: responses[sample.id].response for sample in samples}, file)
    return len(samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """External predictions for one task.

    Attributes:
        task: task name.
        predictions: JSONL with ``id`` and ``response``.
        data_root: the data root.
        card: the card for card.md.
        plugins: further plugin files.
        out: where to write a run folder with the scores; None writes nothing.
        allow_missing: score samples without a prediction as 0 instead of refusing.
        judged: a judge's record, JSONL with ``id`` and ``replies``.
        judge: the judge's name; None takes the record's.
    """

    task: str
    predictions: Path
    data_root: str
    card: str | None = None
    plugins: Sequence[str] = ()
    out: Path | None = None
    allow_missing: bool = False
    judged: Path | None = None
    judge: str | None = None


def score_foreign(given: Foreign) -> Scored:
    """Score external predictions for one task.

    Raises:
        IncompleteError: samples without a prediction; names the first five.
    """
    root, out = DataRoot(given.data_root), given.out
    selection = select(given.card, [given.task], given.plugins, root)
    (task,) = selection.tasks
    samples = list(task.load(root))
    responses = read_predictions(given.predictions, (sample.id for sample in samples), foreign=True)
    missing = [sample.id for sample in samples if sample.id not in responses]
    gap = f"{len(missing)} of {len(samples)} samples have no prediction"
    if missing and not given.allow_missing:
        raise IncompleteError(f"{given.predictions}: {gap}: {listed(missing)}; --allow-missing scores them 0")
    if missing:
        say(f"{gap} and score 0: {listed(missing)}")
    answered = Answered(task, samples, responses, _judged(given, task, samples, responses))
    if out is None:
        scores = {task.name: score_task(task, samples, responses, answered.judged).summary}
    else:
        _record(given, out, task, root)
        write_predictions(out / task.name, samples, responses)
        if answered.judged:
            write_exchanges(judge_folder(out / task.name, answered.judged.name), answered.judged)
        scores = write_results(out, [answered])
    gaps = {name: summary.without_missing() for name, summary in scores.items()} if given.allow_missing else scores
    code = report_gaps(gaps, selection.missing, out)
    return Scored(scores, selection.card, out, code)


def _judged(given: Foreign, task: Task, samples: Sequence[Sample], responses: Mapping[str, Response]) -> Judged | None:
    if given.judged is None:
        return None
    if task.judge is None:
        raise UsageError(f"task {task.name!r} is not judged: --judged does not apply")
    answers = {key: response.response for key, response in responses.items()}
    return read_judged(given.judged, (sample.id for sample in samples), answers, given.judge)


def _record(given: Foreign, out: Path, task: Task, root: DataRoot) -> None:
    """Write run.json, so that tables and later rescoring have what they need."""
    record = read_run(out) if has_record(out) else None
    if record and record.launches:
        raise UsageError(f"{out} holds a run of evalkit; score foreign predictions into a folder of their own")
    known = record.settings if record else {"model": {"responses_sha256": {}}, "tasks": {}}
    hashes = known["model"]["responses_sha256"] | {task.name: file_sha256(given.predictions)}
    own = {"limit": None, "data_files": data_files(task, root)}
    settings = {"model": {"responses_sha256": hashes}, "tasks": known["tasks"] | {task.name: own}}
    RunRecord(
        model={"name": redact(str(given.predictions)), "kind": "recorded"},
        card=card_reference(given.card),
        plugins=[str(Path(plugin).resolve()) for plugin in given.plugins],
        data_root=str(root.given.resolve()),
        fingerprint=fingerprint(settings),
        settings=settings,
    ).write(out)
