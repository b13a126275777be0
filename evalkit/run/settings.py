"""Which settings a run's answers depend on, and whether two runs agree on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evalkit.data.root import DataRoot, file_sha256
from evalkit.run.plan import Job
from evalkit.task import Task


def checkpoint_sha256(folder: Path) -> dict[str, str]:
    """Return the hash of each file of a checkpoint that an answer depends on."""
    files = [*folder.glob("*.safetensors"), *(folder / name for name in ("config.json", "vocab.json", "merges.txt"))]
    files += [folder / "added_tokens.json"]
    return {path.name: file_sha256(path) for path in sorted(files) if path.is_file()}


def data_files(task: Task, root: DataRoot) -> dict[str, str]:
    """Return the hash of each annotation file of a task that is present."""
    present = (path for path in task.files if root.resolve(path).is_file())
    return {path: file_sha256(root.resolve(path)) for path in present}


def task_settings(job: Job, root: DataRoot, limit: int | None) -> dict[str, Any]:
    """Return what a task's answers depend on: recipe, data files and every request."""
    digest = hashlib.sha256()
    for request in job.requests:
        views = [asdict(view) for view in request.views]
        digest.update(json.dumps([request.id, request.prompt, views], ensure_ascii=False).encode() + b"\n")
    return {
        "recipe": asdict(job.recipe),
        "limit": limit,
        "data_files": data_files(job.task, root),
        "requests_sha256": digest.hexdigest(),
    }


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Return one hash of all settings; it does not depend on ranks, hardware or order."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """Yield ``key: old value, now new value`` for each leaf in which two settings differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differences(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
    elif old != new:
        yield f"{name}: {_short(old)}, now {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
