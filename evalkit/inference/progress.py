"""Progress lines on a terminal, and a file per rank from which ``evalkit status`` sees how far a run is."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evalkit.inference.ranks import Ranks
from evalkit.records import Request, Response

# Hidden, so that no task's folder can have this name.
FOLDER = ".ranks"
PERIOD_S = 5.0
# Adding to the shared counters for every answer would make torchrun's store the bottleneck of many ranks.
SHARE_S = 0.5
TOTALS = ("samples", "tiles", "prompt_tokens", "output_tokens")


class Heartbeat:
    """Keeps a small file up to date, from a thread of its own, for as long as the process lives.

    Args:
        path: the file.
        content: what it says; read at every write, so its owner may change it.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self._path = path
        self._content = content
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="beacon", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write the last state."""
        self._stop.set()
        self._thread.join()
        self._write()

    def _beat(self) -> None:
        self._write()
        while not self._stop.wait(PERIOD_S):
            self._write()

    def _write(self) -> None:
        temporary = self._path.with_suffix(f".{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self._content | {"updated": time.time()}), encoding="utf-8")
            os.replace(temporary, self._path)
        except OSError:  # a full disk stops the answers, with its own words; not this note about them
            return


class _Line:
    """One progress line with rates of samples, tiles and tokens."""

    def __init__(self, label: str, total: int, hidden: bool, position: int) -> None:
        # disable=None: silent where stderr is no terminal.
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
        """Show totals so far."""
        seconds = max(time.monotonic() - self._started, 1e-3)
        rates = f"{counts['tiles'] / seconds:.1f} tiles/s, {counts['output_tokens'] / seconds:.1f} tokens/s"
        self._bar.set_postfix_str(rates, refresh=False)
        self._bar.update(counts["samples"] - self._samples)
        self._samples = counts["samples"]

    def close(self) -> None:
        """Leave the line as it is."""
        self._bar.close()


class Progress:
    """Counts this rank's answers; shows a line per task, or with several ranks one line of all on rank 0.

    Args:
        totals: samples of each task.
        open_samples: samples of each task that have no answer yet.
        ranks: the job's processes.
        out: the run folder.
    """

    def __init__(self, totals: Mapping[str, int], open_samples: Mapping[str, int], ranks: Ranks, out: Path) -> None:
        self._ranks = ranks
        self._open = dict(open_samples)
        self._lines: dict[str, _Line] = {}
        self._by_task: dict[str, Counter[str]] = {}
        self._own: Counter[str] = Counter()  # not shared yet
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
        self._beacon = Heartbeat(out / FOLDER / f"rank{ranks.rank}.json", self._state)

    def begin(self, group: Sequence[Request], tiles: int) -> None:
        """Note the media group that is worked on, and its tiles."""
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
        """Add this rank's counts to those of all, show these on rank 0 and return them."""
        self._shared = time.monotonic()
        counts = {name: self._ranks.count(name, self._own[name]) for name in TOTALS}
        self._own.clear()
        if self._ranks.world > 1:
            self._line(f"{self._ranks.world} ranks", sum(self._open.values())).show(counts)
        return counts

    def close(self) -> None:
        """Say that this rank has nothing left to do, and leave the lines as they are."""
        self._state |= {"state": "finished", "group": None}
        self._beacon.close()
        for line in self._lines.values():
            line.close()

    def _count(self, task: str, what: str, amount: int) -> None:
        self._by_task.setdefault(task, Counter())[what] += amount
        self._own[what] += amount

    def _line(self, label: str, total: int) -> _Line:
        if label not in self._lines:
            self._lines[label] = _Line(label, total, self._ranks.rank != 0, len(self._lines))
        return self._lines[label]
