"""One progress bar for all ranks, shown by rank 0 on a terminal, and the job's counts."""

from __future__ import annotations

import time
from collections import Counter

from tqdm import tqdm

from evalkit.records import Response
from evalkit.run.ranks import Ranks

# The other ranks learn of answers at this pace: a message for each would cost more than some answers.
SHARE_S = 0.5
TOTALS = ("samples", "prompt_tokens", "output_tokens")


class Progress:
    """Counts answers of all ranks, and shows them.

    Args:
        total: open samples of the job.
        ranks: the job's processes.
    """

    def __init__(self, total: int, ranks: Ranks) -> None:
        self._ranks = ranks
        # disable=None: silent where stderr is no terminal.
        hidden = None if ranks.rank == 0 else True
        self._bar = tqdm(total=total, unit="sample", disable=hidden, dynamic_ncols=True, smoothing=0.05)
        self._own: Counter[str] = Counter()
        self._shared = 0.0

    def add(self, response: Response) -> None:
        """Count one answer."""
        self._own["samples"] += 1
        self._own["prompt_tokens"] += response.prompt_tokens or 0
        self._own["output_tokens"] += response.output_tokens or 0
        if time.monotonic() - self._shared > SHARE_S:
            self.share()

    def share(self) -> dict[str, int]:
        """Add this rank's counts to those of all, show and return them."""
        self._shared = time.monotonic()
        counts = {name: self._ranks.count(name, self._own[name]) for name in TOTALS}
        self._own.clear()
        self._bar.update(counts["samples"] - self._bar.n)
        return counts

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
