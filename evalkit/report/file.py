"""``report``: a run folder, its data and its pictures as one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from evalkit import __version__
from evalkit.card import Card, load_card
from evalkit.console import listed
from evalkit.errors import MediaError
from evalkit.files import write_atomically
from evalkit.media.load import canonical
from evalkit.media.preview import pictures
from evalkit.metrics.boxes import THRESHOLD, Box
from evalkit.records import Response, SampleScore, View
from evalkit.report.compare import compare_folders, comparison_rows
from evalkit.report.page import Section, report_page
from evalkit.report.plot_data import sample_plots, score_plots
from evalkit.report.printed import PrintedTable, document, plain_table
from evalkit.report.table import build
from evalkit.runs.folder import RunFolder, open_runs
from evalkit.runs.results import report_gaps
from evalkit.runs.samples import Cuts, Item, Judgement, RunView, TaskView, layouts_of, open_view, tiles_of
from evalkit.runs.store import read_predictions
from evalkit.scoring import subsets_of
from evalkit.summary import of_official, outcome_text
from evalkit.task import Task

IMAGE_SIDE = 1024
FRAME_SIDE = 320


Other = Mapping[str, tuple[Response, SampleScore]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """The options of ``evalkit report``, as given.

    Attributes:
        run: the run folder.
        out: the HTML file.
        against: another run, for flips.
        card: the card.
        data_root: where the data is now; None takes the run's.
        images: most images and videos to embed.
    """

    run: Path
    out: Path
    against: Path | None
    card: str
    data_root: str | None
    images: int


@dataclass(slots=True)
class Album:
    """Pictures of distinct media, as many as fit.

    Attributes:
        view: the run.
        cuts: how each view is cut.
        room: media that may still be added.
        jpegs: all pictures; an entry refers to them by number.
        thumbnails: of the first picture of each medium, by its number.
        entries: what the page needs to know of each medium.
        wanted: all distinct media that were offered.
    """

    view: RunView
    cuts: Cuts
    room: int
    jpegs: list[bytes] = field(default_factory=list)
    thumbnails: dict[int, bytes] = field(default_factory=dict)
    entries: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    wanted: set[tuple[Any, ...]] = field(default_factory=set)

    def offer(self, view: View) -> None:
        """Embed a medium's pictures, if the limit allows."""
        key = self._key(view)
        self.wanted.add(key)
        if key in self.entries or not self.room:
            return
        try:
            shown = pictures(view, self.view.root, IMAGE_SIDE, FRAME_SIDE)
        except MediaError as error:
            self.entries[key] = {"why": f"cannot be read: {error.reason}"}
            return
        self.room -= 1
        first = len(self.jpegs)
        self.jpegs += [picture.jpeg for picture in shown]
        self.thumbnails[first] = shown[0].thumbnail
        self.entries[key] = {
            "pictures": list(range(first, len(self.jpegs))),
            "frames": [[picture.frame, picture.seconds] for picture in shown if picture.frame is not None],
            "width": shown[0].width,
            "height": shown[0].height,
        }

    def entry(self, view: View) -> dict[str, Any]:
        """Return what the page shows of a sample's medium."""
        plain = {"pictures": [], "frames": [], "width": 0, "height": 0, "path": view.media.path}
        layout = self.cuts[view]
        cut: dict[str, Any] = {"grid": None, "tiles": 0, "images": 0, "enlarge": view.enlarge}
        if layout:
            cut |= {"grid": list(layout.grid), "tiles": layout.tiles, "images": layout.images}
        absent = {"why": f"The picture is left out: {self.left_out()}."}
        return plain | cut | self.entries.get(self._key(view), absent)

    def left_out(self) -> str:
        """Return how many media are held, in words."""
        held = sum("pictures" in entry for entry in self.entries.values())
        return f"this file holds the pictures of {held} of {len(self.wanted)} images and videos (--images)"

    def files(self) -> dict[str, bytes]:
        """Return all JPEGs by the ids of their elements."""
        large = {f"p{number}": data for number, data in enumerate(self.jpegs)}
        return large | {f"t{number}": data for number, data in self.thumbnails.items()}

    def _key(self, view: View) -> tuple[Any, ...]:
        """Return what two views must share to show the same pictures, however they are tiled."""
        media = canonical(view, self.view.root).media
        return media.path, media.kind, media.start, media.end, view.frames, view.frame_rule


