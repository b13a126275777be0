"""A run folder with its data: every sample with its request, response and score."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from evalkit.card import Card
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.judging import Judge, Judged, failed, settle
from evalkit.media.decoder import Decoders
from evalkit.metrics.boxes import Box, iou, official_box, parse_box
from evalkit.metrics.sums import group_sums
from evalkit.records import Layout, Recipe, Request, Response, Sample, SampleScore, View
from evalkit.requests import build_requests, layouts, read_recipe, recipe_for
from evalkit.runs.folder import RunFolder
from evalkit.runs.judged import prompt_sha256
from evalkit.runs.record import RunRecord, read_run
from evalkit.runs.rescore import recorded, with_judgements
from evalkit.runs.results import Answered
from evalkit.runs.settings import task_settings
from evalkit.selection import Job, select
from evalkit.summary import TaskSummary
from evalkit.task import Task

Cuts = Mapping[View, Layout | None]

# What became of a judge's reply: the one that counts, one that cannot be read, a failed or empty one, one that the
# official code requests but never reads, one that the retry rule does not reach.
Fate = Literal["counts", "unusable", "failed", "unread", "unused"]


class Boxes(NamedTuple):
    """Boxes of a grounding answer in pixels, (x1, y1, x2, y2).

    Attributes:
        reference: the gold box.
        predicted: the box as the official scorer reads it; None if the answer has none.
        iou: of the two; 0 without a predicted box.
    """

    reference: Box
    predicted: Box | None
    iou: float


class Item(NamedTuple):
    """One sample of a run."""

    sample: Sample
    request: Request
    response: Response
    score: SampleScore

    @property
    def boxes(self) -> Boxes | None:
        """Its boxes; None unless the gold answer is a box."""
        fields, gold = self.sample.fields, next(iter(self.sample.references), None)
        if not (isinstance(gold, tuple) and len(gold) == 4 and "width" in fields and "height" in fields):
            return None
        parsed = None if self.response.outcome.failed else parse_box(self.response.response)
        if parsed is None:
            return Boxes(gold, None, 0.0)
        box = official_box(parsed, fields["width"], fields["height"])
        overlap = iou(box, gold)
        return Boxes(gold, box if all(map(math.isfinite, box)) else None, overlap if math.isfinite(overlap) else 0.0)


class Reply(NamedTuple):
    """One reply of a judge.

    Attributes:
        text: the reply; None for a failed request.
        attempt: 0-based, an index of ``Judge.temperatures``; None if the retry rule does not reach it.
        fate: what became of it.
    """

    text: str | None
    attempt: int | None
    fate: Fate


class Judgement(NamedTuple):
    """What a judge is asked about an answer, and what it said.

    Attributes:
        prompt: of the first attempt, as the task asks now.
        replies: one per request, in order; None if the judge of the score has not judged this answer.
        other_prompt: whether the record says that another prompt was sent.
    """

    prompt: str
    replies: list[Reply] | None
    other_prompt: bool


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task of a run.

    Attributes:
        task: the task.
        summary: its entry of scores.json.
        items: its samples, in order.
        other_data: whether the data has changed, so that requests differ from the run's.
        judged: the judge's exchanges that its score rests on; None without a judge.
    """

    task: Task
    summary: TaskSummary
    items: list[Item]
    other_data: bool
    judged: Judged | None = None

    def judgement(self, item: Item) -> Judgement | None:
        """Return the judgement of a sample's answer; None if no judge is asked about it."""
        judge, answer = self.task.judge, item.response.response
        if judge is None or item.response.outcome.failed or item.score.value is None:
            return None
        prompt = judge.ask(item.sample, answer)
        if prompt is None:
            return None
        exchange = self.judged.exchanges.get(item.sample.id) if self.judged else None
        if exchange is None:
            return Judgement(prompt, None, False)
        sent = prompt_sha256(judge.system, prompt)
        replies = list(_replies(judge, item.sample, answer, exchange.replies))
        return Judgement(prompt, replies, exchange.prompt_sha256 not in (None, sent))

    def counted(self, item: Item) -> bool:
        """Return whether a sample is part of the official score: some answers leave the mean, right or wrong."""
        metric = self.task.metrics[0]
        alone = (group_sums(metric, [replace(item.score, value=value)]) for value in (0.0, 1.0))
        return item.score.value is None or any(any(sums.totals.values()) for sums in alone)


