"""The look of plots: colours, themes, fonts; a plot as the bytes of a file."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, distinct under common colour blindness; markers and hatches in the same order.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "v", "P", "X")
LINES = ("-", "--", ":", "-.")
HATCHES = ("", "//", "..", "xx", "--", "++")
THEMES = {"light": ("#ffffff", "#1b1f24", "#9aa0a6"), "dark": ("#16191d", "#e6e8ea", "#6b7178")}
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Microsoft YaHei", "PingFang SC")


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot, drawn on demand.

    Attributes:
        name: of its files.
        title: its heading.
        about: what it shows, in words: caption and alternative text.
        draw: returns it, inside a theme.
    """

    name: str
    title: str
    about: str
    draw: Callable[[], Figure]


def image(plot: Plot, output: str, theme: str = "light") -> bytes:
    """Return a plot as the bytes of an ``svg`` or ``png`` file; the same input gives the same bytes."""
    with _themed(theme), warnings.catch_warnings():
        # An SVG's text uses the viewer's fonts; in a PNG, a box stands for a glyph missing from all fonts here.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = plot.draw()
        figure.suptitle(plot.title, fontsize="medium", fontweight="bold")
        file = io.BytesIO()
        metadata: dict[str, Any] = {"Date": None} if output == "svg" else {"Software": None}
        figure.savefig(file, format=output, metadata=metadata, dpi=150)
    return file.getvalue()


@contextmanager
def _themed(theme: str) -> Iterator[None]:
    from matplotlib import font_manager, rc_context

    paper, ink, grey = THEMES[theme]
    known = set(font_manager.get_font_names())
    settings: dict[str, Any] = {
        "font.family": [name for name in FONTS if name in known] or ["sans-serif"],
        "font.size": 9,
        "svg.fonttype": "none",  # text stays text: small, sharp and searchable
        "svg.hashsalt": "evalkit",
        "text.parse_math": False,  # a run's label may hold dollar signs
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.alpha": 0.35,
        "grid.color": grey,
        "hatch.color": paper,
        "legend.frameon": False,
        "figure.facecolor": paper,
        "axes.facecolor": paper,
        "savefig.facecolor": paper,
    }
    inks = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
    themed: Any = settings | dict.fromkeys(inks, ink)  # the keys' own type changes with matplotlib
    with rc_context(themed):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches with automatic layout."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def marker_style(index: int) -> dict[str, Any]:
    """Return colour and marker of a series by its index."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def bar_style(index: int) -> dict[str, Any]:
    """Return colour and hatch of the bars by their index."""
    return {"color": COLOURS[index % len(COLOURS)], "hatch": HATCHES[index % len(HATCHES)]}
