"""ChartQA in the official layout: drawn bar, line and pie charts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw

from evalkit.demo.drawing import INK, PAPER, draw_text, paper, spread
from evalkit.demo.files import save_image, write_jsonl
from evalkit.demo.words import COLOURS, GOODS, PLACES, RGB

SIZE = (480, 360)
QUESTIONS_A_CHART = 3
_PLOT = (52, 64, 464, 308)  # left, top, right, bottom of the plot
_GRID = (215, 215, 220)
_MEASURES = ("Sales", "Visitors", "Orders", "Members")


class Chart(NamedTuple):
    """What a chart shows.

    Attributes:
        measure: what is counted.
        labels: of the bars, points or slices.
        values: one per label.
        colours: colour name of each bar or slice; a line has one for all.
    """

    measure: str
    labels: tuple[str, ...]
    values: tuple[int, ...]
    colours: tuple[str, ...]


class Drawn(NamedTuple):
    """A chart's picture and the questions and answers about it."""

    image: Image.Image
    human: list[tuple[str, str]]
    augmented: list[tuple[str, str]]


def _axes(title: str, top_value: int) -> Image.Image:
    """Return a titled plot with a scale from 0 to ``top_value``."""
    image = paper(SIZE)
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = _PLOT
    draw_text(image, (SIZE[0] / 2, 28), title, 22, anchor="mm", width=SIZE[0] - 30)
    for tick in range(0, top_value + 1, 20):
        y = bottom - (bottom - top) * tick / top_value
        draw.line((left, y, right, y), fill=_GRID)
        draw_text(image, (left - 8, y), str(tick), 14, anchor="rm")
    draw.line((left, top, left, bottom, right, bottom), fill=INK, width=2)
    return image


def _height(value: int, top_value: int) -> float:
    _, top, _, bottom = _PLOT
    return bottom - (bottom - top) * value / top_value


def _scale_top(values: tuple[int, ...]) -> int:
    """Return the scale's end: room is left above the highest value for its number."""
    return (max(values) + 12 + 19) // 20 * 20


def draw_bars(chart: Chart) -> Image.Image:
    """Draw one bar a label, its value on top."""
    top_value = _scale_top(chart.values)
    image = _axes(f"{chart.measure} by product", top_value)
    draw = ImageDraw.Draw(image)
    left, _, right, bottom = _PLOT
    step = (right - left) / len(chart.labels)
    middles = spread(left, right, len(chart.labels))
    for x, label, value, colour in zip(middles, chart.labels, chart.values, chart.colours, strict=True):
        y = _height(value, top_value)
        draw.rectangle((x - step * 0.3, y, x + step * 0.3, bottom - 1), fill=RGB[colour])
        draw_text(image, (x, y - 12), str(value), 17, anchor="mm", halo=PAPER)
        draw_text(image, (x, bottom + 20), label, 17, anchor="mm", width=step - 6)
    return image


def draw_line(chart: Chart) -> Image.Image:
    """Draw points joined by a line, values above them."""
    top_value = _scale_top(chart.values)
    image = _axes(f"{chart.measure} by year", top_value)
    draw = ImageDraw.Draw(image)
    left, _, right, bottom = _PLOT
    points = [
        (x, _height(value, top_value))
        for x, value in zip(spread(left, right, len(chart.labels)), chart.values, strict=True)
    ]
    draw.line(points, fill=RGB[chart.colours[0]], width=3, joint="curve")
    for (x, y), label, value in zip(points, chart.labels, chart.values, strict=True):
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=RGB[chart.colours[0]])
        draw_text(image, (x, y - 18), str(value), 17, anchor="mm", halo=PAPER)
        draw_text(image, (x, bottom + 20), label, 17, anchor="mm")
    return image


def draw_pie(chart: Chart) -> Image.Image:
    """Draw slices with their values inside and a legend on the right."""
    image = paper(SIZE)
    big = paper((440, 440))
    draw = ImageDraw.Draw(big)
    total, angle = sum(chart.values), -90.0
    for value, colour in zip(chart.values, chart.colours, strict=True):
        end = angle + 360 * value / total
        draw.pieslice((4, 4, 436, 436), angle, end, fill=RGB[colour], outline=(255, 255, 255), width=4)
        angle = end
    image.paste(big.reduce(2), (30, 90))
    draw_text(image, (SIZE[0] / 2, 36), f"{chart.measure} by city", 22, anchor="mm")
    rows = zip(spread(100, 310, len(chart.labels)), chart.labels, chart.values, chart.colours, strict=True)
    for y, label, value, colour in rows:
        image.paste(RGB[colour], (280, round(y) - 10, 300, round(y) + 10))
        draw_text(image, (310, y), f"{label}: {value}", 19, anchor="lm", width=160)
    return image


