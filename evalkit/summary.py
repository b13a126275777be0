"""A task's entry in ``scores.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from evalkit.errors import UsageError
from evalkit.records import Outcome


@dataclass(slots=True, kw_only=True)
class TaskSummary:
    """The scores of a task.

    Attributes:
        metric: name of the card's metric.
        maximum: its largest value.
        decimals: digits that it is printed with.
        plain_mean: whether it is the plain mean of the questions' values, which needs no plugin to recompute.
        unbounded: whether a sample's value may exceed 1.
        score: on the metric's scale; None if labels are hidden.
        n: samples.
        expected_n: official number of samples; None if it is not known.
        ci95: interval of the score.
        ci95_reason: why there is none.
        outcomes: samples by outcome.
        fixed_score: the score with the official scorer's defects fixed; None for a task without.
        subsets: score, ci95, n and maximum of each subset.
        metrics: score and ci95 of each further metric.
        judge: name, card's judge and counts of a judged task.
        server_score: what a benchmark's server returned.
        scorer_sha256: hash of the scorer's code.
    """

    metric: str
    maximum: float = 100.0
    decimals: int = 2
    plain_mean: bool = True
    unbounded: bool = False
    score: float | None = None
    n: int
    expected_n: int | None
    ci95: tuple[float, float] | None = None
    ci95_reason: str = ""
    outcomes: dict[Outcome, int]
    fixed_score: float | None = None
    subsets: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    judge: dict[str, Any] | None = None
    server_score: float | None = None
    scorer_sha256: str = ""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"strict": True, "extra": "ignore", "allow_inf_nan": False}

    def to_json(self) -> dict[str, Any]:
        """Return the entry; what does not apply to the task is left out."""
        content = asdict(self) | {"outcomes": {kind.value: count for kind, count in self.outcomes.items()}}
        optional = ("unbounded", "ci95_reason", "metrics", "judge", "server_score")
        absent = [name for name in optional if content[name] in (None, "", {}) or content[name] is False]
        return {name: value for name, value in content.items() if name not in absent}

    @property
    def failed(self) -> dict[str, int]:
        """Samples with nothing to score, by outcome."""
        return {kind.value: count for kind, count in self.outcomes.items() if kind.failed and count}

    def without_missing(self) -> TaskSummary:
        """Return it without its missing samples, which the user allowed."""
        return replace(self, outcomes={**self.outcomes, Outcome.MISSING: 0})


def of_official(n: int, expected_n: int | None, between: str = " of ") -> str:
    """Return a number of samples next to the official one, ``5 of 900``; ``?`` stands for an unknown number."""
    return f"{n}{between}{'?' if expected_n is None else expected_n}"


def outcome_text(outcomes: Mapping[Outcome, int]) -> str:
    """Return the samples by outcome in words, ``3 ok, 1 missing``."""
    return ", ".join(f"{count} {kind.value}" for kind, count in outcomes.items() if count)


def read_summaries(content: Any, where: str) -> dict[str, TaskSummary]:
    """Return the entries of a ``scores.json``.

    Args:
        content: the JSON document.
        where: the file, for messages.

    Raises:
        UsageError: it is not one that evalkit writes; names the key.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        summaries = TypeAdapter(dict[str, TaskSummary]).validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "it"
        raise UsageError(f"{where}: not written by evalkit ({key}: {first['msg']})") from error
    if any(summary.n < 0 for summary in summaries.values()):
        raise UsageError(f"{where}: not written by evalkit (a negative n)")
    return summaries
