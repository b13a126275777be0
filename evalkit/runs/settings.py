"""Which settings a run's answers depend on, and whether two runs agree on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from evalkit.data.root import DataRoot, file_sha256
from evalkit.errors import UsageError
from evalkit.selection import Job
from evalkit.task import Task

_MIB = 1 << 20
_EMPTY: tuple[object, ...] = (None, "", {}, [])


def data_files(task: Task, root: DataRoot) -> dict[str, str]:
    """Return the hash of each annotation file of a task that is present."""
    present = (path for path in task.files_in(root) if root.resolve(path).is_file())
    return {path: file_sha256(root.resolve(path)) for path in present}


def media_fingerprint(job: Job, root: DataRoot) -> dict[str, Any]:
    """Return the number of a task's media files, how many are absent, and one hash of those present.

    It covers each file's official path, size and content; for files above 2 MiB (videos) the first and last MiB. A
    table that embeds its images is one of the data files.
    """
    media = {view.media for request in job.requests for view in request.views if view.media.kind != "row"}
    paths = sorted({item.path for item in media})
    with ThreadPoolExecutor(8) as pool:
        hashes = list(pool.map(lambda path: _ends_sha256(root, path), paths))
    digest = hashlib.sha256("".join(f"{path} {item}\n" for path, item in zip(paths, hashes, strict=True)).encode())
    return {"files": len(paths), "absent": hashes.count(None), "sha256": digest.hexdigest()}


def _ends_sha256(root: DataRoot, path: str) -> str | None:
    """Return the hash of a media file (for a folder of frames: of file names and sizes); None if it is absent."""
    try:
        file = root.resolve(path)
        if file.is_dir():
            listing = sorted(f"{frame.name} {frame.stat().st_size}" for frame in file.iterdir())
            return hashlib.sha256("\n".join(listing).encode()).hexdigest()
        if not file.is_file():  # opening a pipe or a device may block forever
            return None
        size = file.stat().st_size
        with file.open("rb") as stream:
            content = stream.read(2 * _MIB if size <= 2 * _MIB else _MIB)
            if size > 2 * _MIB:
                stream.seek(size - _MIB)
                content += stream.read()
    except (OSError, ValueError, UsageError):
        return None
    return hashlib.sha256(f"{size} ".encode() + content).hexdigest()


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
    """Return one hash of all settings, independent of ranks, hardware and order."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def differences(old: Any, new: Any, wording: str = "{old} -> {new}", name: str = "") -> Iterator[str]:
    """Yield ``key: old value -> new value`` for each leaf in which two settings differ.

    An absent setting is equal to an empty one: older versions of evalkit did not record it.

    Args:
        old: settings.
        new: the other settings.
        wording: format of the two values.
        name: key of these settings.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differences(old.get(key), new.get(key), wording, f"{name}.{key}" if name else str(key))
    elif old != new and not (old in _EMPTY and new in _EMPTY):
        yield f"{name}: {wording.format(old=_short(old), new=_short(new))}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