def _common_questions(chart: Chart, noun: str) -> list[tuple[str, str]]:
    """Return questions that need the whole chart."""
    order = sorted(range(len(chart.labels)), key=lambda place: chart.values[place])
    low, high = order[0], order[-1]
    measure = chart.measure.lower()
    return [
        (f"Which {noun} has the highest value?", chart.labels[high]),
        (f"Which {noun} has the lowest value?", chart.labels[low]),
        (
            f"What is the difference in {measure} between {chart.labels[high]} and {chart.labels[low]}?",
            str(chart.values[high] - chart.values[low]),
        ),
        (f"What is the sum of the highest and the lowest value of {measure}?",
         str(chart.values[high] + chart.values[low])),
    ]  # fmt: skip


def _colour_questions(chart: Chart, noun: str, part: str) -> list[tuple[str, str]]:
    pairs = list(zip(chart.labels, chart.values, chart.colours, strict=True))
    return [(f"Which {noun} does the {colour} {part} show?", label) for label, _, colour in pairs] + [
        (f"What is the value of the {colour} {part}?", str(value)) for _, value, colour in pairs
    ]


def bars(rng: Random) -> Drawn:
    """Return a bar chart."""
    chart = _chart(rng, tuple(rng.sample(GOODS, rng.randint(3, 5))))
    human = [
        *_common_questions(chart, "product"),
        ("How many bars are shown in the chart?", str(len(chart.labels))),
        *_colour_questions(chart, "product", "bar"),
    ]
    return Drawn(draw_bars(chart), human, _value_questions(chart, "What were the {measure} of {label}?"))


def line(rng: Random) -> Drawn:
    """Return a line chart over years."""
    first = rng.randint(1995, 2014)
    chart = _chart(rng, tuple(str(first + place) for place in range(5)))
    human = [*_common_questions(chart, "year"), ("What is the color of the line?", chart.colours[0])]
    return Drawn(draw_line(chart), human, _value_questions(chart, "What were the {measure} in {label}?"))


def pie(rng: Random) -> Drawn:
    """Return a pie chart."""
    chart = _chart(rng, tuple(rng.sample(PLACES, rng.randint(3, 5))))
    human = [*_common_questions(chart, "city"), *_colour_questions(chart, "city", "slice")]
    return Drawn(draw_pie(chart), human, _value_questions(chart, "How many {measure} did {label} have?"))


def _chart(rng: Random, labels: tuple[str, ...]) -> Chart:
    count = len(labels)
    # Distinct values, so that "the highest" is one.
    values = tuple(rng.sample(range(8, 96), count))
    return Chart(rng.choice(_MEASURES), labels, values, tuple(rng.sample(COLOURS, count)))


def _value_questions(chart: Chart, template: str) -> list[tuple[str, str]]:
    return [
        (template.format(measure=chart.measure.lower(), label=label), str(value))
        for label, value in zip(chart.labels, chart.values, strict=True)
    ]


# Kind of chart and the start of the official names of its images in the augmented half.
CHARTS: tuple[tuple[Callable[[Random], Drawn], str], ...] = (
    (bars, "two_col_"),
    (line, "multi_col_"),
    (pie, "two_col_"),
)


def write_chartqa(data: Path, count: int, rng: Random) -> list[str]:
    """Write both halves.

    Args:
        data: the data folder.
        count: questions a half.
        rng: source of all chance.

    Returns:
        The texts written.
    """
    return [text for half in ("human", "augmented") for text in _write_half(data / "chartqa", half, count, rng)]


def _write_half(folder: Path, half: str, count: int, rng: Random) -> list[str]:
    rows: list[dict[str, str]] = []
    number = 0
    while len(rows) < count:
        make, prefix = CHARTS[number % len(CHARTS)]
        drawn = make(rng)
        # Numbers rise with the chart, so that no two images have the same name.
        name = f"{prefix}{number * 100 + rng.randint(1, 99)}.png"
        if half == "human":
            name = f"{number + 10}{rng.randint(10**9, 10**10 - 1)}.png"
        save_image(folder / "ChartQA Dataset" / "test" / "png" / name, drawn.image)
        questions = drawn.human if half == "human" else drawn.augmented
        for question, answer in rng.sample(questions, min(QUESTIONS_A_CHART, count - len(rows))):
            image = f"data/chartqa/ChartQA Dataset/test/png/{name}"
            rows.append({"image": image, "question": question, "answer": answer})
        number += 1
    write_jsonl(folder / f"test_{half}.jsonl", rows)
    return [text for row in rows for text in (row["question"], row["answer"])]
