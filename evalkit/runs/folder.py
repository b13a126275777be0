"""Scores of a run, read back: one row of a card at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from evalkit.card import Card
from evalkit.errors import UsageError
from evalkit.formula import Formula
from evalkit.metrics.metric import Metric, mean
from evalkit.plugins import load_tasks
from evalkit.records import Outcome, SampleScore
from evalkit.requests import read_recipe
from evalkit.runs.record import has_record, read_json, read_run
from evalkit.runs.settings import differences
from evalkit.runs.store import read_scores
from evalkit.scoring import row_interval
from evalkit.summary import TaskSummary, outcome_text, read_summaries
from evalkit.task import Task


class RowResult(NamedTuple):
    """What a run has for one row of a card.

    Attributes:
        score: on the card's scale; None if labels are hidden or tasks are missing.
        ci95: its interval.
        n: samples of the run.
        expected_n: official number of samples, of the tasks that were run; None if it is not known.
        fixed: the score with the official scorer's defects fixed.
        missing_tasks: tasks of the row that were not run.
        notes: samples that are not ok.
        failed: samples with nothing to score.
        unjudged: those of them that lack a judgement.
        settings: settings that differ from the card's.
    """

    score: float | None
    ci95: tuple[float, float] | None
    n: int
    expected_n: int | None
    fixed: float | None
    missing_tasks: tuple[str, ...]
    notes: tuple[str, ...]
    failed: int = 0
    unjudged: int = 0
    settings: tuple[str, ...] = ()


class RunFolder:
    """A run with its scores, as tables see it.

    Args:
        out: the run folder.
        card: the card whose model it is compared with, for the notes.

    Raises:
        UsageError: it holds no scores.
    """

    def __init__(self, out: Path, card: Card | None = None) -> None:
        self._out = out
        self._scores = read_summaries(read_json(out / "scores.json"), str(out / "scores.json"))
        if not self._scores:
            raise UsageError(f"{out / 'scores.json'}: holds no scores")
        record = read_run(out) if has_record(out) else None
        model = record.model if record else {}
        self._card = card
        self._plugins = record.plugins if record else []
        settings = record.tasks if record else {}
        self._recipes = {name: _recipe(one.get("recipe")) for name, one in settings.items() if isinstance(one, dict)}
        self._lines: dict[str, list[SampleScore]] = {}
        self._audit = record.audit if record else {}
        self.path = out
        self.label = f"{Path(str(model.get('name', out.name))).name} ({out.name})"
        self.notes = tuple(_notes(model, card))

    def row(self, formula: Formula) -> RowResult | None:
        """Return a row's score with a joint interval; None if none of its tasks was run."""
        tasks = formula.tasks
        ran = [name for name in tasks if name in self._scores]
        if not ran:
            return None
        summaries = [self._scores[name] for name in ran]
        scores = {name: score for name in ran if (score := _official(self._scores[name])) is not None}
        fixed = {name: score for name in ran if (score := _fixed(self._scores[name])) is not None}
        whole = len(scores) == len(tasks)
        official = [summary.expected_n for summary in summaries]
        outcomes = Counter[Outcome]()
        for summary in summaries:
            outcomes.update(summary.outcomes)
        return RowResult(
            score=formula.value(scores) if whole else None,
            ci95=self._interval(formula) if whole else None,
            n=sum(summary.n for summary in summaries),
            expected_n=None if None in official else sum(n for n in official if n is not None),
            fixed=formula.value(fixed) if whole and len(fixed) == len(tasks) else None,
            missing_tasks=tuple(name for name in tasks if name not in ran),
            notes=tuple(note for name in ran for note in self._task_notes(name)),
            failed=sum(count for kind, count in outcomes.items() if kind.failed),
            unjudged=outcomes[Outcome.UNJUDGED],
            settings=tuple(text for name in ran for text in self._other_settings(name)),
        )

    def _task_notes(self, task: str) -> Iterator[str]:
        """Yield caveats about a task's score other than its settings."""
        summary = self._scores[task]
        if summary.server_score is not None:
            yield f"{task}: server score {summary.server_score}"
        if (judge := summary.judge) and judge["name"] and judge["name"] == judge["card"]:
            yield f"{task}: judged by {judge['name']}"
        if other := outcome_text({kind: n for kind, n in summary.outcomes.items() if kind is not Outcome.OK}):
            yield f"{task}: {other} of {summary.n}"
        if task in self._audit:
            yield audit_note(task, self._audit[task])

    def _other_settings(self, task: str) -> list[str]:
        """Return the settings in which a task differs from the card."""
        used, judge = self._recipes.get(task), self._scores[task].judge
        official = self._card.recipe(task) if self._card else None
        texts = []
        if official is not None and used:
            texts = [f"{task}: {line}" for line in differences(asdict(official), used, "{new} (card: {old})")]
        if judge and judge["asked"] and judge["name"] != judge["card"]:
            texts.append(
                f"{task}: " + (f"judge {judge['name']} (card: {judge['card']})" if judge["name"] else "no judge")
            )
        return texts

    def _interval(self, formula: Formula) -> tuple[float, float] | None:
        tasks = formula.tasks
        if any(self._scores[name].score is None for name in tasks):
            return None  # a server says no more than the score
        if len(tasks) == 1:
            stored = self._scores[tasks[0]].ci95
            low, high = (formula.value({tasks[0]: edge}, rounded=False) for edge in stored or (0.0, 0.0))
            return (low, high) if stored else None
        lines = {name: (self.metric(name), self.lines(name)) for name in tasks}
        return row_interval(lines, partial(formula.value, rounded=False)).ci95

    def metric(self, task: str) -> Metric:
        """Return the metric of a task's score: a plain mean as scores.json says, any other one from the task.

        Raises:
            UsageError: the task can no longer be loaded, or has another metric now.
        """
        summary = self._scores[task]
        if summary.plain_mean:
            return mean(summary.metric, maximum=summary.maximum, decimals=summary.decimals)
        where = f"{self._out}: task {task!r} is scored by {summary.metric!r}"
        known, why = self._known_tasks
        if task not in known:
            raise UsageError(
                f"{where}, which only its task can compute, and no --plugin file of the run defines it{why}"
            )
        if known[task].metric != summary.metric:
            raise UsageError(f"{where}, now by {known[task].metric!r}; run evalkit score {self._out}")
        return known[task].metrics[0]

    @cached_property
    def _known_tasks(self) -> tuple[dict[str, Task], str]:
        """All tasks; those of evalkit alone, and why, if a plugin of the run can no longer be loaded."""
        try:
            return load_tasks(self._plugins), ""
        except UsageError as error:
            return load_tasks(), f" ({error})"

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks with scores."""
        return list(self._scores)

    def summary(self, task: str) -> TaskSummary:
        """Return a task's entry of scores.json."""
        return self._scores[task]

    def lines(self, task: str) -> list[SampleScore]:
        """Return the score of each sample of a task.

        Raises:
            UsageError: the file is absent or damaged.
        """
        if task not in self._lines:
            self._lines[task] = self._read_lines(task)
        return self._lines[task]

    def _read_lines(self, task: str) -> list[SampleScore]:
        try:
            return read_scores(self._out / task / "scores.jsonl", self._scores[task].unbounded)
        except UsageError as error:
            raise UsageError(f"{error}; run evalkit score {self._out}") from error


