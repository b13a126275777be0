"""DocVQA in the official layout: drawn forms, letters and tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw

from scripts.demo.drawing import INK, Rgb, draw_text, paper
from scripts.demo.files import save_image, write_json, write_jsonl
from scripts.demo.words import BRANDS, GOODS, VALUES

SIZE = (236, 354)
MARGIN = 4
COLUMN = 62  # where the values begin: two image tokens to the right of their labels
_ROW = SIZE[1] / 12  # height of an image token
QUESTIONS_A_PAGE = 4
_FIRST_ID = {"val": 49153, "test": 57344}
_GREY: Rgb = (110, 110, 116)
_BLUE: Rgb = (30, 50, 130)


class Fact(NamedTuple):
    """A question and what the page says."""

    question: str
    answer: str


class Page(NamedTuple):
    """A drawn page and its facts."""

    image: Image.Image
    facts: list[Fact]


# Fields of a form: label, kind of value, question.
FORMS = (
    ("Order", "number", "What is the order number?"),
    ("Name", "name", "What is the name of the customer?"),
    ("City", "city", "To which city is it sent?"),
    ("Date", "date", "What is the date of the order?"),
    ("Total", "amount", "What is the total amount?"),
    ("Item", "good", "Which item is ordered?"),
    ("Room", "small", "What is the room number?"),
)
LETTERS = (
    ("To", "name", "To whom is the letter addressed?"),
    ("From", "name", "Who wrote the letter?"),
    ("City", "city", "From which city is the letter?"),
    ("Date", "date", "What is the date of the letter?"),
    ("Call", "number", "Which number should be called?"),
)


def form(rng: Random) -> Page:
    """Return a form: a brand and labelled fields in boxes."""
    image, facts = _headed(rng)
    draw = ImageDraw.Draw(image)
    for place, (label, kind, question) in enumerate(rng.sample(FORMS, 4)):
        middle, value = _middle(place), VALUES[kind](rng)
        draw.rectangle((COLUMN - 4, middle - 22, SIZE[0] - 6, middle + 22), outline=_GREY)
        _write(image, middle, label, value, _GREY, INK)
        facts.append(Fact(question, value))
    return Page(image, facts)


def letter(rng: Random) -> Page:
    """Return a letter: lines that begin with a label."""
    image, facts = _headed(rng)
    for place, (label, kind, question) in enumerate(LETTERS):
        value = VALUES[kind](rng)
        _write(image, _middle(place), f"{label}:", value, INK, _BLUE)
        facts.append(Fact(question, value))
    return Page(image, facts)


def table(rng: Random) -> Page:
    """Return a stock list: a table of items and quantities."""
    image, facts = _headed(rng)
    draw = ImageDraw.Draw(image)
    for place, item in enumerate(rng.sample(GOODS, 4)):
        middle, quantity = _middle(place), VALUES["small"](rng)
        for left, right in ((1, COLUMN - 4), (COLUMN - 4, 2 * COLUMN)):
            draw.rectangle((left, middle - _ROW, right, middle + _ROW), outline=INK)
        _write(image, middle, item, quantity, INK, INK)
        facts.append(Fact(f"What is the quantity of {item.lower()}?", quantity))
    return Page(image, facts)


def _middle(place: int) -> float:
    """Return the height of a page's line: the middle of every other row of image tokens."""
    return (3.5 + 2 * place) * _ROW


def _write(image: Image.Image, middle: float, label: str, value: str, *colours: Rgb) -> None:
    draw_text(image, (MARGIN, middle), label, 22, colours[0], "lm", width=COLUMN - 2 * MARGIN - 2)
    draw_text(image, (COLUMN, middle), value, 26, colours[1], "lm", width=SIZE[0] - COLUMN - 10)


def _headed(rng: Random) -> tuple[Image.Image, list[Fact]]:
    image, brand = paper(SIZE), rng.choice(BRANDS)
    draw_text(image, (SIZE[0] / 2, 36), brand, 36, anchor="mm")
    ImageDraw.Draw(image).line((14, 66, SIZE[0] - 14, 66), fill=INK, width=2)
    return image, [Fact("What is the name of the company?", brand)]


PAGES: tuple[Callable[[Random], Page], ...] = (form, letter, table)


def write_docvqa(data: Path, count: int, rng: Random) -> None:
    """Write both splits.

    Args:
        data: the data folder.
        count: questions per split.
        rng: source of randomness.
    """
    for split in _FIRST_ID:
        _write_split(data, split, count, rng)


def _write_split(data: Path, split: str, count: int, rng: Random) -> None:
    folder = data / "docvqa"
    rows: list[dict[str, object]] = []
    labels: list[dict[str, object]] = []
    number = 0
    while len(rows) < count:
        page = PAGES[number % len(PAGES)](rng)
        name = f"demo{number:04d}_{rng.randint(1, 90)}.png"
        save_image(folder / split / "documents" / name, page.image)
        for question, answer in rng.sample(page.facts, min(QUESTIONS_A_PAGE, count - len(rows))):
            number_of = _FIRST_ID[split] + len(rows)
            answers = list(dict.fromkeys((answer, answer.lower())))
            row = {"image": f"data/docvqa/{split}/documents/{name}", "question": question}
            rows.append({**row, **({"answer": answers} if split == "val" else {}), "question_id": number_of})
            labels.append(
                {
                    "questionId": number_of, "question": question, "image": f"documents/{name}", "docId": number,
                    "answers": answers, "data_split": split,
                }
            )  # fmt: skip
        number += 1
    write_jsonl(folder / f"{split}.jsonl", rows)
    if split == "val":
        head = {"dataset_name": "evalkit demo", "dataset_version": "1.0", "dataset_split": split}
        write_json(folder / "val" / "val_v1.0.json", {**head, "data": labels})
