"""Uncertainty of any metric: a seeded bootstrap over whole media groups, and an exchange test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import ceil, fsum, log2, prod
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evalkit.metrics.sums import Array, GroupSums

RESAMPLES = 10_000
SEED = 20240704
ALPHA = 0.05
# Up to this many outcomes of an exchange are enumerated, which is exact; beyond, they are drawn.
ENUMERATED = 65_536
_CHUNK = 4_000_000
# Sums and differences that differ only by rounding count as equal.
_DIGITS = 9
_TOLERANCE = 10.0**-_DIGITS

# The value of a row of a card from the values of its tasks, arrays of one shape.
Combine = Callable[[Mapping[str, Array]], Any]


def plain_mean(values: Mapping[str, Array]) -> Any:
    """Return the mean of the tasks' values: a card row's value by default."""
    return sum(values.values()) / len(values)


def _joined(parts: Iterable[GroupSums]) -> Array:
    """Return the tables of several tasks side by side; media groups that tasks share are one row."""
    listed = list(parts)
    rows = {name: row for row, name in enumerate(dict.fromkeys(name for part in listed for name in part.groups))}
    tables = []
    for part in listed:
        table = np.zeros((len(rows), len(part.columns)))
        table[[rows[name] for name in part.groups]] = part.table
        tables.append(table)
    return np.concatenate(tables, axis=1)


def _row(parts: Mapping[str, GroupSums], combine: Combine, sums: Array) -> Array:
    """Return a row's value from the joined sums of its tasks, shape (resamples,)."""
    edges = np.cumsum([len(part.columns) for part in parts.values()])[:-1]
    blocks = np.split(sums, edges, axis=1)
    return np.asarray(
        combine({name: part.value(block) for (name, part), block in zip(parts.items(), blocks, strict=True)})
    )


def resampled(
    parts: Mapping[str, GroupSums], combine: Combine = plain_mean, resamples: int = RESAMPLES, seed: int = SEED
) -> Array:
    """Return resampled values of a row of a card, shape (resamples,); the same on every run.

    Media groups are drawn with replacement; one that several tasks share (RefCOCO and RefCOCO+ ask about the same
    images) is drawn for all of them together.

    Args:
        parts: the row's tasks.
        combine: the row's value from those of its tasks.
        resamples: number of resamples.
        seed: seed of the random generator.
    """
    return _row(parts, combine, _draw(_joined(parts.values()), resamples, seed))


