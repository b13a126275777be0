"""Plots of scores, drawn by matplotlib without a display; colours always come with a marker, hatch or line style."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evalkit.card import Card, Row
from evalkit.metrics.boxes import THRESHOLD
from evalkit.metrics.statistics import interval
from evalkit.metrics.sums import question_sums
from evalkit.report.plot_style import COLOURS, LINES, MARKERS, Plot, bar_style, marker_style, new_figure
from evalkit.report.table import TableData, published_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_COLUMNS = 3


class Series(NamedTuple):
    """One run's points of one task.

    Attributes:
        label: the run.
        points: (x, media group, value) of each sample; x is a number of tiles, tokens or an IoU.
    """

    label: str
    points: list[tuple[float, str, float]]


class Pair(NamedTuple):
    """One task of two runs: scores and their intervals, percent of the metric's maximum."""

    task: str
    x: float
    y: float
    x_ci: tuple[float, float] | None
    y_ci: tuple[float, float] | None


def _errors(score: float, ci95: tuple[float, float] | None) -> tuple[float, float]:
    """Return the lengths of an error bar; a mean on the edge of its interval must not make one negative."""
    return (0.0, 0.0) if ci95 is None else (max(0.0, score - ci95[0]), max(0.0, ci95[1] - score))


def _scored_rows(data: TableData) -> list[int]:
    return [
        index
        for index in range(len(data.table.rows))
        if any((result := cells[index].result) and result.score is not None for _, _, cells in data.runs)
    ]


def _share(row: Row, value: float) -> float:
    """Return a score as percent of the row's maximum, so that points and percents fit one axis."""
    return 100 * value / row.maximum


def score_plot(data: TableData) -> Plot | None:
    """Return the runs' scores with 95 % intervals next to the published number; None if no row was run."""
    rows = _scored_rows(data)
    if not rows:
        return None

    def draw() -> Figure:
        figure = new_figure(8, 1.2 + 0.42 * len(rows))
        axes = figure.subplots()
        for line, index in enumerate(rows):
            _score_line(axes, data, index, -line)
        axes.set_yticks([-line for line in range(len(rows))], [data.table.rows[index].label for index in rows])
        axes.set_xlim(-2, 102)  # markers on the edge are not clipped
        axes.set_ylim(0.6 - len(rows), 0.6)
        axes.set_xlabel("percent of the maximum")
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
        return figure

    about = "Score of each run with its 95% interval"
    about += f"; the diamond is the published number of {data.card.model}." if data.card.model else "."
    return Plot(f"scores-{data.table.id}", f"{data.table.title}: scores and intervals", about, draw)


def _score_line(axes: Axes, data: TableData, index: int, line: float) -> None:
    row = data.table.rows[index]
    published = published_value(row, data.card)
    ink = axes.xaxis.label.get_color()
    if published is not None:
        name = f"{data.card.model}, published"
        axes.plot(_share(row, published), line, "D", mfc="none", mec=ink, ms=7, ls="", label=name)
    for number, (label, _, cells) in enumerate(data.runs):
        result = cells[index].result
        if result is None or result.score is None:
            continue
        error = [[_share(row, side)] for side in _errors(result.score, result.ci95)]
        height = line + 0.22 * ((number + 0.5) / len(data.runs) - 0.5) * (len(data.runs) > 1) * 2
        axes.errorbar(
            _share(row, result.score), height, xerr=error, ls="", capsize=3, label=label, **marker_style(number)
        )


def bar_plot(tables: Sequence[TableData], card: Card) -> Plot | None:
    """Return all scored rows of the card as bars, the published model first; None if no row was run."""
    rows = [(data, index) for data in tables if not data.other for index in _scored_rows(data)]
    if not rows:
        return None
    labels = [label for label, _, _ in tables[0].runs]
    offset = int(card.model is not None)  # the published bars stand before the runs'

    def draw() -> Figure:
        figure = new_figure(min(11.0, max(6.0, 1.5 + 0.2 * len(rows) * (offset + len(labels)))), 4.2)
        axes = figure.subplots()
        step = 0.8 / (offset + len(labels))
        published = [_share(data.table.rows[at], published_value(data.table.rows[at], card) or 0) for data, at in rows]
        positions = np.arange(len(rows))
        ink = axes.xaxis.label.get_color()
        if card.model is not None:
            axes.bar(positions, published, step, label=f"{card.model}, published", fc="none", ec=ink)
        for number, label in enumerate(labels):
            results = [data.runs[number][2][at].result for data, at in rows]
            heights = [
                _share(data.table.rows[at], result.score) if result and result.score is not None else 0.0
                for result, (data, at) in zip(results, rows, strict=True)
            ]
            axes.bar(positions + (number + offset) * step, heights, step, label=label, **bar_style(number))
        names = [data.table.rows[at].label for data, at in rows]
        axes.set_xticks(positions + step * (len(labels) + offset - 1) / 2, names, rotation=40, ha="right")
        axes.set_ylim(0, 100)
        axes.set_ylabel("percent of the maximum")
        figure.legend(loc="outside lower center", ncols=3)
        return figure

    about = "All rows of the card that a run has scores of"
    about += ", next to the published numbers." if card.model else "."
    return Plot("card", f"{card.title}: all rows that were run", about, draw)