def write_report(options: ReportOptions) -> int:
    """Write the report.

    Returns:
        0, or 3 if data files of the run's tasks are missing or samples have no answer.

    Raises:
        UsageError: a folder holds no run.
        IncompleteError: no data of the run is there.
    """
    card = load_card(options.card)
    paths = [options.run] + ([options.against] if options.against else [])
    folders = open_runs(paths, card)
    view = open_view(options.run, folders[0], card, options.data_root)
    others = {task.task.name: _other(options.against, folders[1:], task.task.name) for task in view.tasks}
    cuts = layouts_of(view)
    album = Album(view, cuts, options.images)
    for item in _worth_seeing(view, others):
        for one in item.request.views:
            album.offer(one)
    content = {
        "run": folders[0].label,
        "base": folders[1].label if options.against else None,
        "iou": THRESHOLD,
        "tasks": [_task(task, album, others[task.task.name]) for task in view.tasks],
    }
    text = report_page(
        f"evalkit report: {folders[0].label}",
        f"against {folders[1].label}" if options.against else "",
        [*folders[0].notes, *_warnings(view, album)],
        _sections(options, card, folders, view, cuts),
        content,
        album.files(),
    )
    write_atomically(options.out, text)
    return report_gaps({task.task.name: task.summary for task in view.tasks}, view.missing, options.run)


def _other(against: Path | None, folders: Sequence[RunFolder], task: str) -> Other:
    """Return response and score of each sample of the other run; empty if it has not run the task."""
    if against is None or task not in folders[0].tasks:
        return {}
    responses = read_predictions(against / task / "predictions.jsonl")
    return {line.id: (responses[line.id], line) for line in folders[0].lines(task) if line.id in responses}


def _worth_seeing(view: RunView, others: Mapping[str, Other]) -> Iterator[Item]:
    """Yield all samples, of each task in turn, flipped ones first and wrong ones next: their pictures are kept."""

    def dull(item: Item) -> tuple[bool, float]:
        other = others[item.request.task].get(item.sample.id)
        return other is None or other[1].value == item.score.value, item.score.value or 0.0

    queues = [sorted(task.items, key=dull) for task in view.tasks]
    return (item for item in chain.from_iterable(zip_longest(*queues)) if item is not None)


def _task(task: TaskView, album: Album, other: Other) -> dict[str, Any]:
    samples = [_sample(task, item, album, other.get(item.sample.id)) for item in task.items]
    bare = sum(any(not medium["pictures"] for medium in sample["media"]) for sample in samples)
    note = f"{bare} of {len(samples)} samples are shown without their picture: {album.left_out()}." if bare else ""
    judge = task.task.judge
    rule = judge and {"system": judge.system, "retry": judge.retry, "temperatures": judge.temperatures}
    content = {"name": task.task.name, "note": note, "samples": samples, "judge_rule": rule} | task.summary.to_json()
    scales = {one.name: {"maximum": one.maximum, "decimals": one.decimals} for one in task.task.metrics}
    return content | {"metrics": {name: one | scales.get(name, {}) for name, one in task.summary.metrics.items()}}


def _sample(task: TaskView, item: Item, album: Album, other: tuple[Response, SampleScore] | None) -> dict[str, Any]:
    response, score, boxes = item.response, item.score, item.boxes
    judgement = task.judgement(item)
    return {
        "id": item.sample.id,
        "question": " ".join(item.sample.question.split())[:120],
        "prompt": item.request.prompt,
        "response": response.response,
        "answer": score.answer,
        "references": [_reference(gold) for gold in item.sample.references],
        "outcome": score.outcome.value,
        "reason": score.reason,
        "value": score.value,
        "fixed": score.fixed,
        "counted": task.counted(item),
        "subsets": subsets_of(score),
        "sets": list(_sets(task.task, score)),
        "keys": dict(score.keys),
        "group": score.group,
        "tokens": [response.prompt_tokens, response.output_tokens],
        "tiles": tiles_of(item, album.cuts) or 0,
        "merged": item.request.merged,
        "media": [album.entry(one) for one in item.request.views],
        "boxes": boxes and {"reference": boxes.reference, "predicted": boxes.predicted, "iou": boxes.iou},
        "base": other and {"response": other[0].response, "value": other[1].value},
        "judge": judgement and judgement._asdict() | {"replies": _replies(judgement)},
    }


