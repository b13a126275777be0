"""The sums of a metric by media group: the table behind scores, intervals and tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import fsum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evalkit.errors import UsageError
from evalkit.metrics.metric import Metric, Sums, mean
from evalkit.records import SampleScore

Array = npt.NDArray[np.float64]


class GroupSums(NamedTuple):
    """What each media group adds to the sums of a metric.

    Attributes:
        metric: the metric.
        groups: the media groups.
        columns: names of the sums.
        table: shape (groups, columns).
        lines: samples behind it.
    """

    metric: Metric
    groups: list[str]
    columns: tuple[str, ...]
    table: Array
    lines: int

    @property
    def totals(self) -> dict[str, float]:
        """The sums over all groups."""
        return {name: fsum(self.table[:, index]) for index, name in enumerate(self.columns)}

    @property
    def score(self) -> float:
        """The metric on the card's scale; 0 if undefined.

        Raises:
            UsageError: it is infinite.
        """
        score = self._at(self.totals)
        if np.isinf(score):
            raise UsageError(f"metric {self.metric.name!r} gave {score} from {self.totals}")
        return 0.0 if np.isnan(score) else score

    @property
    def full(self) -> float:
        """A mean's value if all answers were right."""
        totals = self.totals
        return self._at(totals | {"sum": totals["n"]})

    @property
    def one_wrong(self) -> float:
        """What one wrong answer costs, on average over all samples."""
        n = self.totals["n"] if self.metric.is_mean else 0
        return self.full / n if n else self.metric.maximum / max(1, self.lines)

    def _at(self, totals: Mapping[str, float]) -> float:
        return float(self.metric.of(Sums({name: np.float64(value) for name, value in totals.items()}, totals)))

    def value(self, sums: Array) -> Array:
        """Return the metric of resampled sums of shape (resamples, columns)."""
        return self.metric.of(Sums({name: sums[:, index] for index, name in enumerate(self.columns)}, self.totals))

    def column(self, name: str) -> Array:
        """Return one of the sums, shape (groups,)."""
        return self.table[:, self.columns.index(name)]

    def over(self, columns: Sequence[str]) -> GroupSums:
        """Return the same sums with these columns; a missing one is 0."""
        known = {name: self.table[:, index] for index, name in enumerate(self.columns)}
        absent = np.zeros(len(self.groups))
        return self._replace(
            columns=tuple(columns), table=np.column_stack([known.get(name, absent) for name in columns])
        )


def group_sums(metric: Metric, lines: Sequence[SampleScore]) -> GroupSums:
    """Return what each media group adds to a metric's sums.

    Raises:
        UsageError: lines that count together are in different media groups, or a line lacks a key of the metric.
    """
    _refuse_split_sets(metric, lines)
    groups: dict[str, list[SampleScore]] = {}
    for line in lines:
        groups.setdefault(line.group, []).append(line)
    try:
        counted = [metric.counts(some) for some in groups.values()]
    except KeyError as error:
        raise UsageError(
            f"metric {metric.name!r}: a sample lacks the key {error}; set Sample.keys in the task's load"
        ) from error
    columns = tuple(dict.fromkeys(name for some in counted for name in some))
    table = np.array([[some.get(name, 0.0) for name in columns] for some in counted], dtype=np.float64)
    return GroupSums(metric, list(groups), columns, table.reshape(len(groups), len(columns)), len(lines))


def _refuse_split_sets(metric: Metric, lines: Sequence[SampleScore]) -> None:
    """Refuse samples that count together but not in one media group: sums over groups cannot represent their metric."""
    first: dict[tuple[str, str | None], SampleScore] = {}
    for line in lines:
        sets = [(key, line.keys.get(key)) for key in metric.together]
        for one in [*sets, ("unit", line.unit)]:
            other = first.setdefault(one, line)
            if one[1] is not None and other.group != line.group:
                why = f"{one[0]} {one[1]!r}"
                raise UsageError(
                    f"metric {metric.name!r}: samples {other.id!r} and {line.id!r} count together ({why}) "
                    f"but are in two media groups, {other.group!r} and {line.group!r}: give them one Sample.group"
                )


def question_sums(pairs: Iterable[tuple[str, float]]) -> GroupSums:
    """Return the sums of a mean in percent, of (media group, value) pairs."""
    sums: dict[str, tuple[float, float]] = {}
    for group, value in pairs:
        total, n = sums.get(group, (0.0, 0.0))
        sums[group] = total + value, n + 1
    table = np.array(list(sums.values()), dtype=np.float64).reshape(len(sums), 2)
    return GroupSums(mean("mean"), list(sums), ("sum", "n"), table, int(table[:, 1].sum()))
