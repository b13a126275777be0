"""Formula of a row's score from its tasks' scores: nested means with divisors and rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:  # cards are read by commands that compute nothing, and numpy takes time to import
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


def as_printed(value: Any, decimals: int) -> Any:
    """Round as printing does: the exact value of the float counts, so 46.45 (stored as 46.4500...03) gives 46.5."""
    import numpy as np

    if np.ndim(value):
        return np.array([round(one, decimals) for one in value.tolist()])
    return round(float(value), decimals)


def as_numpy(value: Any, decimals: int) -> Any:
    """Round as ``numpy.round`` and pandas do: scale, round half to even, scale back, so 46.45 gives 46.4."""
    import numpy as np

    return np.round(value, decimals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """The score of a task, or the mean of other formulas.

    Attributes:
        task: the task whose score it is; None for a mean.
        parts: the formulas that are averaged; empty for a task.
        divisor: what the score or mean is divided by (10 turns OCRBench's count of 1000 into percent).
        decimals: decimal places of the rounded quotient; None: not rounded.
        rounding: rounding function.
    """

    task: str | None = None
    parts: tuple[Formula, ...] = ()
    divisor: float = 1.0
    decimals: int | None = None
    rounding: Callable[[Any, int], Any] = as_printed

    @property
    def tasks(self) -> tuple[str, ...]:
        """The distinct tasks in the formula, in order of first use."""
        if self.task is not None:
            return (self.task,)
        return tuple(dict.fromkeys(task for part in self.parts for task in part.tasks))

    @property
    def is_plain_mean(self) -> bool:
        """Whether it is, but for rounding, one task or the mean of distinct tasks: exact tests are known for these."""
        parts = self.parts or (self,)
        undivided = all(part.divisor == 1 for part in (self, *parts))
        return undivided and all(part.task for part in parts) and len(self.tasks) == len(parts)

    @overload
    def value(self, scores: Mapping[str, float], rounded: bool = True) -> float: ...

    @overload
    def value(self, scores: Mapping[str, Array], rounded: bool = True) -> Array: ...

    def value(self, scores: Mapping[str, float] | Mapping[str, Array], rounded: bool = True) -> float | Array:
        """Return the row's score.

        Means are numpy's, whose summation order decides ties: otherwise about 1 in 140 averages of eight parts would
        round differently than the OpenCompass leaderboard's ``round(numpy.mean(parts), 1)``.

        Args:
            scores: score of each task on its own scale; floats, or arrays of equal shape (resamples,).
            rounded: False skips all rounding, for the spread of resampled scores.

        Raises:
            KeyError: a task has no score.
        """
        import numpy as np

        result: Any
        if self.task is not None:
            result = scores[self.task]
        else:
            result = np.mean(np.array([part.value(scores, rounded) for part in self.parts]), axis=0)
        if self.divisor != 1:
            result = result / self.divisor
        if rounded and self.decimals is not None:
            result = self.rounding(result, self.decimals)
        return result if np.ndim(result) else float(result)
