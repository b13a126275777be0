"""One progress bar for all ranks, shown by rank 0 on a terminal."""

from __future__ import annotations

from collections import Counter

from tqdm import tqdm

from evalkit.records import Response
from evalkit.run.ranks import Ranks


class Progress:
    """Counts answers of this rank and shows those of all.

    Args:
        total: open samples of the job.
        ranks: the job's processes.
    """

    def __init__(self, total: int, ranks: Ranks) -> None:
        self._ranks = ranks
        # disable=None: silent where stderr is no terminal.
        hidden = None if ranks.rank == 0 else True
        self._bar = tqdm(total=total, unit="sample", disable=hidden, dynamic_ncols=True, smoothing=0.05)
        self.counts: Counter[str] = Counter()

    def add(self, response: Response) -> None:
        """Count one answer."""
        self.counts["samples"] += 1
        self.counts["prompt_tokens"] += response.prompt_tokens or 0
        self.counts["output_tokens"] += response.output_tokens or 0
        self._show(self._ranks.count("answered"))

    def wait_for_others(self) -> None:
        """Follow the other ranks' answers until every rank has finished."""
        import time

        while self._ranks.count("finished", 0) < self._ranks.world:
            self._show(self._ranks.count("answered", 0))
            time.sleep(0.2)
        self._show(self._ranks.count("answered", 0))
        self._bar.close()

    def _show(self, answered: int) -> None:
        self._bar.update(answered - self._bar.n)
