"""Two runs side by side: paired differences, flipped samples, settings that differ; and the gate built on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evalkit.errors import UsageError
from evalkit.metrics.statistics import cluster_bootstrap, detectable_drop, drop_p_value, holm, interval
from evalkit.records import SampleScore
from evalkit.runs.settings import differences
from evalkit.scoring import PERCENT, observations

# A difference in an earlier group moves scores more; a key that is in none comes last.
EFFECT = (
    "checkpoint", "responses_sha256", "limit", "data_files", "media", "prompt", "max_tiles", "thumbnail",
    "enlarge", "merge", "frames", "frame_rule", "keep_mode", "jpeg", "max_new_tokens", "min_new_tokens", "dtype",
    "attention", "engine", "requests_sha256",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TaskDifference:
    """One task of two runs, on the questions that both have.

    Attributes:
        task: task name.
        run: score of the run, percent.
        base: score of the base, percent.
        difference: run minus base, in points.
        ci95: its interval by paired cluster bootstrap; None with fewer than two media groups.
        p_drop: one-sided p-value of a drop (statistics.drop_p_value).
        p_adjusted: the same after Holm's correction over all tasks.
        detectable: smallest drop, in points, that this comparison finds with 80 % power in one task alone (at alpha
            over the number of tasks, as Holm's correction asks); None as for ci95.
        n: samples compared.
        only_run: ids the base lacks.
        only_base: ids the run lacks, or did not answer.
        better: ids whose value rose.
        worse: ids whose value fell.
        disagree: ids on which the run's official and mended values differ.
    """

    task: str
    run: float
    base: float
    difference: float
    ci95: tuple[float, float] | None
    p_drop: float
    p_adjusted: float
    detectable: float | None
    n: int
    only_run: tuple[str, ...]
    only_base: tuple[str, ...]
    better: tuple[str, ...]
    worse: tuple[str, ...]
    disagree: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All tasks that two runs share, and their settings that differ, likeliest effect first."""

    tasks: list[TaskDifference]
    settings: list[str]
    same_fingerprint: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON content."""
        return asdict(self)


def compare(
    run: Mapping[str, Sequence[SampleScore]],
    base: Mapping[str, Sequence[SampleScore]],
    settings: tuple[Mapping[str, Any], Mapping[str, Any]],
    alpha: float = 0.05,
) -> Comparison:
    """Compare two runs.

    Args:
        run: score lines of each task.
        base: those of the baseline.
        settings: settings of the run and of the base, as in run.json.
        alpha: level at which ``detectable`` is given.

    Raises:
        UsageError: they share no scored task.
    """
    shared = [name for name in run if name in base and scored(run[name]) and scored(base[name])]
    if not shared:
        raise UsageError("the two runs share no task with scores")
    found = [_task(name, run[name], base[name], alpha / len(shared)) for name in shared]
    adjusted = holm([item.p_drop for item in found])
    tasks = [_with_p(item, value) for item, value in zip(found, adjusted, strict=True)]
    old, new = (_shared_settings(one, shared) for one in reversed(settings))
    return Comparison(tasks, sorted(differences(old, new), key=_effect), old == new)


def scored(lines: Sequence[SampleScore]) -> bool:
    """Return whether a task's samples have values; hidden labels give none."""
    return bool(lines) and all(line.value is not None for line in lines)


def _with_p(item: TaskDifference, adjusted: float) -> TaskDifference:
    return TaskDifference(**asdict(item) | {"p_adjusted": adjusted})


def _shared_settings(settings: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
    kept = {part: {name: settings.get(part, {}).get(name) for name in tasks} for part in ("tasks", "media")}
    return {"model": settings.get("model", {}), **kept}


def _effect(line: str) -> int:
    key = line.split(":")[0]
    return next((place for place, name in enumerate(EFFECT) if name in key.split(".")), len(EFFECT))


def _task(name: str, run: Sequence[SampleScore], base: Sequence[SampleScore], alpha: float) -> TaskDifference:
    theirs = {line.id: line for line in base}
    ours = {line.id: line for line in run}
    both = [line for line in run if line.id in theirs]
    if not both:
        raise UsageError(f"task {name}: the two runs share no sample id")
    pairs = [observations(lines) for lines in (both, [theirs[line.id] for line in both])]
    paired = [(cluster, mine - other) for (cluster, mine), (_, other) in zip(*pairs, strict=True)]
    means = cluster_bootstrap([paired])[:, 0] if len({cluster for cluster, _ in paired}) > 1 else None
    change = {line.id: (line.value or 0.0) - (theirs[line.id].value or 0.0) for line in both}
    scores = [PERCENT * sum(value for _, value in side) / len(side) for side in pairs]
    low_high = None if means is None else tuple(PERCENT * edge for edge in interval(means))
    return TaskDifference(
        task=name,
        run=scores[0],
        base=scores[1],
        difference=scores[0] - scores[1],
        ci95=None if low_high is None else (low_high[0], low_high[1]),
        p_drop=drop_p_value(paired),
        p_adjusted=1.0,
        detectable=None if means is None else PERCENT * detectable_drop(means, alpha, len(paired)),
        n=len(both),
        only_run=tuple(line.id for line in run if line.id not in theirs),
        only_base=tuple(key for key in theirs if key not in ours or lost(ours[key], theirs[key])),
        better=tuple(key for key, value in change.items() if value > 0),
        worse=tuple(key for key, value in change.items() if value < 0),
        disagree=tuple(line.id for line in run if line.disagrees),
    )


def difference_p_value(run: Sequence[Sequence[SampleScore]], base: Sequence[Sequence[SampleScore]]) -> float | None:
    """Return the two-sided p-value of a difference between the mean scores of several tasks.

    Args:
        run: score lines of each task.
        base: those of the other run, in the same order of tasks.

    Returns:
        Twice the smaller one-sided sign-flip p-value (statistics.drop_p_value), media groups being flipped whole; None
        where the runs have other samples.
    """
    if [[line.id for line in lines] for lines in run] != [[line.id for line in lines] for lines in base]:
        return None
    largest = max(len(lines) for lines in run)
    paired = [
        # Each task counts the same; the factor 1 of a single task keeps the exact test of 0/1 metrics.
        (cluster, (mine - other) * largest / len(ours))
        for ours, theirs in zip(run, base, strict=True)
        for (cluster, mine), (_, other) in zip(observations(ours), observations(theirs), strict=True)
    ]
    rise = drop_p_value([(cluster, -value) for cluster, value in paired])
    return min(1.0, 2 * min(drop_p_value(paired), rise))


def lost(run: SampleScore, base: SampleScore) -> bool:
    """Return whether the run has no answer where the base has one."""
    return run.outcome.failed and not base.outcome.failed


def regressions(comparison: Comparison, alpha: float, max_drop: float) -> list[TaskDifference]:
    """Return the tasks whose drop is significant at alpha (Holm-corrected) and larger than ``max_drop`` points."""
    return [item for item in comparison.tasks if item.p_adjusted <= alpha and -item.difference > max_drop]


def comparison_rows(comparison: Comparison) -> list[list[str]]:
    """Return head and a row per task."""
    rows = [["task", "run", "base", "difference", "95%", "p of a drop", "Holm", "detectable drop", "n"]]
    for item in comparison.tasks:
        ci = "-" if item.ci95 is None else "[{:+.2f}, {:+.2f}]".format(*item.ci95)
        least = "-" if item.detectable is None else f"{item.detectable:.2f}"
        numbers = [f"{item.run:.2f}", f"{item.base:.2f}", f"{item.difference:+.2f}", ci]
        rows.append([item.task, *numbers, f"{item.p_drop:.4f}", f"{item.p_adjusted:.4f}", least, str(item.n)])
    return rows


def comparison_lines(comparison: Comparison, shown: int = 5) -> list[str]:
    """Return the comparison for reading, as Markdown."""
    head, *rows = comparison_rows(comparison)
    lines = [f"| {' | '.join(head)} |", "|---|---:|---:|---:|---|---:|---:|---:|---:|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines.append("")
    for item in comparison.tasks:
        for what, ids in (
            ("worse", item.worse),
            ("better", item.better),
            ("only in the run", item.only_run),
            ("only in the base, or not answered", item.only_base),
            ("official and fixed scorer disagree", item.disagree),
        ):
            if ids:
                more = f" and {len(ids) - shown} more" if len(ids) > shown else ""
                lines.append(f"- {item.task}, {what}: {len(ids)} ({', '.join(ids[:shown])}{more})")
    if comparison.same_fingerprint:
        lines.append("- settings: the same")
    lines += [f"- setting {line}" for line in comparison.settings]
    return lines
