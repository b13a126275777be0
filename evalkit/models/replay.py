"""Recorded responses as a model: ``replay:FILE-or-RUN``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.models.base import MediaGroup
from evalkit.records import Outcome, Request, Response
from evalkit.runs.store import read_predictions


class ReplayModel:
    """Answers from a predictions file (any task) or from the predictions of a run folder.

    Args:
        source: a predictions JSONL, or a run folder.

    Raises:
        UsageError: neither is there.
    """

    needs_media = False

    def __init__(self, source: Path) -> None:
        if not source.exists():
            raise UsageError(f"replay: {source} is neither a predictions file nor a run folder")
        self.source = source
        files = sorted(source.glob("*/predictions.jsonl")) if source.is_dir() else [source]
        if not files:
            raise UsageError(f"replay: run folder {source} holds no <task>/predictions.jsonl")
        self.by_task = {
            file.parent.name if source.is_dir() else "": read_predictions(file, foreign=not source.is_dir())
            for file in files
        }
        self.digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return the source and its hash for run.json."""
        return {"kind": "replay", "source": str(self.source), "settings": {"responses_sha256": self.digest}}

    def reference(self) -> None:
        """Return None: recorded responses are not computed."""

    def answer(self, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        """Yield the recorded responses; a sample without one is ``missing``."""
        for request in (request for group in groups for request in group.requests):
            recorded = self.by_task.get(request.task if self.source.is_dir() else "", {})
            absent = Response(request.id, "", Outcome.MISSING, reason="no recorded response")
            yield request, recorded.get(request.id, absent)