def _replies(judgement: Judgement) -> list[dict[str, Any]] | None:
    return None if judgement.replies is None else [reply._asdict() for reply in judgement.replies]


def _sets(task: Task, score: SampleScore) -> Iterator[tuple[str, str]]:
    """Yield name and value of each set of samples that a metric counts together with this one."""
    names = dict.fromkeys(name for metric in task.metrics for name in metric.together)
    yield from ((name, score.keys[name]) for name in names if name in score.keys)
    if score.unit is not None:
        yield "question, rotated", score.unit


def _reference(gold: str | Box) -> str:
    return gold if isinstance(gold, str) else "[" + ", ".join(f"{edge:g}" for edge in gold) + "] px"


def _warnings(view: RunView, album: Album) -> Iterator[str]:
    if len(album.wanted) > sum("pictures" in entry for entry in album.entries.values()):
        yield album.left_out()
    for task in view.tasks:
        if task.other_data:
            yield f"{task.task.name}: the data has changed: prompts or pictures differ from the run's"
    if view.missing:
        yield f"data files are missing: {listed(view.missing)}"


def _scores(folder: RunFolder) -> PrintedTable:
    """Return a line per metric of each task; values of the whole task are in the first line."""
    judged = any(folder.summary(name).judge for name in folder.tasks)
    rows = []
    for name in folder.tasks:
        summary = folder.summary(name)
        fixed, digits = summary.fixed_score, summary.decimals
        of_all = [
            "-" if fixed is None else f"{fixed:.{digits}f}",
            of_official(summary.n, summary.expected_n),
            outcome_text(summary.outcomes),
        ]
        judge = [_judge(summary.judge)] if judged else []
        rows.append([name, summary.metric, *_measured(summary.to_json(), digits), *of_all, *judge])
        further = [[name, metric, *_measured(one, digits), "-", "", ""] for metric, one in summary.metrics.items()]
        rows += [row + [""] * len(judge) for row in further]
    head = ["task", "metric", "score", "95%", "fixed scorer", "n", "outcomes"]
    return plain_table(head + ["judge"] * judged, rows)


def _judge(judge: Mapping[str, Any] | None) -> str:
    """Return the judge that a score rests on, for people."""
    return "-" if judge is None else judge["name"] or "no judge"


def _measured(measured: Mapping[str, Any], digits: int) -> list[str]:
    """Return a score and its interval as texts."""
    score, ci95 = measured["score"], measured["ci95"]
    return [
        "no local labels" if score is None else f"{score:.{digits}f}",
        measured.get("ci95_reason", "-") if ci95 is None else f"[{ci95[0]:.{digits}f}, {ci95[1]:.{digits}f}]",
    ]


def _sections(
    options: ReportOptions, card: Card, folders: Sequence[RunFolder], view: RunView, cuts: Cuts
) -> list[Section]:
    tables = document(build(card, folders))
    sections = [
        Section("Scores", tables=[_scores(folders[0])]),
        Section(tables.title, lines=[tables.legend], tables=tables.grids),
    ]
    if options.against:
        compared = compare_folders(options.run, options.against, alpha=0.05)
        head, *rows = comparison_rows(compared.comparison)
        settings = [f"setting {line}" for line in compared.comparison.settings] or ["settings: the same"]
        sections.append(Section(f"Against {folders[1].label}", lines=settings, tables=[plain_table(head, rows)]))
    launches = [f"{one['started']}, {one['ranks']} rank(s): {' '.join(one['command'])}" for one in view.record.launches]
    made = [f"evalkit {__version__}", f"fingerprint {view.record.fingerprint}", *launches]
    plots = [*score_plots(folders, card), *sample_plots([view], [cuts])]
    return [*sections, Section("Plots", plots=plots), Section("How it was made", lines=made)]
