"""Progress lines on a terminal, and the state that each rank publishes for ``evalkit status``."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evalkit.inference.ranks import Ranks
from evalkit.records import Request, Response
from evalkit.runs.heartbeat import FOLDER, Heartbeat

# Updating the shared counters for every answer would make torchrun's store the bottleneck of many ranks.
SHARE_S = 0.5
TOTALS = ("samples", "tiles", "prompt_tokens", "output_tokens")


class _Line:
    """One progress line with rates of samples, tiles and tokens."""

    def __init__(self, label: str, total: int, hidden: bool, position: int) -> None:
        # disable=None: silent if stderr is not a terminal.
        self._bar = tqdm(
            total=total,
            desc=label,
            unit=" samples",
            position=position,
            disable=True if hidden else None,
            dynamic_ncols=True,
            smoothing=0.05,
        )
        self._started = time.monotonic()
        self._samples = 0

    def show(self, counts: Mapping[str, int]) -> None:
        """Show the totals so far."""
        seconds = max(time.monotonic() - self._started, 1e-3)
        rates = f"{counts['tiles'] / seconds:.1f} tiles/s, {counts['output_tokens'] / seconds:.1f} tokens/s"
        self._bar.set_postfix_str(rates, refresh=False)
        self._bar.update(counts["samples"] - self._samples)
        self._samples = counts["samples"]

    def close(self) -> None:
        """Leave the line as it is."""
        self._bar.close()


class Progress:
    """Counts this rank's answers; shows a line per task, or with several ranks a single line for all on rank 0.

    Args:
        totals: number of samples of each task.
        open_samples: number of samples of each task without an answer.
        ranks: the job's processes.
        out: the run folder.
    """

    def __init__(self, totals: Mapping[str, int], open_samples: Mapping[str, int], ranks: Ranks, out: Path) -> None:
        self._ranks = ranks
        self._open = dict(open_samples)
        self._lines: dict[str, _Line] = {}
        self._by_task: dict[str, Counter[str]] = {}
        self._unshared: Counter[str] = Counter()
        self._shared = time.monotonic()
        self._state: dict[str, Any] = {
            "rank": ranks.rank,
            "ranks": ranks.world,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.time(),
            "state": "answering",
            "totals": dict(totals),
            "answered": 0,
            "open": sum(open_samples.values()),
            "last_answer": None,
            "group": None,
        }
        self._heartbeat = Heartbeat(out / FOLDER / f"rank{ranks.rank}.json", self._state)

    def start_group(self, group: Sequence[Request], tiles: int) -> None:
        """Record the media group being answered, and count its tiles."""
        if group:
            self._state["group"] = [group[0].task, group[0].id]
            self._count(group[0].task, "tiles", tiles)

    def add(self, task: str, response: Response) -> None:
        """Count one answer."""
        self._count(task, "samples", 1)
        self._count(task, "prompt_tokens", response.prompt_tokens or 0)
        self._count(task, "output_tokens", response.output_tokens or 0)
        self._state |= {"answered": self._state["answered"] + 1, "last_answer": time.time()}
        if self._ranks.world == 1:
            self._line(task, self._open.get(task, 0)).show(self._by_task[task])
        elif time.monotonic() - self._shared > SHARE_S:
            self.share()

    def share(self) -> dict[str, int]:
        """Add this rank's counts to the shared totals, show those on rank 0 and return them."""
        self._shared = time.monotonic()
        counts = {name: self._ranks.count(name, self._unshared[name]) for name in TOTALS}
        self._unshared.clear()
        if self._ranks.world > 1:
            self._line(f"{self._ranks.world} ranks", sum(self._open.values())).show(counts)
        return counts

    def close(self) -> None:
        """Mark this rank as finished, and leave the lines as they are."""
        self._state |= {"state": "finished", "group": None}
        self._heartbeat.close()
        for line in self._lines.values():
            line.close()

    def _count(self, task: str, name: str, amount: int) -> None:
        self._by_task.setdefault(task, Counter())[name] += amount
        self._unshared[name] += amount

    def _line(self, label: str, total: int) -> _Line:
        if label not in self._lines:
            self._lines[label] = _Line(label, total, self._ranks.rank != 0, len(self._lines))
        return self._lines[label]
