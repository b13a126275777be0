"""Metrics: functions of sums over media groups, so that one bootstrap and one exchange test serve them all.

A task names its metrics (``Task.metrics``, the card's first). Most need one line::

    metrics=(f1(), mean("accuracy"))
    metrics=(mean_of("avg", (mean("aAcc"), all_right("fAcc", "figure"), all_right("qAcc", "question"))),)
    metrics=(per("points", "task", sum_of("points", (mean("acc"), all_right("acc_plus", "image"))), maximum=2800),)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from evalkit.records import SampleScore

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Count = Callable[[Sequence[SampleScore]], Mapping[str, float]]
Included = Callable[[SampleScore], bool]

# Separates the name of a part from the names of its sums: a character that no key of a sample holds.
_PART = "\x1f"


class Sums(dict[str, Any]):
    """Sums by name: arrays of one shape, of resampled media groups or of all.

    Args:
        sums: the sums.
        whole: the same sums over all media groups, floats; they are the same in every resample.
    """

    def __init__(self, sums: Mapping[str, Any], whole: Mapping[str, float]) -> None:
        super().__init__(sums)
        self.whole = whole

    def part(self, name: str) -> Sums:
        """Return the sums of one part of a metric."""
        start = f"{name}{_PART}"
        inner = (
            {key[len(start) :]: value for key, value in one.items() if key.startswith(start)}
            for one in (self, self.whole)
        )
        return Sums(*inner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number of a task.

    Attributes:
        name: its standard name.
        counts: what the score lines of one media group add to the named sums. The lines have values (official ones, or
            fixed ones for the fixed score) and a ``group`` in common; lines that count together must be among them, see
            ``together``.
        value: the metric on the card's scale, from the sums; plain arithmetic, since the sums are numpy arrays. NaN
            (0/0) if undefined: intervals skip such a resample, and such a score is 0.
        maximum: its largest value, on the card's scale: 100 for percent, 1000 for OCRBench, 2800 for MME.
        decimals: decimal places to print.
        is_mean: whether ``counts`` gives ``sum`` and ``n`` alone and ``value`` is proportional to their ratio: exact
            intervals and tests are known for means.
        together: names of ``Sample.keys`` whose equal values count together (``all_right``). Samples with the same
            value must be in the same media group, or scoring fails: sums over groups cannot represent them.
        fixed: the metric of the fixed score, if it differs (the official one excludes answers from its mean).
    """

    name: str
    counts: Count
    value: Callable[[Sums], Any]
    maximum: float = 100.0
    decimals: int = 2
    is_mean: bool = False
    together: tuple[str, ...] = ()
    fixed: Metric | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is the mean over all questions: what ``mean`` returns unless lines are left out."""
        return self.is_mean and self.counts is by_question

    def of(self, sums: Sums) -> npt.NDArray[np.float64]:
        """Return the metric on the card's scale, in the shape of the sums."""
        import numpy as np

        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.value(sums), dtype=np.float64)


def in_range(value: float, unbounded: bool) -> bool:
    """Return whether a sample may have this value: 0..1, or any finite one of at least 0."""
    return isfinite(value) and value >= 0 and (unbounded or value <= 1)


def by_question(lines: Sequence[SampleScore]) -> Mapping[str, float]:
    """Return sum and number of the questions' values; the rotations of a question are one, right only if all are."""
    return _over_sets(((line.id,) if line.unit is None else line.unit, line) for line in lines)


def _over_sets(keyed: Iterable[tuple[object, SampleScore]]) -> Mapping[str, float]:
    """Return sum and number of the values of sets of lines, each set worth its worst line."""
    sets: dict[object, float] = {}
    for key, line in keyed:
        value = line.value or 0.0
        sets[key] = min(value, sets.get(key, value))
    total = 0.0
    for value in sets.values():  # sum() rounds differently from Python 3.12 on, and the draws would depend on that
        total += value
    return {"sum": total, "n": float(len(sets))}