class Part(NamedTuple):
    """A sub-task or category of one run: its score, what it would be if all answers were right, n and interval."""

    score: float
    maximum: float
    n: int
    decimals: int = 1
    ci95: tuple[float, float] | None = None

    @property
    def percent(self) -> float:
        """The score in percent of the maximum."""
        return self._percent(self.score)

    @property
    def whiskers(self) -> tuple[float, float]:
        """Lengths of the interval's sides, percent of the maximum."""
        low, high = self.ci95 or (self.score, self.score)
        return max(0.0, self.percent - self._percent(low)), max(0.0, self._percent(high) - self.percent)

    def _percent(self, value: float) -> float:
        return 100 * value / self.maximum if self.maximum else 0.0


def subset_plot(task: str, parts: Mapping[str, Mapping[str, Part]]) -> Plot:
    """Return the score of each sub-task or category, bars as long as its percentage of the maximum.

    Args:
        task: its name.
        parts: of each run, by subset.
    """
    names = list(dict.fromkeys(name for own in parts.values() for name in own))

    def draw() -> Figure:
        figure = new_figure(8, 1.4 + 0.26 * len(names) * max(1, len(parts)))
        axes = figure.subplots()
        step = 0.8 / len(parts)
        for number, (label, own) in enumerate(parts.items()):
            positions = [-(line + number * step) for line in range(len(names))]
            shown = [own.get(name, Part(0.0, 100.0, 0)) for name in names]
            whiskers = list(zip(*(part.whiskers for part in shown), strict=True))
            axes.barh(
                positions, [part.percent for part in shown], step, label=label, xerr=whiskers, **bar_style(number)
            )
            for position, part in zip(positions, shown, strict=True):
                text = f"{part.score:.{part.decimals}f}  (n {part.n})"
                end = part.percent + part.whiskers[1], position
                axes.annotate(text, end, (3, 0), textcoords="offset points", va="center")
        axes.set_yticks([-(line + step * (len(parts) - 1) / 2) for line in range(len(names))], names)
        axes.set_xlim(0, 118)  # space for the numbers next to full bars
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("score, percent of the maximum")
        figure.legend(loc="outside lower center", ncols=3)
        return figure

    return Plot(
        f"subsets-{task}",
        f"{task}: sub-tasks and categories",
        "Score of each part of the task, with n and 95% interval.",
        draw,
    )


def _panels(figure: Figure, count: int) -> list[Axes]:
    columns = min(PANEL_COLUMNS, count)
    grid = figure.subplots(math.ceil(count / columns), columns, squeeze=False)
    flat = [axes for row in grid for axes in row]
    for axes in flat[count:]:
        axes.remove()
    return flat[:count]


def iou_plot(tasks: Mapping[str, Sequence[Series]]) -> Plot:
    """Return a histogram of the IoU of each grounding task, with the line from which a box counts."""

    def panel(axes: Axes, _: str, series: Sequence[Series]) -> None:
        for index, (label, points) in enumerate(series):
            style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "ls": LINES[index % len(LINES)]}
            values = [x for x, _, _ in points]
            axes.hist(values, bins=20, range=(0, 1), histtype="step", lw=1.6, label=label, **style)
        axes.axvline(THRESHOLD, color=axes.xaxis.label.get_color(), lw=1, ls="--")
        axes.annotate(
            f"{THRESHOLD}", (THRESHOLD, 1), (3, -9), xycoords=("data", "axes fraction"), textcoords="offset points"
        )
        axes.set_xlim(0, 1)

    about = f"IoU of predicted and reference box; from {THRESHOLD} (dashed line) it counts. No box counts as 0."
    return _panel_plot("iou", "IoU of grounding answers", about, tasks, panel, ("IoU", "samples"))


