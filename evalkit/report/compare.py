"""Two runs side by side: paired differences, flipped samples, settings that differ; and the gate built on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from evalkit.errors import UsageError
from evalkit.formula import Formula
from evalkit.metrics.metric import Metric
from evalkit.metrics.statistics import (
    Combine,
    detectable_drop,
    exchange_test,
    holm,
    percentiles,
    plain_mean,
    resampled_difference,
)
from evalkit.metrics.sums import GroupSums, group_sums
from evalkit.records import SampleScore
from evalkit.runs.folder import RunFolder
from evalkit.runs.record import read_run
from evalkit.runs.settings import differences

# Earlier keys have a larger effect on scores; unlisted keys come last.
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
        metric: name of the task's first metric, which is compared.
        maximum: of that metric, on whose scale the numbers are.
        decimals: digits to print.
        run: score of the run.
        base: score of the base.
        difference: run minus base, in points of the metric's scale.
        ci95: its interval by paired cluster bootstrap; None with fewer than two media groups.
        p_drop: one-sided p-value of a drop (statistics.exchange_test).
        p_adjusted: the same after Holm's correction over all tasks.
        detectable: smallest drop, in points, that this comparison detects with 80 % power in one task alone (at alpha
            over the number of tasks, as Holm's correction requires); None as for ci95.
        n: samples compared.
        only_run: ids the base lacks.
        only_base: ids the run lacks, or did not answer.
        better: ids whose value rose.
        worse: ids whose value fell.
        disagree: ids on which the run's official and fixed values differ.
    """

    task: str
    metric: str
    maximum: float
    decimals: int
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
    metrics: Mapping[str, Metric],
    settings: tuple[Mapping[str, Any], Mapping[str, Any]],
    alpha: float = 0.05,
) -> Comparison:
    """Compare two runs.

    Args:
        run: score lines of each task.
        base: those of the baseline.
        metrics: the card's metric of each task.
        settings: settings of the run and of the base, as in run.json.
        alpha: significance level of ``detectable``.

    Raises:
        UsageError: they share no scored task.
    """
    shared = [name for name in run if name in base and scored(run[name]) and scored(base[name])]
    if not shared:
        raise UsageError("the two runs share no task with scores")
    compared = [_task(name, metrics[name], run[name], base[name], alpha / len(shared)) for name in shared]
    adjusted = holm([item.p_drop for item in compared])
    tasks = [replace(item, p_adjusted=value) for item, value in zip(compared, adjusted, strict=True)]
    old, new = (_shared_settings(one, shared) for one in reversed(settings))
    return Comparison(tasks, sorted(differences(old, new), key=_effect), old == new)


def scored(lines: Sequence[SampleScore]) -> bool:
    """Return whether a task's samples have values; hidden labels give none."""
    return bool(lines) and all(line.value is not None for line in lines)


