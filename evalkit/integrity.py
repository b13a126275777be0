"""``data check``: sample counts against the official ones, absent and undecodable media, hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from evalkit.data.root import DataRoot, file_sha256
from evalkit.errors import EvalkitError, MediaError, UsageError
from evalkit.media.decoder import Decoders
from evalkit.media.rows import table_of
from evalkit.records import Media, View
from evalkit.scoring import check_labels
from evalkit.summary import of_official
from evalkit.task import Task


def check_tasks(tasks: Sequence[Task], root: DataRoot) -> list[dict[str, Any]]:
    """Return what is present and what is wrong for each task; decodes every image and video."""
    return [_check(task, root) for task in tasks]


def _check(task: Task, root: DataRoot) -> dict[str, Any]:
    files = task.files_in(root)
    missing = root.missing(files)
    row: dict[str, Any] = {
        "task": task.name,
        "expected_n": task.expected_n,
        "unverified_n": task.unverified_n,
        "n": 0,
        "missing_files": missing,
        "sha256": {path: file_sha256(root.resolve(path)) for path in files if path not in missing},
        "media": 0,
        "absent_media": [],
        "broken_media": {},
        "error": None,
        "notes": [],
        "get": task.get,
    }
    if task.usable_without(missing, root):
        try:
            samples = list(task.load(root))
            check_labels(task, samples)
            row["notes"] = list(task.check(samples, True)) if task.check else []
        except EvalkitError as error:
            row["error"] = str(error)
        else:
            row["n"] = len(samples)
            _check_media(row, {media for sample in samples for media in sample.media}, root)
    row["complete"] = bool(not missing and not row["error"] and not row["absent_media"] and not row["broken_media"])
    return row


def _check_media(row: dict[str, Any], media: set[Media], root: DataRoot) -> None:
    ordered = sorted(media, key=lambda item: (item.path, item.start or 0.0))
    row["media"] = len(ordered)
    with Decoders(root) as decoders, ThreadPoolExecutor(4) as pool:
        for item, reason in zip(ordered, pool.map(lambda item: _problem(item, root, decoders), ordered), strict=True):
            if reason == "absent":
                row["absent_media"].append(item.path)
            elif reason:
                row["broken_media"][item.path] = reason


def _problem(media: Media, root: DataRoot, decoders: Decoders) -> str | None:
    """Return what is wrong with a media file, or None."""
    try:
        path = root.resolve(table_of(media) if media.kind == "row" else media.path)
        if not path.exists():
            return "absent"
    except (UsageError, OSError) as error:
        return str(error)
    try:
        # Two frames decode both ends of a video's part; decoding all of it would take hours on MVBench.
        decoders.load(View(media, 28, 1, False, 0 if media.kind in ("image", "row") else 2, "segment_middle"))
    except MediaError as error:
        return error.reason
    return None


def _count(row: dict[str, Any]) -> str:
    unverified = ", a number that is not verified" if row["unverified_n"] else ""
    return of_official(row["n"], row["expected_n"]) + " samples" + unverified


def check_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the findings as lines of text, with how to get what is missing."""
    for row in rows:
        if row["complete"]:
            state = "complete" if row["n"] == row["expected_n"] else f"complete for the {row['n']} samples it lists"
            yield f"{row['task']}: {state} ({_count(row)}, {row['media']} media)"
            yield from (f"  {note}" for note in row["notes"])
            continue
        yield f"{row['task']}: incomplete ({_count(row)})"
        findings = {
            "missing file": row["missing_files"],
            "error": [row["error"]] if row["error"] else [],
            f"absent media ({len(row['absent_media'])} of {row['media']}), e.g.": row["absent_media"][:3],
            "broken": [f"{path}: {reason}" for path, reason in list(row["broken_media"].items())[:3]],
        }
        yield from (f"  {what}: {item}" for what, items in findings.items() for item in items)
        if row["get"]:
            yield f"  get: {row['get']}"
