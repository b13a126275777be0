"""How evenly ranks finish: the shared queue against contiguous shards, simulated for many ranks.

    python scripts/simulate_queue.py

Group sizes are those of the benchmarks: RefCOCO's 57,457 expressions on about 8,000 images, DocVQA's 10,537 questions
on 2,573 pages of 13 and more tiles, and 3,641 videos whose decoding has a heavy tail. Costs are those of
``evalkit.models.base``; the real time of a group is its cost times noise, so the queue's order is only about right.
Ranks hold several groups at a time, as the engine does, by the queue's own rule. Prints the ideal time (no idle
ranks, or the longest group) as a percentage of the time at which the last rank ends.
"""

from __future__ import annotations

import argparse
import heapq
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from evalkit.inference.queue import may_hold
from evalkit.models.base import QUESTION_COST, TILE_COST, TOKEN_COST

RANKS = (8, 64, 256, 1024)
NOISE = 0.15  # deviation of the logarithm of a group's time from its cost's
AHEAD = 12  # most groups that a rank holds in addition to the one it works on: in the same batch, or decoded ahead

Array = npt.NDArray[np.float64]


def loads(rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """Yield each benchmark's group costs, in the order of its file."""
    images = 1 + rng.poisson(6.2, 7980)
    tiles = rng.choice([5, 7], len(images), p=[0.1, 0.9])
    yield "RefCOCO, 8 splits", TILE_COST * tiles + (QUESTION_COST + 24 * TOKEN_COST) * images
    pages = 1 + rng.poisson(3.1, 2573)
    tiles = rng.choice([13, 15, 17, 19], len(pages), p=[0.6, 0.2, 0.15, 0.05])
    yield "DocVQA, val and test", TILE_COST * tiles + (QUESTION_COST + 12 * TOKEN_COST) * pages
    yield "videos, heavy tail", TILE_COST * 16 * (1 + rng.pareto(1.8, 3641))


def contiguous(times: Array, ranks: int) -> float:
    """Return when the last rank ends, if each has a contiguous shard."""
    return max(float(part.sum()) for part in np.array_split(times, ranks))


def queued(costs: Array, times: Array, ranks: int) -> float:
    """Return when the last rank ends, if ranks take groups from one queue, the costliest first.

    A rank takes groups one after another as long as it may hold more (``evalkit.inference.queue.may_hold``), at most
    ``AHEAD`` in addition to the one that it works on, and works on them in turn.
    """
    order = np.argsort(-costs, kind="stable")
    left = np.cumsum(costs[order][::-1])[::-1]
    held: list[deque[int]] = [deque() for _ in range(ranks)]
    taken, end = 0, 0.0
    events = [(0.0, rank) for rank in range(ranks)]  # when a rank finishes a group and takes more
    while events:
        now, rank = heapq.heappop(events)
        end = max(end, now)
        mine = held[rank]
        if mine:
            mine.popleft()
        while taken < len(order) and len(mine) <= AHEAD:
            if mine and not may_hold(sum(costs[group] for group in mine), costs[order[taken]], left[taken], ranks):
                break
            mine.append(int(order[taken]))
            taken += 1
        if mine:
            heapq.heappush(events, (now + float(times[mine[0]]), rank))
    return end


def share(costs: Array, rng: np.random.Generator, ranks: int) -> tuple[float, float]:
    """Return the ideal time as a share of that of contiguous shards and of the queue."""
    times = costs * np.exp(NOISE * rng.standard_normal(len(costs)))
    ideal = max(float(times.sum()) / ranks, float(times.max()))
    return ideal / contiguous(times, ranks), ideal / queued(costs, times, ranks)


def table(runs: int, ranks: Sequence[int] = RANKS) -> Iterator[str]:
    """Yield a Markdown table, means over runs."""
    yield "| load | groups | ranks | contiguous shards | shared queue |"
    yield "|---|---:|---:|---:|---:|"
    rng = np.random.default_rng(0)
    for name, costs in loads(rng):
        for count in ranks:
            shares = np.mean([share(costs, rng, count) for _ in range(runs)], axis=0)
            yield f"| {name} | {len(costs)} | {count} | {shares[0]:.1%} | {shares[1]:.1%} |"


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    print("\n".join(table(args.runs)))


if __name__ == "__main__":
    main()
