"""DocVQA in the official layout: drawn forms, letters and tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw

from evalkit.demo.drawing import INK, draw_text, paper, wrap
from evalkit.demo.files import save_image, write_json, write_jsonl
from evalkit.demo.words import GOODS, VALUES

SIZE = (480, 620)
MARGIN = 36
QUESTIONS_A_PAGE = 4
_FIRST_ID = {"val": 49153, "test": 57344}
_GREY = (120, 120, 125)


class Fact(NamedTuple):
    """A question and what the page says."""

    question: str
    answer: str


class Page(NamedTuple):
    """A drawn page and its facts."""

    image: Image.Image
    facts: list[Fact]


# Title of a form; label, kind of value and question of its fields.
FORMS = (
    ("INVOICE", (
        ("Invoice number", "code", "What is the invoice number?"),
        ("Invoice date", "date", "What is the date of the invoice?"),
        ("Customer", "person", "Who is the customer?"),
        ("Payment due in", "days", "In how many days is the payment due?"),
        ("Total amount", "amount", "What is the total amount?"),
    )),
    ("SHIPPING ORDER", (
        ("Order number", "code", "What is the order number?"),
        ("Shipped from", "place", "From where is the order shipped?"),
        ("Driver", "person", "What is the name of the driver?"),
        ("Gross weight", "weight", "What is the gross weight?"),
        ("Ship date", "date", "What is the ship date?"),
    )),
    ("VISITOR FORM", (
        ("Visitor", "person", "What is the name of the visitor?"),
        ("Company", "company", "Which company is the visitor from?"),
        ("Room", "room", "What is the room number?"),
        ("Arrival", "time", "What is the time of arrival?"),
        ("Telephone", "phone", "What is the telephone number?"),
    )),
)  # fmt: skip
# Fields of a letter: its name in the texts, kind of value, question.
LETTER_FIELDS = (
    ("date", "date", "What is the date of the letter?"),
    ("to", "person", "To whom is the letter addressed?"),
    ("subject", "subject", "What is the subject of the letter?"),
    ("sender", "person", "Who signed the letter?"),
    ("place", "place", "Where does the meeting take place?"),
    ("time", "time", "At what time does the meeting begin?"),
    ("phone", "phone", "Which number should be called?"),
)
LETTER_BODY = (
    "Thank you for your kind letter of last week.",
    "We shall meet in {place} at {time} to settle what is still open.",
    "If you cannot come, please call {phone} before noon.",
)


def form(rng: Random) -> Page:
    """Return a form: a heading and labelled fields in boxes."""
    title, fields = rng.choice(FORMS)
    company = VALUES["company"](rng)
    image = paper(SIZE)
    draw = ImageDraw.Draw(image)
    width = SIZE[0] - 2 * MARGIN
    draw_text(image, (SIZE[0] / 2, 46), company, 30, anchor="mm", width=width)
    draw_text(image, (SIZE[0] / 2, 92), title, 22, _GREY, anchor="mm", width=width)
    draw.line((MARGIN, 118, SIZE[0] - MARGIN, 118), fill=INK, width=2)
    facts = [Fact("What is the name of the company at the top of the page?", company)]
    for place, (label, kind, question) in enumerate(fields):
        top = 140 + place * 86
        value = VALUES[kind](rng)
        draw_text(image, (MARGIN, top), f"{label}:", 19, _GREY)
        draw.rectangle((MARGIN, top + 28, SIZE[0] - MARGIN, top + 68), outline=_GREY)
        draw_text(image, (MARGIN + 12, top + 48), value, 24, anchor="lm", width=width - 24)
        facts.append(Fact(question, value))
    draw_text(image, (SIZE[0] / 2, SIZE[1] - 24), "Please keep this page.", 15, _GREY, anchor="mm")
    return Page(image, facts)


def letter(rng: Random) -> Page:
    """Return a letter with a few facts in its text."""
    values = {name: VALUES[kind](rng) for name, kind, _ in LETTER_FIELDS}
    image = paper(SIZE)
    width = SIZE[0] - 2 * MARGIN
    draw_text(image, (SIZE[0] - MARGIN, 40), values["date"], 21, anchor="ra")
    draw_text(image, (MARGIN, 96), f"To: {values['to']}", 21)
    draw_text(image, (MARGIN, 130), f"Subject: {values['subject']}", 21, width=width)
    draw_text(image, (MARGIN, 190), f"Dear {values['to'].split()[0]},", 21)
    top = 232
    for sentence in LETTER_BODY:
        for line in wrap(sentence.format(**values), width, 21):
            draw_text(image, (MARGIN, top), line, 21)
            top += 30
        top += 10
    draw_text(image, (MARGIN, top + 24), "Yours sincerely,", 21)
    draw_text(image, (MARGIN, top + 66), values["sender"], 26, (30, 50, 130))
    return Page(image, [Fact(question, values[name]) for name, _, question in LETTER_FIELDS])


def table(rng: Random) -> Page:
    """Return a stock list: a table of items, quantities and prices."""
    title = f"Stock list {rng.randint(1980, 2019)}"
    rows = [(item, str(rng.randint(2, 90)), VALUES["amount"](rng)) for item in rng.sample(GOODS, 6)]
    image = paper(SIZE)
    draw = ImageDraw.Draw(image)
    draw_text(image, (SIZE[0] / 2, 60), title, 30, anchor="mm")
    edges = (MARGIN, 200, 320, SIZE[0] - MARGIN)
    for number, cells in enumerate([("Item", "Quantity", "Price"), *rows]):
        top = 116 + number * 62
        if number == 0:
            draw.rectangle((edges[0], top, edges[-1], top + 62), fill=(222, 228, 238))
        for left, right, text in zip(edges, edges[1:], cells, strict=False):
            draw.rectangle((left, top, right, top + 62), outline=INK)
            draw_text(image, (left + 12, top + 31), text, 22, anchor="lm", width=right - left - 20)
    facts = [Fact("What is the title of the page?", title)]
    for item, quantity, price in rows:
        facts.append(Fact(f"What is the quantity of {item.lower()}?", quantity))
        facts.append(Fact(f"What is the price of {item.lower()}?", price))
    return Page(image, facts)


PAGES: tuple[Callable[[Random], Page], ...] = (form, letter, table)


def write_docvqa(data: Path, count: int, rng: Random) -> list[str]:
    """Write both splits.

    Args:
        data: the data folder.
        count: questions a split.
        rng: source of all chance.

    Returns:
        The texts written.
    """
    return _write_split(data, "val", count, rng) + _write_split(data, "test", count, rng)


def _write_split(data: Path, split: str, count: int, rng: Random) -> list[str]:
    folder = data / "docvqa"
    rows: list[dict[str, object]] = []
    labels: list[dict[str, object]] = []
    texts: list[str] = []
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
            texts += [question, answer]
        number += 1
    write_jsonl(folder / f"{split}.jsonl", rows)
    if split == "val":
        head = {"dataset_name": "evalkit demo", "dataset_version": "1.0", "dataset_split": split}
        write_json(folder / "val" / "val_v1.0.json", {**head, "data": labels})
    return texts
