"""Uncertainty of scores: a seeded bootstrap that draws whole media groups."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, comb, log2
from statistics import NormalDist

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


def drop_p_value(differences: Sequence[Observation], seed: int = SEED) -> float:
    """Return the one-sided p-value of a drop: how likely so large a one is if both runs are equally good.

    Cluster sign-flip test: if the runs are exchangeable, the summed difference of a media group is as likely positive
    as negative, so all signs are drawn anew. Valid for any metric, few flips and clustered questions alike; where no
    group changes by more than one right or wrong answer it is the exact McNemar test, and computed as that.

    Args:
        differences: (cluster, value of the run minus value of the base) per question.
        seed: of the generator.
    """
    sums: dict[str, float] = {}
    for cluster, value in differences:
        sums[cluster] = sums.get(cluster, 0.0) + value
    # Rounded: a sum of differences that cancel must not count as a tiny change.
    changed = np.array([value for total in sums.values() if (value := round(total, 9))])
    if not len(changed):
        return 1.0
    if (np.abs(changed) == 1).all():
        worse, flips = int((changed < 0).sum()), len(changed)
        return float(sum(comb(flips, count) for count in range(worse, flips + 1)) / 2**flips)
    sizes, counts = np.unique(np.abs(changed), return_counts=True)
    positive = np.random.default_rng(seed).binomial(counts, 0.5, size=(RESAMPLES, len(counts)))
    totals = (2 * positive - counts) @ sizes
    as_bad = int((totals <= changed.sum() + 1e-9).sum())
    return (1 + as_bad) / (1 + RESAMPLES)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values: testing several tasks keeps the chance of any false alarm at alpha."""
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        floor = max(floor, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = floor
    return adjusted


def detectable_drop(means: npt.NDArray[np.float64], alpha: float, n: int, power: float = 0.8) -> float:
    """Return the smallest drop that a one-sided test at alpha finds with this power.

    Where hardly an answer changed the resamples show no spread, and yet less than so many wrong answers, each on a
    media group of its own, would never be significant in a sign-flip test (2^-count <= alpha): the drop that these
    make is the least.

    Args:
        means: resampled mean differences, 0..1.
        alpha: level of the test.
        n: questions compared.
        power: chance to find it.
    """
    normal = NormalDist()
    spread = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)) * float(np.nanstd(means))
    return max(spread, min(1.0, ceil(-log2(alpha)) / n))
