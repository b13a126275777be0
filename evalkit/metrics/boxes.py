"""Boxes: parsing them from an answer, and their IoU, as in the official grounding script."""

from __future__ import annotations

from typing import NamedTuple

Box = tuple[float, float, float, float]

# Least IoU of a correct box (Precision@1).
THRESHOLD = 0.5


class ParsedBox(NamedTuple):
    """Four numbers of an answer and the texts they came from."""

    values: Box
    texts: tuple[str, str, str, str]


def parse_box(answer: str) -> ParsedBox | None:
    r"""Return the first box of an answer, or None if the official script falls back to (0, 0, 0, 0).

    The official pattern is ``\[*\[(.*?),(.*?),(.*?),(.*?)\]\]*`` (protocol sheet 8). On each line it can only match
    from the first ``[``: the groups end at the next three commas and the first ``]`` after them. Written
    as such a search, it takes linear time on a hostile answer of 100,000 brackets.
    """
    for line in answer.split("\n"):
        start = line.find("[")
        if start < 0:
            continue
        parts = line[start:].lstrip("[").split(",", 3)
        if len(parts) == 4 and "]" in parts[3]:
            parts[3] = parts[3][: parts[3].index("]")]
            return _floats(parts)
    return None


def _floats(parts: list[str]) -> ParsedBox | None:
    try:
        x1, y1, x2, y2 = (float(part) for part in parts)
    except ValueError:
        return None
    return ParsedBox((x1, y1, x2, y2), (parts[0], parts[1], parts[2], parts[3]))


def official_box(parsed: ParsedBox | None, width: float, height: float) -> Box:
    """Return the box in pixels: divided by 1000 if the four numbers sum to 4 or more, then scaled (float32)."""
    import numpy as np  # here: it takes time, and the list of tasks needs no numbers

    with np.errstate(all="ignore"):
        box = np.asarray(parsed.values if parsed else (0, 0, 0, 0), dtype=np.float32)
        if box.sum() >= 4:
            box = box / np.float32(1000)
        box = box * np.asarray([width, height, width, height], dtype=np.float32)
    x1, y1, x2, y2 = box.tolist()
    return x1, y1, x2, y2


def fixed_box(parsed: ParsedBox | None, width: float, height: float) -> Box:
    """Return the box in pixels with the official defects fixed: corners in order, and fractions only if written so.

    Numbers are thousandths, as the model is trained to write them, unless all are at most 1 and one has a decimal
    point.
    """
    if parsed is None:
        return 0.0, 0.0, 0.0, 0.0
    fractions = all(value <= 1 for value in parsed.values) and any("." in text for text in parsed.texts)
    unit = 1.0 if fractions else 1000.0
    xs = sorted(value / unit * width for value in parsed.values[0::2])
    ys = sorted(value / unit * height for value in parsed.values[1::2])
    return xs[0], ys[0], xs[1], ys[1]


def iou(first: Box, second: Box) -> float:
    """Return intersection over union of two (x1, y1, x2, y2) boxes in float32, as torchvision's ``box_iou`` does.

    No "+1" on widths; inverted boxes keep their signed area; NaN stays NaN (and never reaches a threshold).
    """
    import numpy as np

    with np.errstate(all="ignore"):
        a, b = (np.asarray(box, dtype=np.float32) for box in (first, second))
        sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), np.float32(0))
        overlap = sides[0] * sides[1]
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
        return float(overlap / (areas[0] + areas[1] - overlap))
