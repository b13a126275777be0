"""Drawing: smooth shapes with known boxes, and text in Pillow's own font, so that nothing depends on the machine.

What is drawn is recorded in ``image.info["marks"]`` (no file format writes it): the tiny model's vision encoder
learns from these marks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

Rgb = tuple[int, int, int]
Box = tuple[int, int, int, int]
Point = tuple[float, float]


class Mark(NamedTuple):
    """A mark of what is where in an image.

    Attributes:
        label: a word, a digit with its place in the number, a shape, its colour or one of its edges.
        x: of its middle (a word: of its first letter), in pixels.
        y: likewise.
    """

    label: str
    x: float
    y: float


EDGE, EDGE_STEPS = "edge ", 24  # labels of where a shape's left, top, right and bottom edges are in the whole image
WHOLE = "whole "  # before labels of what only the whole image shows
INK: Rgb = (30, 30, 35)
PAPER: Rgb = (252, 252, 249)
_SMOOTH = 4  # masks are drawn this many times larger and reduced


def _ring(corners: int, inner: float = 1.0) -> tuple[Point, ...]:
    """Return a polygon with its first corner on top, every other corner at ``inner`` radius, filling the unit box."""
    radii = [1.0 if place % 2 == 0 else inner for place in range(corners)]
    angles = [2 * math.pi * place / corners for place in range(corners)]
    points = [(r * math.sin(a), -r * math.cos(a)) for r, a in zip(radii, angles, strict=True)]
    (x0, x1), (y0, y1) = ((min(values), max(values)) for values in zip(*points, strict=True))
    return tuple(((x - x0) / (x1 - x0), (y - y0) / (y1 - y0)) for x, y in points)


# Outlines in the unit box; each holds the middle of its box, which the tests look at.
OUTLINES: dict[str, tuple[Point, ...]] = {
    "circle": _ring(72),
    "square": ((0, 0), (1, 0), (1, 1), (0, 1)),
    "triangle": ((0.5, 0), (1, 1), (0, 1)),
    "diamond": ((0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)),
    "star": _ring(10, 0.45),
}


def draw_shape(image: Image.Image, shape: str, colour: Rgb, box: Box, angle: float = 0.0) -> None:
    """Fill a shape.

    Args:
        image: what to draw on.
        shape: a key of ``OUTLINES``.
        colour: its colour.
        box: left, top, right, bottom in pixels, right and bottom exclusive; the shape fills it.
        angle: turn about the middle in degrees, clockwise; the corners of a turned shape stick out of the box.
    """
    left, top, right, bottom = box
    mask, margin = _mask(shape, right - left, bottom - top, angle)
    image.paste(colour, (left - margin, top - margin), mask)
    edges = (left / image.width, top / image.height, right / image.width, bottom / image.height)
    bounds = [f"{EDGE}{place} {round(EDGE_STEPS * edge)}" for place, edge in enumerate(edges)]
    for label in (shape, str(colour), *bounds):
        mark(image, label, (left + right) / 2, (top + bottom) / 2)


def mark(image: Image.Image, label: str, x: float, y: float) -> None:
    """Record what is at a position in pixels."""
    image.info.setdefault("marks", []).append(Mark(label, x, y))


def marks(image: Image.Image) -> list[Mark]:
    """Return the marks of an image."""
    found: list[Mark] = image.info.get("marks", [])
    return found


@lru_cache(maxsize=512)
def _mask(shape: str, width: int, height: int, angle: float) -> tuple[Image.Image, int]:
    """Return a shape's mask and how far it reaches beyond the box on each side."""
    margin = (max(width, height) + 3) // 4 if angle else 0
    mask = Image.new("L", ((width + 2 * margin) * _SMOOTH, (height + 2 * margin) * _SMOOTH))
    # Pillow fills the pixels of the last row and column too, hence one less.
    across, down = width * _SMOOTH - 1, height * _SMOOTH - 1
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    middle_x, middle_y = (mask.width - 1) / 2, (mask.height - 1) / 2
    points = []
    for x, y in OUTLINES[shape]:
        dx, dy = (x - 0.5) * across, (y - 0.5) * down
        points.append((middle_x + dx * cosine - dy * sine, middle_y + dx * sine + dy * cosine))
    ImageDraw.Draw(mask).polygon(points, fill=255)
    return mask.reduce(_SMOOTH), margin


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's bundled font.

    Raises:
        RuntimeError: this Pillow was built without FreeType.
    """
    found = ImageFont.load_default(size=size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow has no FreeType support, without which the demo cannot draw text")
    return found


def fitting_font(text: str, width: float, size: int) -> ImageFont.FreeTypeFont:
    """Return the largest font up to ``size`` in which the text is at most ``width`` pixels wide."""
    while size > 8 and font(size).getlength(text) > width:
        size -= 1
    return font(size)


def draw_text(
    image: Image.Image,
    at: tuple[float, float],
    text: str,
    size: int,
    colour: Rgb = INK,
    anchor: str = "la",
    width: float = math.inf,
    halo: Rgb | None = None,
) -> None:
    """Write one line, in a smaller font if it would be wider than ``width``.

    Args:
        image: what to write on.
        at: the anchor's position.
        text: the line.
        size: font size in pixels.
        colour: its colour.
        anchor: Pillow's two letters: left/middle/right, then ascender/middle/baseline.
        width: maximum width in pixels.
        halo: colour of a rim that sets it off from what it covers; None: no rim.
    """
    rim = 3 if halo else 0
    found = fitting_font(text, width, size)
    draw = ImageDraw.Draw(image)
    draw.text(at, text, colour, found, anchor, stroke_width=rim, stroke_fill=halo)
    left, top, _, bottom = draw.textbbox(at, text, found, anchor)
    for match in re.finditer(r"\d+|[A-Za-z]+", text):
        letters = [match[0][:1]] if match[0].isalpha() else match[0]
        for place, letter in enumerate(letters):
            x = left + found.getlength(text[: match.start() + place]) + found.getlength(letter) / 2
            mark(image, match[0] if letter.isalpha() else f"{letter} at {place}", x, (top + bottom) / 2)


def wrap(text: str, width: float, size: int) -> list[str]:
    """Break a text into lines of at most ``width`` pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return [line for line in lines if line]


def paper(size: tuple[int, int], colour: Rgb = PAPER) -> Image.Image:
    """Return a blank RGB image."""
    return Image.new("RGB", size, colour)


def centred(x: float, y: float, width: float, height: float | None = None) -> Box:
    """Return the box of a size around a point."""
    half_width, half_height = width / 2, (width if height is None else height) / 2
    return round(x - half_width), round(y - half_height), round(x + half_width), round(y + half_height)


def spread(start: float, end: float, count: int) -> list[float]:
    """Return the middles of ``count`` equal parts."""
    step = (end - start) / count
    return [start + step * (place + 0.5) for place in range(count)]


def wall(size: tuple[int, int], upper: Rgb, lower: Rgb, horizon: float) -> Image.Image:
    """Return a plain room: a wall and, below ``horizon`` (part of the height), a floor."""
    image = paper(size, upper)
    image.paste(lower, (0, round(size[1] * horizon), *size))
    return image


def polygon(image: Image.Image, points: Sequence[Point], colour: Rgb) -> None:
    """Fill a polygon given in pixels."""
    ImageDraw.Draw(image).polygon(list(points), fill=colour)