def _recipe(recorded: Any) -> Any:
    """Return a recorded recipe; keys that its version of evalkit did not know yet have their defaults."""
    try:
        return recorded and asdict(read_recipe(recorded, "recorded recipe"))
    except UsageError:
        return recorded


def _official(summary: TaskSummary) -> float | None:
    return summary.score if summary.server_score is None else summary.server_score


def _fixed(summary: TaskSummary) -> float | None:
    return summary.score if summary.fixed_score is None else summary.fixed_score


def open_runs(runs: Sequence[Path], card: Card) -> list[RunFolder]:
    """Return several run folders; labels that would be the same are numbered."""
    folders = [RunFolder(run, card) for run in runs]
    labels = [folder.label for folder in folders]
    for index, (folder, label) in enumerate(zip(folders, labels, strict=True)):
        if labels.count(label) > 1:
            folder.label = f"{label} #{labels[: index + 1].count(label)}"
    return folders


def _notes(model: Mapping[str, Any], card: Card | None) -> list[str]:
    notes = [str(model["note"])] if model.get("note") else []
    own = model.get("parameters")
    if card and own and card.parameters and own != card.parameters:
        notes.append(
            f"the checkpoint has {own:,} parameters, {card.model} has {card.parameters:,}: "
            "another model, whose scores the published ones do not predict"
        )
    return notes


def audit_note(task: str, audited: Mapping[str, Any]) -> str:
    """Return one line about a task's audit."""
    scores = "no labels" if audited["scores_differ"] is None else f"{audited['scores_differ']} scores"
    low, high = audited["ci95"]
    return (
        f"{task}: batch audit, {audited['answers_differ']} of {audited['n']} answers differ from the reference engine "
        f"(95% {100 * low:.1f}-{100 * high:.1f} %), {scores}"
    )
