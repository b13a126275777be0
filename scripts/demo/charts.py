"""ChartQA in the official layout: drawn bar, line and pie charts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw

from scripts.demo.drawing import INK, draw_text, mark, paper
from scripts.demo.files import save_image, write_jsonl
from scripts.demo.words import CITIES, COLOURS, GOODS, MONTHS, RGB

SIZE = (236, 236)
LINE_SIZE = (354, 236)
QUESTIONS_A_CHART = 3
_TOKEN = SIZE[1] / 8  # side of an image token; a value stands two of them to the right of its label
_VALUE = 2 * _TOKEN + 3
_TOP, _BOTTOM = 60, 190  # of the points
_GRID = (215, 215, 220)
_MEASURES = ("Sales", "Orders", "Visits")


class Chart(NamedTuple):
    """What a chart shows.

    Attributes:
        measure: what is counted.
        labels: of the bars, points or slices.
        values: one per label, 10..99.
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


def draw_bars(chart: Chart) -> Image.Image:
    """Draw one bar per label, from left to right, its name and value before it."""
    image = _titled(chart, SIZE)
    draw = ImageDraw.Draw(image)
    for place, value in enumerate(chart.values):
        middle = (2.5 + 2 * place) * _TOKEN
        _key(image, chart, place, middle)
        draw.rectangle((122, middle - 18, 122 + 1.1 * value, middle + 18), fill=RGB[chart.colours[place]])
    draw.line((121, 52, 121, SIZE[1] - 8), fill=INK, width=2)
    return image


def draw_line(chart: Chart) -> Image.Image:
    """Draw points joined by a line, names and values below them."""
    image = _titled(chart, LINE_SIZE)
    draw = ImageDraw.Draw(image)
    for value in (0, 50, 100):
        draw.line((6, _height(value), LINE_SIZE[0] - 6, _height(value)), fill=_GRID)
    starts = [place * LINE_SIZE[0] / len(chart.labels) for place in range(len(chart.labels))]
    points = [(start + 2 * _TOKEN, _height(value)) for start, value in zip(starts, chart.values, strict=True)]
    draw.line(points, fill=RGB[chart.colours[0]], width=4, joint="curve")
    for (x, y), start, label, value in zip(points, starts, chart.labels, chart.values, strict=True):
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=RGB[chart.colours[0]])
        mark(image, str(RGB[chart.colours[0]]), x + 1, y)
        draw_text(image, (start + 3, 7.5 * _TOKEN), label, 22, anchor="lm", width=50)
        draw_text(image, (start + _VALUE, 7.5 * _TOKEN), str(value), 24, anchor="lm")
    return image


def draw_pie(chart: Chart) -> Image.Image:
    """Draw slices and below them a key with the values."""
    image = _titled(chart, SIZE)
    big = paper((432, 432))
    draw = ImageDraw.Draw(big)
    total, angle = sum(chart.values), -90.0
    for value, colour in zip(chart.values, chart.colours, strict=True):
        end = angle + 360 * value / total
        draw.pieslice((4, 4, 428, 428), angle, end, fill=RGB[colour], outline=(255, 255, 255), width=6)
        angle = end
    image.paste(big.reduce(4), (122, 84))
    for place in range(len(chart.labels)):
        _key(image, chart, place, (4.5 + place) * _TOKEN)
    return image


def _titled(chart: Chart, size: tuple[int, int]) -> Image.Image:
    image = paper(size)
    draw_text(image, (size[0] / 2, 20), chart.measure, 24, anchor="mm")
    return image


def _height(value: int) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * value / 100


def _key(image: Image.Image, chart: Chart, place: int, middle: float) -> None:
    """Draw a line of the key: colour and name in one image token, the value two tokens to the right."""
    colour = RGB[chart.colours[place]]
    image.paste(colour, (2, round(middle) - 11, 14, round(middle) + 11))
    mark(image, str(colour), 8, middle)
    draw_text(image, (17, middle), chart.labels[place], 16, anchor="lm", width=2 * _TOKEN - 17)
    draw_text(image, (_VALUE, middle), str(chart.values[place]), 24, anchor="lm")


def _common_questions(chart: Chart, noun: str) -> list[tuple[str, str]]:
    """Return questions that need the whole chart."""
    order = sorted(range(len(chart.labels)), key=lambda place: chart.values[place])
    return [
        (f"Which {noun} has the highest value?", chart.labels[order[-1]]),
        (f"Which {noun} has the lowest value?", chart.labels[order[0]]),
    ]


def _colour_questions(chart: Chart, noun: str, part: str) -> list[tuple[str, str]]:
    pairs = list(zip(chart.labels, chart.values, chart.colours, strict=True))
    return [(f"Which {noun} does the {colour} {part} show?", label) for label, _, colour in pairs] + [
        (f"What is the value of the {colour} {part}?", str(value)) for _, value, colour in pairs
    ]


def bars(rng: Random) -> Drawn:
    """Return a bar chart."""
    chart = _chart(rng, tuple(rng.sample(GOODS, rng.randint(2, 3))))
    human = [
        *_common_questions(chart, "product"),
        ("How many bars are shown in the chart?", str(len(chart.labels))),
        *_colour_questions(chart, "product", "bar"),
    ]
    return Drawn(draw_bars(chart), human, _value_questions(chart, "What were the {measure} of {label}?"))


def line(rng: Random) -> Drawn:
    """Return a line chart over three months."""
    first = rng.randrange(len(MONTHS) - 2)
    chart = _chart(rng, MONTHS[first : first + 3])
    human = [*_common_questions(chart, "month"), ("What is the color of the line?", chart.colours[0])]
    return Drawn(draw_line(chart), human, _value_questions(chart, "What were the {measure} in {label}?"))


def pie(rng: Random) -> Drawn:
    """Return a pie chart."""
    chart = _chart(rng, tuple(rng.sample(CITIES, rng.randint(2, 4))))
    human = [*_common_questions(chart, "city"), *_colour_questions(chart, "city", "slice")]
    return Drawn(draw_pie(chart), human, _value_questions(chart, "How many {measure} did {label} have?"))


def _chart(rng: Random, labels: tuple[str, ...]) -> Chart:
    count = len(labels)
    # Distinct values, so that "the highest" is one.
    values = tuple(rng.sample(range(10, 100), count))
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


def write_chartqa(data: Path, count: int, rng: Random) -> None:
    """Write both halves.

    Args:
        data: the data folder.
        count: questions per half.
        rng: source of randomness.
    """
    for half in ("human", "augmented"):
        _write_half(data / "chartqa", half, count, rng)


def _write_half(folder: Path, half: str, count: int, rng: Random) -> None:
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
        most = min(QUESTIONS_A_CHART, len(questions), count - len(rows))
        for question, answer in rng.sample(questions, most):
            image = f"data/chartqa/ChartQA Dataset/test/png/{name}"
            rows.append({"image": image, "question": question, "answer": answer})
        number += 1
    write_jsonl(folder / f"test_{half}.jsonl", rows)