def trend_plot(name: str, title: str, unit: str, tasks: Mapping[str, Sequence[Series]]) -> Plot:
    """Return the mean value of samples with about the same x (number of tiles, answer length), per task.

    Args:
        name: of its files.
        title: its heading.
        unit: what x is.
        tasks: series of each task.
    """
    from matplotlib.ticker import MaxNLocator

    # Once, not for each theme.
    groups = {task: [list(binned(one.points)) for one in series] for task, series in tasks.items()}

    def panel(axes: Axes, task: str, series: Sequence[Series]) -> None:
        for index, (one, bins) in enumerate(zip(series, groups[task], strict=True)):
            errors = np.transpose([_errors(mean, ci95) for _, mean, ci95 in bins])
            axes.errorbar(
                [x for x, _, _ in bins], [mean for _, mean, _ in bins], yerr=errors, capsize=3, label=one.label,
                ls=LINES[index % len(LINES)], **marker_style(index),
            )  # fmt: skip
        axes.set_ylim(-4, max(104, axes.get_ylim()[1]))  # beyond only if a task's values are unbounded
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    about = f"Mean value of samples with about the same {unit}, with its 95% interval, in groups of equal size."
    return _panel_plot(name, title, about, tasks, panel, (unit, "mean value, %"))


def binned(
    points: Sequence[tuple[float, str, float]], most: int = 6
) -> Iterator[tuple[float, float, tuple[float, float] | None]]:
    """Yield mean x, mean value in percent and its interval of samples grouped by x.

    Few distinct x are groups by themselves; many are cut at quantiles, equal x never apart.

    Args:
        points: (x, media group, value).
        most: largest number of groups.
    """
    xs = np.array([x for x, _, _ in points])
    distinct = np.unique(xs)
    if len(distinct) <= most:
        edges = distinct[1:]
    else:  # if more than one quantile share the lowest x, they are the first group
        quantiles = np.unique(np.quantile(xs, np.linspace(0, 1, most + 1)[1:-1]))
        edges = quantiles[quantiles > distinct[0]] if (quantiles > distinct[0]).any() else distinct[1:2]
    group = np.searchsorted(edges, xs, side="right")
    for number in np.unique(group):
        chosen = [(cluster, value) for (_, cluster, value), own in zip(points, group, strict=True) if own == number]
        sums, exact = question_sums(chosen), max(value for _, value in chosen) <= 1
        yield float(xs[group == number].mean()), sums.score, interval({"": sums}, exact=exact, resamples=2000).ci95


def _panel_plot(
    name: str,
    title: str,
    about: str,
    tasks: Mapping[str, Sequence[Series]],
    panel: Callable[[Axes, str, Sequence[Series]], None],
    labels: tuple[str, str],
) -> Plot:
    """Return a plot with one panel per task and one legend."""

    def draw() -> Figure:
        columns = min(PANEL_COLUMNS, len(tasks))
        figure = new_figure(0.8 + 2.6 * columns, 1.0 + 2.1 * math.ceil(len(tasks) / columns))
        panels = _panels(figure, len(tasks))
        for index, (axes, (task, series)) in enumerate(zip(panels, tasks.items(), strict=True)):
            panel(axes, task, series)
            axes.set_title(task, fontsize="medium")
            if index >= len(tasks) - columns:  # nothing below it
                axes.set_xlabel(labels[0])
            if index % columns == 0:
                axes.set_ylabel(labels[1])
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
        return figure

    return Plot(name, title, about, draw)


def scatter_plot(x_label: str, y_label: str, pairs: Sequence[Pair], name: str = "runs") -> Plot:
    """Return the scores of one run against those of another, task by task."""

    def draw() -> Figure:
        figure = new_figure(6.4, 5.6)
        axes = figure.subplots()
        axes.axline((0, 0), slope=1, color=axes.xaxis.label.get_color(), lw=1, ls="--")
        for index, pair in enumerate(pairs):
            errors = [np.transpose([_errors(pair.x, pair.x_ci)]), np.transpose([_errors(pair.y, pair.y_ci)])]
            style = marker_style(index) | {"marker": MARKERS[index // len(COLOURS) % len(MARKERS)]}
            axes.errorbar(pair.x, pair.y, xerr=errors[0], yerr=errors[1], ls="", label=pair.task, lw=0.8, **style)
        axes.set_xlim(-2, 102)
        axes.set_ylim(-2, 102)
        axes.set_aspect("equal")
        axes.set_xlabel(f"{x_label}, % of the maximum")
        axes.set_ylabel(f"{y_label}, % of the maximum")
        figure.legend(loc="outside right upper", fontsize="small")
        return figure

    about = f"Each task's score in {y_label} against {x_label}; above the dashed line {y_label} is better."
    return Plot(name, "Run to run", about, draw)
