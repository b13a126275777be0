"""Judges' exchanges in a run folder: ``RUN/<task>/judged/<judge>/``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.files import write_atomically
from evalkit.judging import NOT_NAMED, Exchange, Judge, Judged
from evalkit.records import Response
from evalkit.runs.store import read_predictions, shard_lines, write_json

RECORD = "replies.jsonl"
_UNSAFE = re.compile(r"[^\w.+-]+")


def prompt_sha256(system: str, prompt: str) -> str:
    """Return the hash by which a recorded exchange knows what the judge was asked."""
    return hashlib.sha256(json.dumps([system, prompt]).encode()).hexdigest()


def judge_folder(task: Path, name: str) -> Path:
    """Return the folder of a judge's exchanges about a task's answers."""
    safe = _UNSAFE.sub("_", name).lstrip(".")
    if safe != name:  # two names may become the same
        safe = f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return task / "judged" / safe


def exchange_of(response: Response) -> Exchange:
    """Return the exchange that a stored line records."""
    model = response.extra.get("model")
    judged = response.response if "replies" in response.extra else None
    replies = tuple(response.extra.get("replies", ()))
    prompt = response.extra.get("prompt_sha256")
    return Exchange(replies, model if isinstance(model, str) else None, judged, prompt)


def current_exchanges(folder: Path, answers: Mapping[str, str]) -> dict[str, Exchange]:
    """Return the exchanges about these answers; one about an earlier answer is ignored.

    Args:
        folder: a judge's folder; its shards are the raw record, ``replies.jsonl`` may be all that a user kept.
        answers: the answers by id.
    """
    lines = shard_lines(folder / "shards")
    if not (folder / "shards").is_dir() and (folder / RECORD).is_file():
        lines = iter(read_predictions(folder / RECORD, foreign=True).values())
    return {
        line.id: exchange_of(line)
        for line in lines
        if not line.outcome.failed and answers.get(line.id) == line.response and "replies" in line.extra
    }


def write_exchanges(folder: Path, judged: Judged) -> None:
    """Write a judge's ``replies.jsonl``, one line per judged sample, and its name if it is not written yet."""
    if not (folder / "judge.json").is_file():
        write_json(folder / "judge.json", {"name": judged.name, "settings": {}})
    lines = (
        {"id": key, "replies": list(item.replies), "model": judged.name, "response": item.response}
        for key, item in judged.exchanges.items()
    )
    write_atomically(folder / RECORD, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def read_judged(path: Path, ids: Iterable[str], answers: Mapping[str, str], name: str | None) -> Judged:
    """Return an external judge record.

    Args:
        path: JSONL with ``id`` and ``replies``; ``model`` and ``response`` are read if present.
        ids: the task's sample ids.
        answers: the answers that are scored, by id; judgements of others are not read.
        name: the judge's name; None takes the record's.

    Raises:
        UsageError: a line that is not such an object, a duplicate or unknown id, several judges, or a judged answer
            that is not the scored one.
    """
    lines = read_predictions(path, ids, foreign=True)
    exchanges = {}
    for number, (key, line) in enumerate(lines.items(), start=1):
        if "replies" not in line.extra:
            raise UsageError(f"{path}:{number}: no key 'replies': not a judge's record")
        if key not in answers:
            continue
        if line.response and line.response != answers[key]:
            raise UsageError(f"{path}: id {key!r}: the judged 'response' is not the answer that is scored")
        model = line.extra.get("model")
        exchanges[key] = Exchange(tuple(line.extra["replies"]), model if isinstance(model, str) else None, answers[key])
    names = {item.model for item in exchanges.values() if item.model}
    if name is None and len(names) > 1:
        raise UsageError(f"{path}: several judges ({', '.join(sorted(names))}); give one name with --judge-name")
    return Judged(name or next(iter(names), NOT_NAMED), exchanges)


def judged_of(
    task: Path, judge: Judge, answers: Mapping[str, str], wanted: str | None = None, previous: str | None = None
) -> Judged | None:
    """Return the judgements that a task's score rests on.

    They are those of the wanted judge if it judged the task, else of the card's, else of the only one, else of the
    previous one.

    Args:
        task: the task's folder in a run.
        judge: how the task is judged.
        answers: the answers by id.
        wanted: a judge's name; None if the user gave no name.
        previous: the judge that the last score rests on.

    Returns:
        None without judgements.

    Raises:
        UsageError: several judges judged the task, and nothing says which one counts.
    """
    folders = {_name(folder): folder for folder in sorted((task / "judged").glob("*/"))}
    only = next(iter(folders)) if len(folders) == 1 else None
    chosen = next((name for name in (wanted, judge.name, only, previous) if name in folders), None)
    if chosen is None and folders:
        raise UsageError(f"{task}: judged by {', '.join(folders)}; choose one with --judge-name")
    return Judged(chosen, current_exchanges(folders[chosen], answers)) if chosen else None


def _name(folder: Path) -> str:
    try:
        return str(json.loads((folder / "judge.json").read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.name
