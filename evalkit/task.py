"""The contract of a benchmark plugin: a file that defines ``TASKS``, a tuple of Task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.data.hub import HubSource
from evalkit.data.root import DataRoot
from evalkit.judging import Judge
from evalkit.metrics.metric import Metric, mean
from evalkit.records import Layout, Recipe, Sample, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One split of a benchmark: where its samples are and how answers are scored.

    A task is independent of models: prompts, tiles and token limits come from a card's recipe, or from ``recipe``
    for a benchmark that no card lists.

    Attributes:
        name: as typed on the command line.
        metric: the metric's standard name, for a mean over questions in percent: short for
            ``metrics=(mean(metric),)``. With ``metrics`` it is the name of the first one.
        expected_n: official number of samples; None if it is not known.
        files: annotation files in the official layout (paths start with ``data/``); all are required
            unless ``parts`` is set.
        instead: files that serve as well, if none of ``files`` is present (the Hub's Parquet for a TSV).
        load: reads the samples, in the file's order.
        score: judges one answer.
        labelled: False if the gold answers are hidden.
        parts: whether the samples of each file can be scored if other files are absent.
        shared: those of ``files`` that all parts need (gold answers).
        unit: samples with the same unit count as one question, right only if all are right.
        defects: names of the official scorer's defects that ``Score.fixed`` fixes.
        recipe: used when the card has none for this task.
        subtitles: returns what a recipe's ``{subtitles}`` stands for, from a sample and the layout of each of its media
            (None if absent): it depends on the frames that are shown.
        check: returns what ``data check`` and ``run`` say of files that the samples need besides media (subtitles). Its
            second argument says whether to read them too, which ``data check`` wants: then UsageError if one is broken.
        hub: the same samples on the Hub.
        submit: writes the file that the benchmark's server accepts, from the raw responses by id.
        get: how a user gets the data, one line.
        judge: how another model judges the answers; None without a judge.
        metrics: its metrics, the card's first; with ``metric`` alone, that mean.
        unbounded: whether a value may be more than 1, since the official scorer has no range check (MMBench-Video).
        unverified_n: whether ``expected_n`` has not been checked against the official file.

    Raises:
        ValueError: neither or both of ``metric`` and ``metrics`` are given, or two metrics share a name.
    """

    name: str
    metric: str = ""
    expected_n: int | None
    files: tuple[str, ...]
    load: Callable[[DataRoot], Iterable[Sample]]
    score: Callable[[Sample, str], Score]
    labelled: bool = True
    instead: tuple[str, ...] = ()
    parts: bool = False
    shared: tuple[str, ...] = ()
    unit: Callable[[Sample], str] | None = None
    defects: tuple[str, ...] = field(default=())
    recipe: Recipe | None = None
    subtitles: Callable[[Sample, Sequence[Layout | None]], str] | None = None
    check: Callable[[Sequence[Sample], bool], Iterable[str]] | None = None
    hub: HubSource | None = None
    submit: Callable[[DataRoot, Mapping[str, str], Path], None] | None = None
    get: str = ""
    judge: Judge | None = None
    metrics: tuple[Metric, ...] = ()
    unbounded: bool = False
    unverified_n: bool = False

    def __post_init__(self) -> None:
        if not self.metrics:
            object.__setattr__(self, "metrics", (mean(self.metric),) if self.metric else ())
        names = [one.name for one in self.metrics]
        if not names or self.metric not in ("", names[0]):
            raise ValueError(f"task {self.name}: give either metric (a mean's name) or metrics")
        if len(set(names)) < len(names):
            raise ValueError(f"task {self.name}: two metrics share a name: {', '.join(names)}")
        object.__setattr__(self, "metric", names[0])

    def files_in(self, root: DataRoot) -> tuple[str, ...]:
        """Return the annotation files that the task reads in this data root: ``instead`` if they alone are there."""
        others_only = (
            self.instead and not root.missing(self.instead) and len(root.missing(self.files)) == len(self.files)
        )
        return self.instead if others_only else self.files

    def usable_without(self, absent: Collection[str], root: DataRoot) -> bool:
        """Return whether samples can be read although these of its files are absent."""
        partly = self.parts and len(absent) < len(self.files_in(root)) and not set(absent) & set(self.shared)
        return not absent or partly
