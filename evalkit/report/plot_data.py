"""``plot``: the plots of run folders, as files or for the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from evalkit.card import Card, load_card
from evalkit.console import say
from evalkit.errors import IncompleteError, UsageError
from evalkit.formula import Formula
from evalkit.report.plot_style import Plot, image
from evalkit.report.plots import (
    Pair,
    Part,
    Series,
    bar_plot,
    iou_plot,
    scatter_plot,
    score_plot,
    subset_plot,
    trend_plot,
)
from evalkit.report.table import build
from evalkit.runs.folder import RunFolder, open_runs
from evalkit.runs.samples import Cuts, Item, RunView, layouts_of, open_view, tiles_of
from evalkit.summary import TaskSummary

FORMATS = ("svg", "png")


def write_plots(runs: Sequence[Path], out: Path, card_name: str, data_root: str | None) -> list[Path]:
    """Write every plot of run folders as SVG and PNG.

    Args:
        runs: the run folders.
        out: the folder to write into.
        card_name: the card.
        data_root: where the data is now; None takes each run's.

    Returns:
        The files.

    Raises:
        UsageError: a folder holds no run, or there is nothing to plot.
    """
    card = load_card(card_name)
    folders = open_runs(runs, card)
    views = []
    for run, folder in zip(runs, folders, strict=True):
        try:
            views.append(open_view(run, folder, card, data_root))
        except (IncompleteError, UsageError) as error:
            say(f"per-sample plots are skipped: {error}")
    plots = [*score_plots(folders, card), *sample_plots(views, [layouts_of(view) for view in views])]
    if not plots:
        raise UsageError("the runs have no scores to plot")
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for plot in plots:
        for output in FORMATS:
            path = out / f"{plot.name}.{output}"
            path.write_bytes(image(plot, output))
            written.append(path)
    return written


def score_plots(folders: Sequence[RunFolder], card: Card) -> list[Plot]:
    """Return the plots that only need scores."""
    tables = build(card, folders)
    plots = [plot for data in tables if (plot := score_plot(data))]
    plots += [plot] if (plot := bar_plot(tables, card)) else []
    names = dict.fromkeys(name for folder in folders for name in folder.tasks)
    for name in names:
        parts = {
            folder.label: _parts(folder.summary(name))
            for folder in folders
            if name in folder.tasks and folder.summary(name).subsets
        }
        plots += [subset_plot(name, parts)] if parts else []
    for number, other in enumerate(folders[1:], start=2):
        pairs, name = list(_pairs(folders[0], other)), "runs" if number == 2 else f"runs-{number}"
        plots += [scatter_plot(folders[0].label, other.label, pairs, name)] if pairs else []
    return plots


def _parts(summary: TaskSummary) -> dict[str, Part]:
    return {
        name: Part(
            one["score"], one.get("maximum", summary.maximum), one["n"], min(1, summary.decimals), one.get("ci95")
        )
        for name, one in summary.subsets.items()
    }


def _pairs(first: RunFolder, second: RunFolder) -> Iterator[Pair]:
    for name in first.tasks:
        sides = [folder.row(Formula(task=name)) for folder in (first, second)]
        if (x := sides[0]) and (y := sides[1]) and x.score is not None and y.score is not None:
            unit = first.summary(name).maximum / 100
            edges = [one.ci95 and (one.ci95[0] / unit, one.ci95[1] / unit) for one in (x, y)]
            yield Pair(name, x.score / unit, y.score / unit, edges[0], edges[1])


def sample_plots(views: Sequence[RunView], cuts: Sequence[Cuts]) -> list[Plot]:
    """Return the plots that need the samples of runs.

    Args:
        views: the runs.
        cuts: how the media of each are cut.
    """

    def boxes(_: int, item: Item) -> float | None:
        return item.boxes.iou if item.boxes else None

    def count(index: int, item: Item) -> float | None:
        return tiles_of(item, cuts[index])

    def length(_: int, item: Item) -> float | None:
        return None if item.response.outcome.failed else answer_length(item)

    plots = [iou_plot(series)] if (series := _series(views, boxes)) else []
    if series := _series(views, count):
        plots.append(trend_plot("tiles", "Score against number of tiles", "number of tiles", series))
    if series := _series(views, length):
        unit = "answer length (tokens; characters for recorded answers)"
        plots.append(trend_plot("length", "Score against answer length", unit, series))
    return plots


def answer_length(item: Item) -> int:
    """Return the length of an answer in tokens, or in characters if tokens were not counted."""
    tokens = item.response.output_tokens
    return len(item.response.response) if tokens is None else tokens


def _series(views: Sequence[RunView], x_of: Callable[[int, Item], float | None]) -> dict[str, list[Series]]:
    """Return x and value of each scored sample that has an x, by task and run."""
    series: dict[str, list[Series]] = {}
    for index, view in enumerate(views):
        for task in view.tasks:
            points = [
                (x, item.score.group, item.score.value)
                for item in task.items
                if item.score.value is not None and (x := x_of(index, item)) is not None
            ]
            if points:
                series.setdefault(task.task.name, []).append(Series(view.folder.label, points))
    return series
