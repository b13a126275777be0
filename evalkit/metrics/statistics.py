"""Uncertainty of scores: a seeded bootstrap that draws whole media groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
SEED = 20240704
_CHUNK = 4_000_000

Observation = tuple[str, float]


def cluster_bootstrap(
    tasks: Sequence[Sequence[Observation]], resamples: int = RESAMPLES, seed: int = SEED
) -> npt.NDArray[np.float64]:
    """Return resampled means, shape (resamples, tasks); the same on every run.

    Clusters are drawn with replacement; a cluster that several tasks share (RefCOCO and RefCOCO+ ask about the same
    images) is drawn for all of them together. Clusters with equal sums and counts are interchangeable, so the draw is
    one multinomial over the distinct ones: exact, and fast for 0/1 metrics.

    Args:
        tasks: for each task its (cluster, value) pairs.
        resamples: number of resamples.
        seed: of the generator.
    """
    place = {name: row for row, name in enumerate(dict.fromkeys(name for task in tasks for name, _ in task))}
    table = np.zeros((len(place), 2 * len(tasks)))
    for column, task in enumerate(tasks):
        rows = np.fromiter((place[name] for name, _ in task), dtype=np.int64, count=len(task))
        values = np.fromiter((value for _, value in task), dtype=np.float64, count=len(task))
        np.add.at(table[:, 2 * column], rows, values)
        np.add.at(table[:, 2 * column + 1], rows, 1.0)
    kinds, counts = np.unique(table, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // len(kinds))
    drawn = [
        generator.multinomial(len(place), counts / len(place), size=min(step, resamples - start)) @ kinds
        for start in range(0, resamples, step)
    ]
    totals = np.concatenate(drawn)
    with np.errstate(invalid="ignore"):
        return np.asarray(totals[:, 0::2] / totals[:, 1::2])


def interval(means: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % percentile interval of resampled statistics of shape (resamples,)."""
    low, high = np.nanpercentile(means, [2.5, 97.5])
    return float(low), float(high)
