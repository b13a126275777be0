"""``status``: a run's progress, read from its folder while other processes work on it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from evalkit.records import Response
from evalkit.runs.heartbeat import FOLDER, PERIOD_S
from evalkit.runs.record import read_run
from evalkit.runs.store import read_predictions, read_shards

# A rank without heartbeat for this long has died or cannot reach the folder.
SILENT_S = 6 * PERIOD_S
STALLED_S = 300.0
SHOWN = 3


def run_status(run: Path) -> dict[str, Any]:
    """Return the state of a run folder as plain JSON content.

    Raises:
        UsageError: not a run folder.
    """
    record = read_run(run)
    launch = record.launches[-1] if record.launches else {"ranks": 0, "started": None}
    ranks = [_rank(content) for content in _heartbeats(run, launch)]
    totals: dict[str, int] = {}
    for content in ranks:
        totals |= content["totals"]
    tasks = [_task(run, name, totals.get(name)) for name in record.tasks]
    working = [rank for rank in ranks if rank["state"] in ("live", "stalled")]
    rate = sum(rank["rate"] for rank in working)
    left = sum(task["total"] - task["answered"] for task in tasks if task["total"] is not None)
    return {
        "run": str(run),
        "model": record.model.get("name"),
        "started": launch["started"],
        "expected_ranks": launch["ranks"],
        "finished": not record.launches or "seconds" in launch,
        "ranks": ranks,
        "tasks": tasks,
        "samples_per_s": round(rate, 3) if working else None,
        "seconds_left": round(left / rate, 1) if rate else None,
    }


def _heartbeats(run: Path, launch: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the last heartbeat of each rank of the last launch."""
    since = datetime.fromisoformat(launch["started"]).timestamp() if launch["started"] else 0.0
    for path in sorted((run / FOLDER).glob("rank*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["rank"] < launch["ranks"] and content["started"] >= since:
                yield content
        except (OSError, ValueError, KeyError, TypeError):  # not a heartbeat, or being replaced on a slow file system
            continue


def _rank(content: dict[str, Any]) -> dict[str, Any]:
    now = time.time()
    silent = now - content["updated"]
    last = content["last_answer"] or content["started"]
    state = content["state"]
    if state != "finished":
        state = "silent" if silent > SILENT_S else "stalled" if now - last > STALLED_S else "live"
        if content["host"] == socket.gethostname() and not _alive(content["pid"]):
            state = "dead"
    seconds = max(content["updated"] - content["started"], 1e-3)
    return {
        "rank": content["rank"],
        "state": state,
        "host": content["host"],
        "pid": content["pid"],
        "answered": content["answered"],
        "rate": round(content["answered"] / seconds, 3),
        "last_answer_s": round(now - last, 1),
        "group": content["group"],
        "totals": content["totals"],
    }


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only checks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _task(run: Path, name: str, total: int | None) -> dict[str, Any]:
    responses = list(_responses(run / name))
    failed = [response for response in responses if response.outcome.failed]
    return {
        "task": name,
        "answered": len(responses) - len(failed),
        "total": total,
        "failed": dict(Counter(response.outcome.value for response in failed)),
        "reasons": [f"{response.id}: {response.reason}" for response in failed[:SHOWN]],
    }


def _responses(folder: Path) -> list[Response]:
    if (folder / "shards").is_dir():
        return list(read_shards(folder / "shards").values())
    finished = folder / "predictions.jsonl"
    return list(read_predictions(finished).values()) if finished.is_file() else []


def status_lines(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield the state as lines of text."""
    yield f"{status['run']}: {status['model']}, {'finished' if status['finished'] else 'not finished'}"
    if status["started"]:
        yield f"last start {status['started']} with {status['expected_ranks']} rank(s)"
    width = max((len(task["task"]) for task in status["tasks"]), default=0)
    for task in status["tasks"]:
        total = task["total"]
        share = f" {100 * task['answered'] / total:5.1f} %" if total else ""
        failed = "".join(f"  {count} {kind}" for kind, count in task["failed"].items())
        yield f"  {task['task']:{width}}  {task['answered']:6} of {'?' if total is None else total}{share}{failed}"
        yield from (f"    failed {reason}" for reason in task["reasons"])
    for rank in status["ranks"]:
        at = f", at {' '.join(rank['group'])}" if rank["group"] else ""
        yield (
            f"rank {rank['rank']} {rank['state']} ({rank['host']}, process {rank['pid']}): {rank['answered']} answers, "
            f"{rank['rate']:.2f}/s, the last {rank['last_answer_s']:.0f} s ago{at}"
        )
    absent = status["expected_ranks"] - len(status["ranks"])
    if absent > 0 and not status["finished"]:
        yield f"{absent} rank(s) have not started answering"
    if status["seconds_left"] is not None and not status["finished"]:
        yield f"{status['samples_per_s']:.2f} samples/s; about {status['seconds_left']:.0f} s left"