def _shared_settings(settings: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
    kept = {part: {name: settings.get(part, {}).get(name) for name in tasks} for part in ("tasks", "media")}
    return {"model": settings.get("model", {}), **kept}


def _effect(line: str) -> int:
    key = line.split(":")[0]
    return next((index for index, name in enumerate(EFFECT) if name in key.split(".")), len(EFFECT))


def _task(
    name: str, metric: Metric, run: Sequence[SampleScore], base: Sequence[SampleScore], alpha: float
) -> TaskDifference:
    theirs = {line.id: line for line in base}
    ours = {line.id: line for line in run}
    both = [line for line in run if line.id in theirs]
    if not both:
        raise UsageError(f"task {name}: the two runs share no sample id")
    pair = _paired(name, metric, both, theirs)
    drawn = resampled_difference(*pair) if len(pair[0].groups) > 1 else None
    change = {line.id: (line.value or 0.0) - (theirs[line.id].value or 0.0) for line in both}
    scores = [side.score for side in pair]
    return TaskDifference(
        task=name,
        metric=metric.name,
        maximum=metric.maximum,
        decimals=metric.decimals,
        run=scores[0],
        base=scores[1],
        difference=scores[0] - scores[1],
        ci95=None if drawn is None else percentiles(drawn),
        p_drop=exchange_test({name: pair}).drop,
        p_adjusted=1.0,
        detectable=None if drawn is None else detectable_drop(drawn, alpha, pair[0].one_wrong, metric.maximum),
        n=len(both),
        only_run=tuple(line.id for line in run if line.id not in theirs),
        only_base=tuple(key for key in theirs if key not in ours or lost(ours[key], theirs[key])),
        better=tuple(key for key, value in change.items() if value > 0),
        worse=tuple(key for key, value in change.items() if value < 0),
        disagree=tuple(line.id for line in run if line.disagrees),
    )


def _paired(
    name: str, metric: Metric, run: Sequence[SampleScore], base: Mapping[str, SampleScore]
) -> tuple[GroupSums, GroupSums]:
    """Return a metric's sums in two runs, of the same samples in the run's media groups, units and keys."""
    answers = [
        replace(line, value=base[line.id].value, answer=base[line.id].answer, outcome=base[line.id].outcome)
        for line in run
    ]
    try:
        ours, theirs = group_sums(metric, run), group_sums(metric, answers)
    except UsageError as error:
        raise UsageError(f"task {name}: {error}") from error
    columns = tuple(dict.fromkeys([*ours.columns, *theirs.columns]))
    return ours.over(columns), theirs.over(columns)


def row_p_value(
    metrics: Mapping[str, Metric],
    run: Mapping[str, Sequence[SampleScore]],
    base: Mapping[str, Sequence[SampleScore]],
    combine: Combine = plain_mean,
) -> float | None:
    """Return the two-sided p-value of a difference between two runs in a row of a card.

    Args:
        metrics: the card's metric of each task of the row.
        run: score lines of each task.
        base: those of the other run.
        combine: the row's value from those of its tasks.

    Returns:
        The p-value of one joint exchange of the media groups (statistics.exchange_test); None if the samples differ.
    """
    if any([line.id for line in run[name]] != [line.id for line in base[name]] for name in metrics):
        return None
    pairs = {
        name: _paired(name, metric, run[name], {line.id: line for line in base[name]})
        for name, metric in metrics.items()
    }
    return exchange_test(pairs, combine).two_sided


def paired_test(run: RunFolder, base: RunFolder, formula: Formula) -> float | None:
    """Return the two-sided p-value of two runs scoring differently in a row; None if they cannot be paired."""
    tasks = formula.tasks
    if not all(name in folder.tasks for name in tasks for folder in (run, base)):
        return None
    if any(folder.summary(name).server_score is not None for name in tasks for folder in (run, base)):
        return None  # a server gives no score of a single sample
    if any(run.summary(name).metric != base.summary(name).metric for name in tasks):
        return None
    lines = [{name: folder.lines(name) for name in tasks} for folder in (run, base)]
    metrics = {name: run.metric(name) for name in tasks}
    combine = plain_mean if formula.is_plain_mean else partial(formula.value, rounded=False)
    return row_p_value(metrics, lines[0], lines[1], combine)


class ComparedFolders(NamedTuple):
    """Two run folders compared.

    Attributes:
        comparison: of the tasks that both have.
        lost: tasks of the base without scores in the run.
        notes: caveats about either run (random weights, ...).
    """

    comparison: Comparison
    lost: list[str]
    notes: list[str]


def compare_folders(run: Path, base: Path, alpha: float) -> ComparedFolders:
    """Compare two run folders."""
    ours, theirs = RunFolder(run), RunFolder(base)
    lines = [{name: folder.lines(name) for name in folder.tasks} for folder in (ours, theirs)]
    lost = [
        name
        for name, base_lines in lines[1].items()
        if name not in lines[0] or (scored(base_lines) and not scored(lines[0][name]))
    ]
    settings = [_with_judges(read_run(folder.path).settings, folder) for folder in (ours, theirs)]
    notes = [f"- {folder.label}: {note}" for folder in (ours, theirs) for note in folder.notes]
    both = [name for name in lines[0] if name in lines[1] and all(scored(side[name]) for side in lines)]
    metrics = {name: ours.metric(name) for name in both}
    for name, metric in metrics.items():
        if (other := theirs.summary(name).metric) != metric.name:
            raise UsageError(
                f"task {name}: scored by {metric.name!r} in {run}, by {other!r} in {base}; rescore one of them"
            )
    return ComparedFolders(compare(lines[0], lines[1], metrics, (settings[0], settings[1]), alpha), lost, notes)


def _with_judges(settings: Mapping[str, Any], folder: RunFolder) -> dict[str, Any]:
    """Return a run's settings with the judges that its scores rest on."""
    judges = {name: judge["name"] for name in folder.tasks if (judge := folder.summary(name).judge)}
    tasks = settings["tasks"]
    return {**settings, "tasks": tasks | {name: {**tasks.get(name, {}), "judge": one} for name, one in judges.items()}}


def lost(run: SampleScore, base: SampleScore) -> bool:
    """Return whether the run has no answer where the base has one."""
    return run.outcome.failed and not base.outcome.failed


def regressions(comparison: Comparison, alpha: float, max_drop: float) -> list[TaskDifference]:
    """Return the tasks whose drop is significant at alpha (Holm-corrected) and larger than ``max_drop`` points."""
    return [item for item in comparison.tasks if item.p_adjusted <= alpha and -item.difference > max_drop]


def comparison_rows(comparison: Comparison) -> list[list[str]]:
    """Return the header and a row per task."""
    rows = [["task", "run", "base", "difference", "95%", "p (drop)", "p (Holm)", "min. detectable", "n"]]
    for item in comparison.tasks:
        digits = item.decimals
        ci = "-" if item.ci95 is None else "[{0:+.{2}f}, {1:+.{2}f}]".format(*item.ci95, digits)
        least = "-" if item.detectable is None else f"{item.detectable:.{digits}f}"
        numbers = [f"{item.run:.{digits}f}", f"{item.base:.{digits}f}", f"{item.difference:+.{digits}f}", ci]
        rows.append([item.task, *numbers, f"{item.p_drop:.4f}", f"{item.p_adjusted:.4f}", least, str(item.n)])
    return rows


def comparison_lines(comparison: Comparison, shown: int = 5) -> list[str]:
    """Return the comparison as lines of Markdown."""
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