def _replies(judge: Judge, sample: Sample, answer: str, replies: Sequence[str | None]) -> Iterator[Reply]:
    """Yield a judge's replies, each with its fate under the retry rule."""
    for number, text in enumerate(replies):
        attempt = settle(judge, sample, answer, replies[:number]).attempt
        fate: Fate = "unusable"
        if attempt is None:
            fate = "unused"
        elif failed(judge, text):
            fate = "failed"
        elif (score := settle(judge, sample, answer, replies[: number + 1]).score) and score.answer is not None:
            fate = "counts"
        elif attempt >= len(judge.temperatures) - judge.unread:
            fate = "unread"
        yield Reply(text, attempt, fate)


@dataclass(frozen=True, slots=True)
class RunView:
    """A run folder with its data.

    Attributes:
        folder: the run.
        record: its run.json.
        root: where the data is.
        tasks: its tasks whose data is present.
        missing: absent data files.
    """

    folder: RunFolder
    record: RunRecord
    root: DataRoot
    tasks: list[TaskView]
    missing: list[str]


def open_view(run: Path, folder: RunFolder, card: Card, data_root: str | None) -> RunView:
    """Read a run folder and its data.

    Args:
        run: the run folder.
        folder: its scores.
        card: the card whose tables it is shown in.
        data_root: where the data is now; None takes the run's.

    Raises:
        UsageError: it holds no run, or its scores are of other samples than the data's.
        IncompleteError: no data of any of its tasks.
    """
    record = read_run(run)
    root = DataRoot(data_root or record.data_root)
    selection = select(record.card, folder.tasks, record.plugins, root)
    tile_size = int(record.model.get("tile_size", selection.card.tile_size))
    tasks = []
    for task in selection.tasks:
        settings = record.tasks.get(task.name, {})
        recipe = _recipe(run, task, settings, selection.card)
        answered = recorded(run, task, root, settings.get("limit"))
        samples, responses = answered.samples, answered.responses
        requests = build_requests(task, samples, recipe, root, tile_size)
        asked = settings.get("requests_sha256")
        now = task_settings(Job(task, recipe, samples, requests), root, None)["requests_sha256"]
        items = list(_items(run, task.name, samples, requests, responses, folder.lines(task.name)))
        summary = folder.summary(task.name)
        judged = _judged(run, answered, summary)
        tasks.append(TaskView(task, summary, items, asked is not None and asked != now, judged))
    return RunView(folder, record, root, tasks, selection.missing)


def _judged(run: Path, answered: Answered, summary: TaskSummary) -> Judged | None:
    """Return the exchanges of the judge that a score rests on; None without one, or if they are gone."""
    name = summary.judge["name"] if summary.judge else None
    found = with_judgements(run, answered, name).judged if name else None
    return found if found and found.name == name else None


def layouts_of(view: RunView) -> Cuts:
    """Return how each view of a run is cut; None if its media is absent or cannot be read."""
    shown = (one for task in view.tasks for item in task.items for one in item.request.views)
    with Decoders(view.root) as decoders:
        return layouts(shown, decoders.layout_of)


def tiles_of(item: Item, cuts: Cuts) -> int | None:
    """Return the number of tiles of a sample; None if its media cannot be read."""
    known = [layout for one in item.request.views if (layout := cuts[one])]
    if len(known) != len(item.request.views):
        return None
    return sum(layout.tiles * layout.images for layout in known)


def _recipe(run: Path, task: Task, settings: Mapping[str, Any], card: Card) -> Recipe:
    """Return a task's recipe in the run; the card's recipe for external predictions, which record none."""
    if "recipe" in settings:
        if "look" not in settings["recipe"]:
            why = "has no 'look', so it was written by an older evalkit; rerun the task"
            raise UsageError(f"{run / 'run.json'}: recipe of {task.name!r} {why}")
        return read_recipe(settings["recipe"], f"{run / 'run.json'}: recipe of {task.name!r}")
    return recipe_for(task, card.recipe(task.name), card.name)


def _items(
    run: Path,
    task: str,
    samples: Sequence[Sample],
    requests: Sequence[Request],
    responses: Mapping[str, Response],
    scores: Sequence[SampleScore],
) -> Iterator[Item]:
    if [sample.id for sample in samples] != [score.id for score in scores]:
        raise UsageError(f"{run}: {task}/scores.jsonl does not match the samples of the data; run evalkit score {run}")
    for sample, request, score in zip(samples, requests, scores, strict=True):
        yield Item(sample, request, responses.get(sample.id, Response(sample.id, "", score.outcome)), score)