def mean(
    name: str,
    *,
    maximum: float = 100.0,
    decimals: int = 2,
    included: Included | None = None,
    fixed: Metric | None = None,
) -> Metric:
    """Return the mean over questions; the rotations of a question (``Task.unit``) are one, right only if all are.

    Args:
        name: its standard name.
        maximum: the mean of right answers alone.
        decimals: decimal places to print.
        included: selects the lines in the mean, official and fixed; None takes all.
        fixed: the metric of the fixed score; None: the same.
    """

    def counts(lines: Sequence[SampleScore]) -> Mapping[str, float]:
        return by_question([line for line in lines if included is None or included(line)])

    return Metric(
        name=name, counts=by_question if included is None else counts, maximum=maximum, decimals=decimals,
        value=lambda sums: maximum * sums["sum"] / sums["n"], is_mean=True, fixed=fixed,
    )  # fmt: skip


def all_right(name: str, key: str, *, maximum: float = 100.0, decimals: int = 2) -> Metric:
    """Return the mean over sets of samples with the same key, each worth its worst sample.

    MME's acc_plus by image, HallusionBench's fAcc by figure and qAcc by question.

    Args:
        name: its standard name.
        key: name in ``Sample.keys``; the values are unique in the task ("OCR/1.jpg"), and each within one media group.
        maximum: the mean of right answers alone.
        decimals: decimal places to print.
    """
    return Metric(
        name=name, counts=lambda lines: _over_sets((line.keys[key], line) for line in lines), maximum=maximum,
        decimals=decimals, value=lambda sums: maximum * sums["sum"] / sums["n"], is_mean=True, together=(key,),
    )  # fmt: skip


def count(name: str, *, maximum: float) -> Metric:
    """Return the number of right answers (OCRBench); ``maximum`` is the whole split's.

    A resample may have more or fewer questions than the task: its mean is multiplied by the task's number. So it is no
    plain mean, whose value would follow from ``maximum`` also for part of the split.
    """

    def counts(lines: Sequence[SampleScore]) -> Mapping[str, float]:
        return by_question(lines)

    return Metric(
        name=name, counts=counts, maximum=maximum, decimals=0, is_mean=True,
        value=lambda sums: sums["sum"] / sums["n"] * sums.whole["n"],
    )  # fmt: skip


def confusion(label: str = "label", positive: str = "yes") -> Count:
    """Return the count of true and false positives and negatives of yes/no questions.

    A right answer to a positive question is a true positive, a wrong one a false negative; a wrong answer to a negative
    question is a false positive: also one that cannot be parsed or failed, since each sample counts.

    Args:
        label: name in ``Sample.keys`` of the gold label.
        positive: its value for positive questions.
    """

    def counts(lines: Sequence[SampleScore]) -> Mapping[str, float]:
        counted = {"tp": 0.0, "fn": 0.0, "tn": 0.0, "fp": 0.0}
        for line in lines:
            right, wrong = ("tp", "fn") if line.keys[label] == positive else ("tn", "fp")
            value = line.value or 0.0
            counted[right] += value
            counted[wrong] += 1 - value
        return counted

    return counts


def precision(label: str = "label", positive: str = "yes") -> Metric:
    """Return the share of right answers among the positive answers, percent (see ``confusion``)."""
    return _of_confusion("precision", label, positive, lambda sums: (sums["tp"], sums["tp"] + sums["fp"]))


def recall(label: str = "label", positive: str = "yes") -> Metric:
    """Return the share of right answers among the positive questions, percent (see ``confusion``)."""
    return _of_confusion("recall", label, positive, lambda sums: (sums["tp"], sums["tp"] + sums["fn"]))


def f1(label: str = "label", positive: str = "yes") -> Metric:
    """Return the harmonic mean of precision and recall, percent (see ``confusion``)."""
    return _of_confusion("f1", label, positive, lambda sums: (2 * sums["tp"], 2 * sums["tp"] + sums["fp"] + sums["fn"]))


