"""Recorded responses as a model: ``replay:FILE-or-RUN``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.models.base import LocalRank, MediaGroup, Model, NoOptions, Source
from evalkit.records import Outcome, Request, Response
from evalkit.runs.store import read_predictions


class ReplaySource(Source):
    """A predictions file (any task), or the predictions of a run folder.

    Args:
        name: a predictions JSONL, or a run folder.

    Raises:
        UsageError: neither exists.
    """

    recorded = True

    def __init__(self, name: str, options: NoOptions) -> None:
        self.path = Path(name)
        if not self.path.exists():
            raise UsageError(f"replay: {self.path} is neither a predictions file nor a run folder")
        self.files = sorted(self.path.glob("*/predictions.jsonl")) if self.path.is_dir() else [self.path]
        if not self.files:
            raise UsageError(f"replay: run folder {self.path} contains no <task>/predictions.jsonl")

    @cached_property
    def model(self) -> ReplayModel:
        """The recorded responses."""
        return ReplayModel(self.path, self.files)

    @cached_property
    def name(self) -> str | None:  # type: ignore[override]
        """The one model named in all lines of a judge record; None if there is none."""
        lines = [line for task in self.model.by_task.values() for line in task.values()]
        names = {name if isinstance(name := line.extra.get("model"), str) else None for line in lines}
        return names.pop() if len(names) == 1 else None

    def fingerprint(self) -> dict[str, Any]:
        """Return the hash of all recorded responses."""
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in self.files)).hexdigest()
        return {"responses_sha256": digest}

    def open(self, local: LocalRank) -> ReplayModel:
        """Return the recorded responses."""
        return self.model


class ReplayModel(Model):
    """Answers with recorded responses.

    Args:
        path: a predictions file or a run folder.
        files: its predictions files.
    """

    def __init__(self, path: Path, files: list[Path]) -> None:
        self.path = path
        self.by_task = {
            file.parent.name if path.is_dir() else "": read_predictions(file, foreign=not path.is_dir())
            for file in files
        }

    def describe(self) -> dict[str, Any]:
        """Return the origin of the responses."""
        return {"kind": "replay", "source": str(self.path)}

    def answer(self, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        """Yield the recorded responses; a sample without one is ``missing``."""
        for request in (request for group in groups for request in group.requests):
            recorded = self.by_task.get(request.task if self.path.is_dir() else "", {})
            absent = Response(request.id, "", Outcome.MISSING, reason="no recorded response")
            yield request, recorded.get(request.id, absent)


MODELS = {"replay": ReplaySource}
