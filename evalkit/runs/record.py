"""``run.json`` as a record: model, settings, versions and launches of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.files import write_atomically

NAME = "run.json"


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """A run's ``run.json``.

    Attributes:
        model: name, kind, size, device and notes of the model.
        card: name or file of the card whose recipes apply.
        plugins: its plugin files.
        data_root: its data root.
        settings: what its answers depend on: ``model``, and by task ``tasks`` and ``media``.
        fingerprint: one hash of all settings.
        audit: by task, how many answers the reference engine changes.
        versions: of Python and packages.
        launches: command, start, ranks and hardware of each start; seconds and counts of those that ended.
    """

    model: dict[str, Any]
    card: str
    plugins: list[str]
    data_root: str
    settings: dict[str, Any]
    fingerprint: str = ""
    audit: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    launches: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tasks(self) -> dict[str, Any]:
        """Settings by task."""
        tasks: dict[str, Any] = self.settings["tasks"]
        return tasks

    def write(self, run: Path) -> None:
        """Write it into a run folder."""
        write_atomically(run / NAME, json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n")


def has_record(run: Path) -> bool:
    """Return whether a folder holds a ``run.json``."""
    return (run / NAME).exists()


def read_run(run: Path) -> RunRecord:
    """Return a run folder's record.

    Raises:
        UsageError: it is absent or damaged.
    """
    content = read_json(run / NAME)
    settings = content.get("settings") if isinstance(content, dict) else None
    if not isinstance(settings, Mapping) or not {"data_root", "card", "model", "plugins"} <= content.keys():
        raise UsageError(f"{run / NAME}: not written by evalkit run")
    if not all(isinstance(settings.get(part), dict) for part in ("model", "tasks")):
        raise UsageError(f"{run / NAME}: not written by evalkit run")
    known = {item.name for item in fields(RunRecord)}
    return RunRecord(**{name: value for name, value in content.items() if name in known})


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); is this a run folder?") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid JSON ({error})") from error
