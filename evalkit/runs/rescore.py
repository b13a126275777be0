"""Scores recorded responses: a run's, or anyone's predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evalkit.card import Card
from evalkit.console import listed, say
from evalkit.data.root import DataRoot, file_sha256
from evalkit.errors import IncompleteError, UsageError
from evalkit.redact import redact
from evalkit.runs.folder import Answered, read_run, record_server_scores, report_gaps, write_results
from evalkit.runs.settings import data_files, fingerprint
from evalkit.runs.store import read_predictions, read_shards, write_json, write_predictions
from evalkit.scoring import score_task
from evalkit.selection import card_reference, select
from evalkit.task import Task


class Scored(NamedTuple):
    """What was scored.

    Attributes:
        scores: summaries by task.
        card: the card of the run.
        out: the run folder; None if nothing was written.
        exit_code: 0, or 3 if something is incomplete.
    """

    scores: dict[str, Any]
    card: Card
    out: Path | None
    exit_code: int


def score_run(out: Path, data_root: str | None, server_scores: Mapping[str, float]) -> Scored:
    """Score a run folder again from its stored responses.

    Args:
        out: the run folder, finished or not.
        data_root: where the data is now; None takes the run's.
        server_scores: scores of tasks with hidden labels that came back from a server.
    """
    record = read_run(out)
    if server_scores:
        record_server_scores(out, server_scores)
    root = DataRoot(data_root or record["data_root"])
    settings = record["settings"]["tasks"]
    selection = select(record["card"], list(settings), record["plugins"], root)
    answered = [recorded(out, task, root, settings[task.name]["limit"]) for task in selection.tasks]
    scores = write_results(out, answered)
    return Scored(scores, selection.card, out, report_gaps(scores, selection.missing, out))


def recorded(out: Path, task: Task, root: DataRoot, limit: int | None) -> Answered:
    """Return a task of a run folder with its samples (the first ``limit``) and the responses to them."""
    shards, finished = out / task.name / "shards", out / task.name / "predictions.jsonl"
    # The shards are the raw record; predictions.jsonl may be all that a user kept.
    responses = read_shards(shards) if shards.is_dir() else read_predictions(finished)
    return Answered(task, list(task.load(root))[:limit], responses)


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
    if name not in record["settings"]["tasks"]:
        raise UsageError(f"{out} has no task {name!r}; it has {', '.join(record['settings']['tasks'])}")
    root = DataRoot(data_root or record["data_root"])
    (task,) = select(record["card"], [name], record["plugins"], root).tasks
    if task.submit is None:
        raise UsageError(f"task {name!r} has no submission format: its labels are local, use evalkit score")
    _, samples, responses = recorded(out, task, root, None)
    absent = [item.id for item in samples if item.id not in responses or responses[item.id].outcome.failed]
    if absent:
        raise IncompleteError(
            f"{len(absent)} of {len(samples)} samples have no answer: {listed(absent)}; nothing written"
        )
    task.submit(root, {sample.id: responses[sample.id].response for sample in samples}, file)
    return len(samples)


def score_foreign(
    task: str,
    predictions: Path,
    data_root: str,
    card: str | None,
    plugins: Sequence[str],
    out: Path | None,
    allow_missing: bool,
) -> Scored:
    """Score anyone's predictions of one task.

    Args:
        task: task name.
        predictions: JSONL with ``id`` and ``response``.
        data_root: the data root.
        card: the card for card.md.
        plugins: further plugin files.
        out: where to write a run folder with the scores; None writes nothing.
        allow_missing: count samples without a prediction wrong instead of refusing.

    Raises:
        IncompleteError: samples without a prediction; names the first five.
    """
    root = DataRoot(data_root)
    selection = select(card, [task], plugins, root)
    (chosen,) = selection.tasks
    samples = list(chosen.load(root))
    responses = read_predictions(predictions, (sample.id for sample in samples), foreign=True)
    missing = [sample.id for sample in samples if sample.id not in responses]
    said = f"{len(missing)} of {len(samples)} samples have no prediction"
    if missing and not allow_missing:
        raise IncompleteError(f"{predictions}: {said}: {listed(missing)}; --allow-missing scores them 0")
    if missing:
        say(f"{said} and score 0: {listed(missing)}")
    if out is None:
        scores = {task: score_task(chosen, samples, responses).summary}
    else:
        _record(out, chosen, root, predictions, card, plugins)
        write_predictions(out / task, samples, responses)
        scores = write_results(out, [Answered(chosen, samples, responses)])
    code = 0 if allow_missing and not selection.missing else report_gaps(scores, selection.missing, out)
    return Scored(scores, selection.card, out, code)


def _record(out: Path, task: Task, root: DataRoot, predictions: Path, card: str | None, plugins: Sequence[str]) -> None:
    """Write run.json, so that tables and a later scoring find what they need."""
    record = read_run(out) if (out / "run.json").exists() else {}
    if record.get("launches"):
        raise UsageError(f"{out} holds a run of evalkit; score foreign predictions into a folder of their own")
    known = record.get("settings", {"model": {"responses_sha256": {}}, "tasks": {}})
    hashes = known["model"]["responses_sha256"] | {task.name: file_sha256(predictions)}
    own = {"limit": None, "data_files": data_files(task, root)}
    settings = {"model": {"responses_sha256": hashes}, "tasks": known["tasks"] | {task.name: own}}
    content = {
        "model": {"name": redact(str(predictions)), "kind": "recorded"},
        "card": card_reference(card),
        "plugins": [str(Path(plugin).resolve()) for plugin in plugins],
        "data_root": str(root.given.resolve()),
        "fingerprint": fingerprint(settings),
        "settings": settings,
        "launches": [],
    }
    write_json(out / "run.json", content)