def _of_confusion(name: str, label: str, positive: str, parts: Callable[[Sums], tuple[Any, Any]]) -> Metric:
    def value(sums: Sums) -> Any:
        import numpy as np

        hits, total = parts(sums)
        # 0/0 is 0, as in scikit-learn: the precision of a model that never says yes.
        return 100 * hits / np.where(total == 0, 1.0, total)

    return Metric(name=name, counts=confusion(label, positive), value=value)


def sum_of(name: str, parts: Sequence[Metric], *, decimals: int = 2) -> Metric:
    """Return the sum of metrics of the same samples."""
    return _combined(name, parts, 1, decimals)


def within(metric: Metric, included: Included, name: str = "") -> Metric:
    """Return a metric over part of the lines (MME's perception: ten of its tasks).

    Args:
        metric: the metric.
        included: selects the lines.
        name: its standard name; empty keeps the metric's.
    """

    def counts(lines: Sequence[SampleScore]) -> Mapping[str, float]:
        return metric.counts([line for line in lines if included(line)])

    fixed = within(metric.fixed, included, name) if metric.fixed else None
    return replace(metric, name=name or metric.name, counts=counts, fixed=fixed)


def mean_of(name: str, parts: Sequence[Metric], *, decimals: int = 2) -> Metric:
    """Return the plain mean of metrics of the same samples (HallusionBench)."""
    return _combined(name, parts, len(parts), decimals)


def _combined(name: str, parts: Sequence[Metric], divisor: int, decimals: int) -> Metric:
    def counts(lines: Sequence[SampleScore]) -> Mapping[str, float]:
        return {
            f"{index}{_PART}{key}": value
            for index, part in enumerate(parts)
            for key, value in part.counts(lines).items()
        }

    def value(sums: Sums) -> Any:
        return sum(part.value(sums.part(str(index))) for index, part in enumerate(parts)) / divisor

    fixed = [part.fixed or part for part in parts]
    return Metric(
        name=name, counts=counts, value=value, maximum=sum(part.maximum for part in parts) / divisor, decimals=decimals,
        together=tuple(dict.fromkeys(key for part in parts for key in part.together)),
        fixed=_combined(name, fixed, divisor, decimals) if fixed != list(parts) else None,
    )  # fmt: skip


def _of_part(part: Metric, sums: Sums) -> Any:
    """Return the metric of one part: 0 if it is undefined for all its lines (all answers of an MME task hold a tab).

    In a resample without lines of the part it is undefined, NaN, as any metric is.
    """
    import numpy as np

    of_all = part.of(Sums({key: np.float64(one) for key, one in sums.whole.items()}, sums.whole))
    value = part.value(sums)
    return np.nan_to_num(value, nan=0.0) if np.isnan(of_all) else value


def per(name: str, key: str, part: Metric, *, maximum: float, decimals: int = 2) -> Metric:
    """Return the sum of a metric over the parts of a benchmark (MME's 14 tasks).

    Args:
        name: its standard name.
        key: name in ``Sample.keys`` of the sample's part.
        part: the metric of each part.
        maximum: the sum over all parts of the whole benchmark.
        decimals: decimal places to print.
    """

    def counts(lines: Sequence[SampleScore]) -> Mapping[str, float]:
        by_part: dict[str, list[SampleScore]] = {}
        for line in lines:
            by_part.setdefault(line.keys[key], []).append(line)
        return {
            f"{value}{_PART}{inner}": number
            for value, some in by_part.items()
            for inner, number in part.counts(some).items()
        }

    def value(sums: Sums) -> Any:
        names = dict.fromkeys(column.split(_PART, 1)[0] for column in sums)
        return sum(_of_part(part, sums.part(one)) for one in names)

    return Metric(
        name=name, counts=counts, value=value, maximum=maximum, decimals=decimals, together=part.together,
        fixed=per(name, key, part.fixed, maximum=maximum, decimals=decimals) if part.fixed else None,
    )  # fmt: skip
