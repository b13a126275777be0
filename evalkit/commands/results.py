"""Scores of a run folder: written from responses, read back for tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from evalkit.card import Card
from evalkit.commands.audit import audit_note
from evalkit.errors import UsageError
from evalkit.files import write_atomically
from evalkit.metrics.metric import Metric, mean
from evalkit.records import Outcome, Response, Sample, SampleScore
from evalkit.registry import load_tasks
from evalkit.report.compare import Comparison, compare, row_p_value, scored
from evalkit.report.render import render
from evalkit.report.table import RowResult, RunResult, build
from evalkit.run.settings import differences
from evalkit.run.store import read_scores, write_json, write_scores
from evalkit.scoring import row_interval, score_task
from evalkit.task import Task

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Summary(BaseModel):
    """What tables need of a task's entry in scores.json."""

    model_config = ConfigDict(strict=True)

    metric: str
    maximum: _Finite = 100.0
    decimals: int = 2
    plain_mean: bool = True
    score: _Finite | None
    fixed_score: _Finite | None
    ci95: tuple[_Finite, _Finite] | None
    n: Annotated[int, Field(ge=0)]
    expected_n: int
    outcomes: dict[Outcome, int]
    server_score: _Finite | None = None
    unbounded: bool = False


_SUMMARIES = TypeAdapter(dict[str, _Summary])


class Answered(NamedTuple):
    """A task with its samples and the responses to them, by id."""

    task: Task
    samples: list[Sample]
    responses: Mapping[str, Response]


def write_results(out: Path, card: Card, answered: Sequence[Answered]) -> tuple[str, dict[str, Any]]:
    """Score tasks and write scores.jsonl, scores.json and card.md; scores of other tasks in the folder stay.

    Returns:
        The card's tables in Markdown, and the summaries of these tasks.
    """
    fresh = {}
    for task, samples, responses in answered:
        scores = score_task(task, samples, responses)
        write_scores(out / task.name, scores.lines)
        fresh[task.name] = scores.summary
    path = out / "scores.json"
    stored = _read_json(path) if path.exists() else {}
    for name, summary in fresh.items():
        if "server_score" in stored.get(name, {}):  # came from outside, and cannot be computed again
            summary["server_score"] = stored[name]["server_score"]
    write_json(path, stored | fresh)
    text = render(build(card, [RunFolder(out, card)]), "md")
    write_atomically(out / "card.md", text)
    return text, fresh


def score_lines(scores: dict[str, Any]) -> str:
    """Return a line per task for people."""
    lines = []
    for name, summary in scores.items():
        digits = summary["decimals"]
        score = "no local labels" if summary["score"] is None else f"{summary['score']:.{digits + 1}f}"
        ci = "" if summary["ci95"] is None else "  95% [{0:.{2}f}, {1:.{2}f}]".format(*summary["ci95"], digits)
        fixed = "" if summary["fixed_score"] is None else f"  fixed {summary['fixed_score']:.{digits + 1}f}"
        more = "".join(f"  {one} {found['score']:.{digits + 1}f}" for one, found in summary.get("metrics", {}).items())
        other = ", ".join(f"{count} {kind}" for kind, count in summary["outcomes"].items() if count)
        whole = f"n {summary['n']} of {summary['expected_n']}"
        lines.append(f"{name}: {summary['metric']} {score}{ci}{fixed}{more}  {whole}  ({other})\n")
    return "".join(lines)


def record_server_scores(out: Path, given: Mapping[str, float]) -> None:
    """Keep scores that came back from a benchmark's server, marked as such.

    Raises:
        UsageError: a task that the run has not answered, or that is scored here.
    """
    scores = _read_json(out / "scores.json")
    for name, score in given.items():
        if name not in scores:
            raise UsageError(f"{out} has no task {name!r}; it has {', '.join(scores)}")
        if scores[name]["score"] is not None:
            raise UsageError(f"task {name!r} has local labels: its score is computed, not taken from a server")
        scores[name]["server_score"] = score
    write_json(out / "scores.json", scores)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); is this a run folder?") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid JSON ({error})") from error


