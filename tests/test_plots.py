"""Plots: every one that is promised, readable as SVG and PNG, and true to the numbers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from evalkit.card import load_card
from evalkit.report.plot_data import write_plots
from evalkit.report.plot_style import Plot, image
from evalkit.report.plots import Pair, Series, binned, iou_plot, scatter_plot, score_plot, trend_plot
from evalkit.report.table import build
from tests.test_table_formats import HOSTILE, Run, full

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawn(gold_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plots")
    write_plots([gold_run, gold_run], out, "internvl2", None)
    return out


def texts(svg: bytes) -> list[str]:
    return ["".join(item.itertext()).strip() for item in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_every_plot_is_drawn_as_svg_and_png(drawn: Path) -> None:
    names = {
        "scores-image",
        "scores-video",
        "scores-grounding",
        "card",
        "subsets-mvbench",
        "iou",
        "tiles",
        "length",
        "runs",
    }
    files = {path.name for path in drawn.iterdir()}
    assert {f"{name}.{output}" for name in names for output in ("svg", "png")} <= files
    for path in drawn.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
            assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 20, f"{path.name} is blank"


def test_sub_tasks_show_their_scores(drawn: Path, gold_run: Path) -> None:
    shown = texts((drawn / "subsets-mvbench.svg").read_bytes())
    parts = json.loads((gold_run / "scores.json").read_text())["mvbench"]["subsets"]
    assert len(parts) > 1 and set(parts) <= set(shown)
    assert {f"{part['score']:.1f}  (n {part['n']})" for part in parts.values()} <= set(shown)


def test_runs_of_one_name_are_told_apart(drawn: Path, gold_run: Path) -> None:
    shown = texts((drawn / "card.svg").read_bytes())
    assert f"answers ({gold_run.name}) #1" in shown and f"answers ({gold_run.name}) #2" in shown


def test_published_and_own_score_stand_where_they_belong() -> None:
    card = load_card("internvl2")
    (plot, *_) = [score_plot(data) for data in build(card, [Run("甲 $x", mvbench=full(50.0))]) if score_plot(data)]
    assert plot is not None
    axes: Any = plot.draw().axes[0]
    places = [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() in ("D", "o")]
    assert places == [57.9, 50.0], "the published number, then ours"
    (bar,) = [segment for item in axes.collections for segment in item.get_segments()]
    assert bar[:, 0].tolist() == [48.5, 51.5]
    assert "甲 $x" in texts(image(plot, "svg")), "a label is text, whatever it looks like"


def test_iou_histogram_has_the_line_of_a_hit() -> None:
    points = [(iou, "g", float(iou >= 0.5)) for iou in (0.0, 0.02, 0.49, 0.5, 0.97)]
    axes: Any = iou_plot({"refcoco_val": [Series("run", points)]}).draw().axes[0]
    assert [line.get_xdata() for line in axes.get_lines()] == [[0.5, 0.5]]
    outline = axes.patches[0].get_xy()
    assert outline[:, 1].max() == 2, "two of the five lie below 0.05"


def test_groups_of_equal_x_stay_together_and_hold_every_sample() -> None:
    few = list(binned([(1, "a", 1.0), (1, "b", 0.0), (7, "c", 1.0)]))
    assert [(x, mean) for x, mean, _ in few] == [(1.0, 50.0), (7.0, 100.0)]
    assert few[0][2] == (0.0, 100.0) and few[1][2] is None, "one media group has no interval"
    many = list(binned([(x // 2, f"g{x}", x % 2) for x in range(100)]))
    assert len(many) == 6 and [mean for _, mean, _ in many] == [50.0] * 6
    skewed = list(binned([(0 if x < 90 else x, f"g{x}", 1.0) for x in range(100)]))
    assert skewed[0][0] == 0.0 and len(skewed) >= 2


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_any_label_can_be_drawn_and_twice_the_same(theme: str) -> None:
    pairs = [Pair(HOSTILE, 0.0, 100.0, (0.0, 0.0), None), Pair("b", 50.0, 49.0, (51.0, 52.0), (40.0, 60.0))]
    plots: list[Plot] = [
        scatter_plot(HOSTILE, "\\frac{$", pairs),
        trend_plot("tiles", HOSTILE, "tiles", {HOSTILE: [Series(HOSTILE, [(1, "a", 1.0)])]}),
    ]
    for plot in plots:
        assert image(plot, "svg", theme) == image(plot, "svg", theme)
        Image.open(io.BytesIO(image(plot, "png", theme))).verify()