def _draw(table: Array, resamples: int = RESAMPLES, seed: int = SEED) -> Array:
    """Return sums over rows drawn with replacement, shape (resamples, columns).

    Equal rows are interchangeable, so the draw is one multinomial over the distinct ones: exact, and fast for 0/1
    metrics.
    """
    kinds, counts = np.unique(table, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // len(kinds))
    drawn = [
        generator.multinomial(len(table), counts / len(table), size=min(step, resamples - start)) @ kinds
        for start in range(0, resamples, step)
    ]
    return np.concatenate(drawn)


class Interval(NamedTuple):
    """A 95 % interval, or why there is none."""

    ci95: tuple[float, float] | None
    reason: str = ""


def interval(
    parts: Mapping[str, GroupSums],
    combine: Combine = plain_mean,
    exact: bool = True,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the 95 % interval of a task's metric, or of a row of a card.

    Args:
        parts: the row's tasks; one for a task's metric.
        combine: the row's value from those of its tasks.
        exact: whether values are at most 1, so that a mean of equal ones has an exact interval.
        resamples: number of resamples.

    Returns:
        The percentile interval of resampled values; the Clopper-Pearson interval for a mean of values that are all 0
        or all 1, whose resamples are all equal.
    """
    if len({group for part in parts.values() for group in part.groups}) < 2:
        return Interval(None, "one media group")  # no information about the spread between groups
    if exact and len(parts) == 1 and combine is plain_mean:
        (part,) = parts.values()
        if (edges := _clopper_pearson(part)) is not None:
            return Interval(edges)
    values = resampled(parts, combine, resamples)
    values = values[np.isfinite(values)]
    if not len(values):
        return Interval(None, "no resample has a score")
    if np.ptp(values) <= _TOLERANCE:
        return Interval(None, "all resamples are equal")
    return Interval(percentiles(values))


def _clopper_pearson(part: GroupSums) -> tuple[float, float] | None:
    """Return the exact interval of a mean whose values are all 0 or all 1, n being the media groups; else None.

    Clopper and Pearson 1934: the bounds are quantiles of beta distributions; with no successes or only successes, they
    are (alpha/2)^(1/n) away from the opposite end.
    """
    if not part.metric.is_mean:
        return None
    right, n = (part.column(name)[part.column("n") > 0] for name in ("sum", "n"))
    if not len(n) or ((right != 0).any() and (right != n).any()):
        return None
    edge = (ALPHA / 2) ** (1 / len(n))
    return (0.0, part.full * (1 - edge)) if (right == 0).all() else (part.full * edge, part.full)


Pairs = Mapping[str, tuple[GroupSums, GroupSums]]


def _changes(run: GroupSums, base: GroupSums) -> Array | None:
    """Return the change of each group's sum, shape (groups,), if the metric is a mean of the same questions."""
    if not (run.metric.is_mean and np.array_equal(run.column("n"), base.column("n"))):
        return None
    return np.asarray((run.column("sum") - base.column("sum")).round(_DIGITS + 3))


def resampled_difference(run: GroupSums, base: GroupSums) -> Array:
    """Return resampled values of the run's metric minus the base's, shape (resamples,).

    Args:
        run: sums of the run.
        base: sums of the other run, of the same samples: groups in the same order.
    """
    changes = _changes(run, base)
    if changes is not None:
        drawn = _draw(np.column_stack([changes, run.column("n")]))
        with np.errstate(invalid="ignore"):
            return np.asarray(run.full * drawn[:, 0] / drawn[:, 1])
    drawn = _draw(np.concatenate([run.table, base.table], axis=1))
    ours, theirs = np.split(drawn, [len(run.columns)], axis=1)
    return run.value(ours) - base.value(theirs)


def percentiles(values: Array) -> tuple[float, float]:
    """Return the 95 % percentile interval of resampled values, shape (resamples,)."""
    low, high = np.nanpercentile(values, [50 * ALPHA, 100 - 50 * ALPHA])
    return float(low), float(high)


class PValues(NamedTuple):
    """One-sided p-values: how likely a drop (or a rise) of this size is if both runs are equally good."""

    drop: float
    rise: float

    @property
    def two_sided(self) -> float:
        """Twice the smaller one."""
        return min(1.0, 2 * min(self))


def exchange_test(pairs: Pairs, combine: Combine = plain_mean, seed: int = SEED) -> PValues:
    """Test whether two runs differ in a task's metric, or in a row of a card.

    If both runs are equally good, it is chance which of them gave which answers about a media group: each group's
    answers are exchanged between the runs with probability 1/2, and the difference of the metrics is recomputed. Valid
    for any metric, with few changes and clustered questions too. All exchanges are enumerated if there are few distinct
    ones, which is the exact McNemar test if no group changes by more than one right or wrong answer; else 10,000 are
    drawn.

    Args:
        pairs: for each task of the row its sums of the run and of the base: of the same samples, groups in the same
            order and columns the same.
        combine: the row's value from those of its tasks.
        seed: seed of the random generator.
    """
    runs = {name: run for name, (run, _) in pairs.items()}
    bases = {name: base for name, (_, base) in pairs.items()}
    changes = [_changes(run, base) for run, base in pairs.values()]
    if combine is plain_mean and all(change is not None for change in changes):
        # The difference is a sum over groups. In units of the cheapest answer: 1 for a single task of 0/1 values.
        least = min(run.one_wrong for run in runs.values())
        scaled = [
            run._replace(columns=("sum",), table=np.asarray(change)[:, None] * (run.one_wrong / least))
            for run, change in zip(runs.values(), changes, strict=True)
        ]
        return sign_flip_test(_joined(scaled).sum(axis=1), seed)
    return exchange(_joined(runs.values()), _joined(bases.values()), lambda sums: _row(runs, combine, sums), seed)


def sign_flip_test(changes: Array, seed: int = SEED) -> PValues:
    """Test whether the sum of the clusters' changes, shape (clusters,), differs from 0: ``exchange`` of a sum."""
    gained, lost = np.maximum(changes, 0.0)[:, None], np.maximum(-changes, 0.0)[:, None]
    return exchange(gained, lost, lambda sums: sums[:, 0], seed)


def exchange(run: Array, base: Array, statistic: Callable[[Array], Array], seed: int = SEED) -> PValues:
    """Test whether a statistic of two runs differs, by exchanging clusters (see ``exchange_test``).

    Args:
        run: what each cluster adds to the run's sums, shape (clusters, columns).
        base: the same of the other run.
        statistic: of sums, from shape (resamples, columns) to (resamples,).
        seed: seed of the random generator.
    """
    run, base = run.round(_DIGITS), base.round(_DIGITS)  # a cluster whose changes cancel has not changed
    differs = (run != base).any(axis=1)
    if not differs.any():
        return PValues(1.0, 1.0)

    def gap(ours: Array, theirs: Array) -> Array:
        return statistic(same + ours) - statistic(same + theirs)

    same = run[~differs].sum(axis=0)
    run, base = run[differs], base[differs]
    (observed,) = gap(run.sum(axis=0, keepdims=True), base.sum(axis=0, keepdims=True))
    first = np.take_along_axis(run - base, (run != base).argmax(axis=1)[:, None], axis=1) > 0
    kinds, counts = np.unique(
        np.concatenate([np.where(first, run, base), np.where(first, base, run)], axis=1), axis=0, return_counts=True
    )  # swapping the answers of the two runs does not change the kind
    one, other = np.split(kinds, 2, axis=1)
    few = len(counts) == 1 or prod(int(count) + 1 for count in counts) <= ENUMERATED
    as_low, as_high = [], []
    for kept, weights in _all_exchanges(counts) if few else _drawn_exchanges(counts, seed):
        gaps = gap(kept @ one + (counts - kept) @ other, kept @ other + (counts - kept) @ one)
        # A NaN gap (undefined metric) counts on both sides.
        as_low.append(fsum(weights[~(gaps > observed + _TOLERANCE)]))
        as_high.append(fsum(weights[~(gaps > -observed + _TOLERANCE)]))  # exchanging all groups flips the sign
    drop, rise = (min(1.0, fsum(side)) if few else (1 + fsum(side)) / (1 + RESAMPLES) for side in (as_low, as_high))
    return PValues(drop, rise)


Exchanges = Iterator[tuple[npt.NDArray[np.int64], Array]]


def _all_exchanges(counts: npt.NDArray[np.int64]) -> Exchanges:
    """Yield how many clusters of each kind are not exchanged, shape (outcomes, kinds), with the probabilities."""
    states = np.indices(tuple(int(count) + 1 for count in counts)).reshape(len(counts), -1)
    yield states.T, np.asarray(prod(_halves(int(count))[row] for count, row in zip(counts, states, strict=True)))


def _drawn_exchanges(counts: npt.NDArray[np.int64], seed: int) -> Exchanges:
    """Yield the same for drawn outcomes, of weight 1."""
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // len(counts))
    for start in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - start)
        yield generator.binomial(counts, 0.5, size=(size, len(counts))), np.ones(size)


def _halves(n: int) -> Array:
    """Return the binomial distribution with probability 1/2, shape (n + 1,); exact up to the final rounding."""
    ways, all_ways, probabilities = 1, 2**n, []
    for k in range(n + 1):
        probabilities.append(ways / all_ways)
        ways = ways * (n - k) // (k + 1)
    return np.array(probabilities)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values: testing several tasks keeps the chance of any false alarm at alpha."""
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = floor
    return adjusted


def detectable_drop(differences: Array, alpha: float, one_wrong: float, maximum: float, power: float = 0.8) -> float:
    """Return the smallest drop that a one-sided test at alpha detects with this power.

    If almost no answer changed, the resamples show no spread. But an exchange test needs a minimum count of wrong
    answers, each in a media group of its own, to be significant (2^-count <= alpha): the drop that they cause is the
    lower bound.

    Args:
        differences: resampled differences of the metric, on its own scale.
        alpha: significance level of the test.
        one_wrong: what a wrong answer costs.
        maximum: of the metric.
        power: probability of detection.
    """
    normal = NormalDist()
    spread = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)) * float(np.nanstd(differences))
    return max(spread, min(maximum, ceil(-log2(alpha)) * one_wrong))