def read_run(out: Path) -> dict[str, Any]:
    """Return run.json.

    Raises:
        UsageError: it is absent or damaged.
    """
    record = _read_json(out / "run.json")
    settings = record.get("settings") if isinstance(record, dict) else None
    if not isinstance(settings, dict) or not {"data_root", "card", "model", "plugins"} <= record.keys():
        raise UsageError(f"{out / 'run.json'}: not written by evalkit run")
    if not all(isinstance(settings.get(part), dict) for part in ("model", "tasks")):
        raise UsageError(f"{out / 'run.json'}: not written by evalkit run")
    return dict(record)


class RunFolder:
    """A run as the tables see it (``report.table.RunResult``).

    Args:
        out: the run folder.
        card: the card whose model it is compared with, for the notes.

    Raises:
        UsageError: it holds no scores.
    """

    def __init__(self, out: Path, card: Card | None = None) -> None:
        self._out = out
        self._scores: dict[str, Any] = _read_json(out / "scores.json")
        try:
            self._summaries = _SUMMARIES.validate_json(json.dumps(self._scores))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "it"
            raise UsageError(f"{out / 'scores.json'}: not written by evalkit ({place}: {first['msg']})") from error
        if not self._scores:
            raise UsageError(f"{out / 'scores.json'}: holds no scores")
        record = read_run(out) if (out / "run.json").exists() else {}
        model = record.get("model", {})
        self._card = card
        self._plugins: list[str] = record.get("plugins", [])
        asked = record.get("settings", {}).get("tasks", {})
        self._recipes = {name: one.get("recipe") for name, one in asked.items() if isinstance(one, dict)}
        self._lines: dict[str, list[SampleScore]] = {}
        self._audit: dict[str, Any] = record.get("audit", {})
        self.label = f"{Path(str(model.get('name', out.name))).name} ({out.name})"
        self.notes = tuple(_notes(model, card))

    def row(self, tasks: Sequence[str]) -> RowResult | None:
        """Return the plain mean of tasks with a joint interval; None where none of them was run."""
        summaries = [self._scores[name] for name in tasks if name in self._scores]
        if not summaries:
            return None
        missing = tuple(name for name in tasks if name not in self._scores)
        scores = [summary.get("server_score", summary["score"]) for summary in summaries]
        whole = not missing and None not in scores
        fixed = [
            summary["score"] if summary["fixed_score"] is None else summary["fixed_score"] for summary in summaries
        ]
        served = [
            f"{name}: {self._scores[name]['server_score']} is the score that the benchmark's server returned"
            for name in tasks
            if "server_score" in self._scores.get(name, {})
        ]
        audited = [audit_note(name, self._audit[name]) for name in tasks if name in self._audit]
        return RowResult(
            score=fmean(scores) if whole else None,
            ci95=self._interval(tasks, summaries) if whole else None,
            n=sum(summary["n"] for summary in summaries),
            expected_n=sum(summary["expected_n"] for summary in summaries),
            fixed=fmean(fixed) if whole and None not in fixed else None,
            missing_tasks=missing,
            notes=tuple([*served, *_outcome_notes(tasks, self._scores), *audited]),
            failed=sum(
                count for summary in summaries for kind, count in summary["outcomes"].items() if Outcome(kind).failed
            ),
            settings=tuple(text for name in tasks for text in self._other_settings(name)),
        )

    def _other_settings(self, task: str) -> list[str]:
        """Return in what the recipe that a task was asked with differs from the card's."""
        official = self._card.recipe(task) if self._card else None
        used = self._recipes.get(task)
        if official is None or not used:
            return []
        return [f"{task}: not the card's {line}" for line in differences(asdict(official), used)]

    def _interval(self, tasks: Sequence[str], summaries: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
        if any(summary["score"] is None for summary in summaries):
            return None  # a server says no more than the score
        if len(tasks) == 1:
            stored = summaries[0]["ci95"]
            return None if stored is None else (stored[0], stored[1])
        return row_interval({name: (self.metric(name), self.lines(name)) for name in tasks}).ci95

    def metric(self, task: str) -> Metric:
        """Return the metric of a task's score: a plain mean as scores.json says, any other one from the task.

        Raises:
            UsageError: the task cannot be loaded any more, or has another metric now.
        """
        found = self._summaries[task]
        if found.plain_mean:
            return mean(found.metric, maximum=found.maximum, decimals=found.decimals)
        where = f"{self._out}: task {task!r} is scored by {found.metric!r}"
        known, why = self._known_tasks
        if task not in known:
            raise UsageError(
                f"{where}, which only its task can compute, and no --plugin file of the run defines it{why}"
            )
        if known[task].metric != found.metric:
            raise UsageError(f"{where}, now by {known[task].metric!r}; run evalkit score {self._out}")
        return known[task].metrics[0]

    @cached_property
    def _known_tasks(self) -> tuple[dict[str, Task], str]:
        """All tasks; those of evalkit alone, and why, if a plugin of the run cannot be loaded any more."""
        try:
            return load_tasks(self._plugins), ""
        except UsageError as error:
            return load_tasks(), f" ({error})"

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks with scores."""
        return list(self._scores)

    def summary(self, task: str) -> dict[str, Any]:
        """Return a task's entry of scores.json."""
        return dict(self._scores[task])

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
            return read_scores(self._out / task / "scores.jsonl", self._summaries[task].unbounded)
        except UsageError as error:
            raise UsageError(f"{error}; run evalkit score {self._out}") from error


def open_runs(runs: Sequence[Path], card: Card) -> list[RunFolder]:
    """Return several run folders; labels that would be the same are numbered."""
    folders = [RunFolder(run, card) for run in runs]
    labels = [folder.label for folder in folders]
    for place, (folder, label) in enumerate(zip(folders, labels, strict=True)):
        if labels.count(label) > 1:
            folder.label = f"{label} #{labels[: place + 1].count(label)}"
    return folders


def paired_test(run: RunResult, base: RunResult, tasks: Sequence[str]) -> float | None:
    """Return the two-sided p-value of two runs scoring differently in a row; None where they cannot be paired."""
    if not (isinstance(run, RunFolder) and isinstance(base, RunFolder)):
        return None
    if not all(name in folder.tasks for name in tasks for folder in (run, base)):
        return None
    if any("server_score" in folder.summary(name) for name in tasks for folder in (run, base)):
        return None  # a server gives no score of a single sample
    if any(run.summary(name)["metric"] != base.summary(name)["metric"] for name in tasks):
        return None
    lines = [{name: folder.lines(name) for name in tasks} for folder in (run, base)]
    return row_p_value({name: run.metric(name) for name in tasks}, lines[0], lines[1])


class ComparedFolders(NamedTuple):
    """Two run folders compared.

    Attributes:
        comparison: of the tasks that both have.
        lost: tasks of the base that the run has no scores of.
        notes: what must be said of either run (random weights, ...).
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
    settings = [read_run(folder)["settings"] for folder in (run, base)]
    notes = [f"- {folder.label}: {note}" for folder in (ours, theirs) for note in folder.notes]
    both = [name for name in lines[0] if name in lines[1] and all(scored(side[name]) for side in lines)]
    metrics = {name: ours.metric(name) for name in both}
    for name, metric in metrics.items():
        if (other := theirs.summary(name)["metric"]) != metric.name:
            raise UsageError(
                f"task {name}: scored by {metric.name!r} in {run}, by {other!r} in {base}; score one again"
            )
    return ComparedFolders(compare(lines[0], lines[1], metrics, (settings[0], settings[1]), alpha), lost, notes)


def _notes(model: Mapping[str, Any], card: Card | None) -> list[str]:
    notes = [str(model["note"])] if model.get("note") else []
    own = model.get("parameters")
    if card and own and own != card.parameters:
        notes.append(
            f"the checkpoint has {own:,} parameters, {card.model} has {card.parameters:,}: "
            "another model, whose scores the published ones do not predict"
        )
    return notes


def _outcome_notes(tasks: Sequence[str], scores: Mapping[str, Any]) -> list[str]:
    notes = []
    for name in tasks:
        counts = scores.get(name, {}).get("outcomes", {})
        other = [f"{count} {kind}" for kind, count in counts.items() if count and kind != Outcome.OK.value]
        if other:
            notes.append(f"{name}: {', '.join(other)} of {scores[name]['n']}")
    return notes
