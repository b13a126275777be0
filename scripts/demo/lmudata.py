"""Benchmarks that only VLMEvalKit asks, in its layout: one TSV each with images inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from scripts.demo.choices import LETTERS, MMBENCH, ROTATION, Asked, rotated_rows
from scripts.demo.files import png_base64, write_judge, write_tsv
from scripts.demo.pictures import answer, asked, lettered, picture, wording, wrong, yes_or_no

Rows = Sequence[Mapping[str, Any]]


def write_lmudata(data: Path, count: int) -> None:
    """Write all files.

    Args:
        data: the data folder.
        count: rows of each; of MMBench V1.1 twice as many rotations.
    """
    files: Sequence[tuple[str, Sequence[str], Rows]] = (
        ("RealWorldQA", ("answer", "index", "image", *LETTERS, "question"), _choices(REAL_WORLD, count, 1)),
        ("MMStar", ("index", "question", "image", "answer", *_STAR_MORE, *LETTERS), _star(count)),
        ("OCRBench", ("index", "image", "question", "answer", "category"), _reading(count)),
        ("HallusionBench", HALLUSION_COLUMNS, _hallusion(count)),
        ("MathVista_MINI", MATH_COLUMNS, _math(data, count)),
    )
    for name, columns, rows in files:
        write_tsv(data / "LMUData" / f"{name}.tsv", columns, rows)
    columns = ("index", "question", "hint", *LETTERS, "answer", "category", "image", "l2-category", "split")
    kinds = [make.__name__ for make in MMBENCH[:4]]
    for language in ("en", "cn"):
        rows = _rotations(asked(kinds, count // 2, first=2), language)
        write_tsv(data / "LMUData" / f"MMBench_TEST_{language.upper()}_V11.tsv", columns, rows)


def _row(index: int | str, item: Asked) -> dict[str, Any]:
    image, question = item
    return {"index": index, "image": png_base64(image), "question": wording(question), "category": question.kind[0]}


def _choices(kinds: Sequence[str], count: int, first: int) -> list[dict[str, Any]]:
    return [
        {**_row(index, item), **lettered(item[1]), "answer": LETTERS[item[1].right]}
        for index, item in enumerate(asked(kinds, count, first))
    ]


REAL_WORLD = ("road", "shop", "door", "shirt", "crowd", "side")
# Kinds of pictures by MMStar's category.
STAR = {
    "coarse perception": "lantern", "fine-grained perception": "thing", "instance reasoning": "coin",
    "logical reasoning": "line", "science & technology": "bamboo", "math": "bars",
}  # fmt: skip
_STAR_MORE = ("category", "l2_category", "bench")


def _star(count: int) -> Rows:
    """Return MMStar's rows; like a few of the real ones, one is Chinese."""
    rows = _choices([*STAR.values()], count, 0)
    for row, category in zip(rows, cycle(STAR), strict=False):
        row |= {"category": category, "l2_category": "made up", "bench": "drawn"}
    _, question = asked([*STAR.values()], count)[0]
    rows[0] |= {"question": question.text.cn} | {
        letter: option.cn for letter, option in zip(LETTERS, question.options, strict=True)
    }
    return rows


# Kinds of pictures by OCRBench's category.
READING = {
    "Regular Text Recognition": "shop", "Irregular Text Recognition": "shirt", "Artistic Text Recognition": "bottle",
    "Handwriting Recognition": "letter", "Digit String Recognition": "door", "Non-Semantic Text Recognition": "form",
    "Scene Text-centric VQA": "road", "Doc-oriented VQA": "table", "Key Information Extraction": "form",
    "Handwritten Mathematical Expression Recognition": "sum",
}  # fmt: skip


def _reading(count: int) -> Rows:
    items = zip(asked([*READING.values()], count, first=1), cycle(READING), strict=False)
    return [
        {**_row(index, item), "answer": repr([answer(item[1])]), "category": category}
        for index, (item, category) in enumerate(items)
    ]


# Category, sub-category and kind of pictures of a set of two figures; the second shows something else.
HALLUSION = (("VD", "ocr", "door"), ("VD", "figure", "lantern"), ("VS", "table", "table"), ("VD", "illusion", "pagoda"))
HALLUSION_COLUMNS = (
    "category", "question", "gt_answer_details", "l2-category", "image_path", "index", "answer", "image",
)  # fmt: skip


def _hallusion(count: int) -> Rows:
    """Return HallusionBench's rows: of each set two figures with the same two questions."""
    rows = []
    for place in range(count):
        number, figure, asks = place // 4, place // 2 % 2, place % 2
        category, sub, kind = HALLUSION[number % len(HALLUSION)]
        shown, about = picture(kind, figure), picture(kind, asks).questions[0]
        right = answer(shown.questions[0]) == answer(about)
        rows.append(
            {
                **_row(f"{category}_{sub}_1_{number}_{figure}_{asks}", (shown.image, about)),
                "question": yes_or_no(about, answer(about)), "answer": "Yes" if right else "No",
                "category": category, "l2-category": f"{category}_{sub}", "gt_answer_details": "made up",
                "image_path": f"{category}/{sub}/{number}_{figure}.png",
            }
        )  # fmt: skip
    return rows


MATH = ("bars", "crowd", "pie", "sum", "line", "table")
MATH_COLUMNS = (
    "index", "image", "question", "answer", "question_type", "answer_type", "choices", "answer_option", "task",
    "skills", "category",
)  # fmt: skip
_MATH_MORE = {
    "task": "figure question answering", "skills": "['statistical reasoning']", "category": "math-targeted-vqa",
}  # fmt: skip
_LETTER_HINT = "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end."
_NUMBER_HINT = (
    "Hint: Please answer the question requiring an integer answer and provide the final value, e.g., 1, 2, 3, at the "
    "end."
)


def _math(data: Path, count: int) -> Rows:
    """Return MathVista's rows, every other one multiple choice, and write a judge's readings of answers to them."""
    rows, replies = [], {}
    for index, item in enumerate(asked(MATH, count), start=1):
        _, question = item
        gold = answer(question)
        row = {**_row(index, item), "answer": gold, **_MATH_MORE}
        if index % 2 and gold.isdigit():
            row |= {"question_type": "free_form", "answer_type": "integer"}
            row["question"] = f"{_NUMBER_HINT}\nQuestion: {wording(question)}"
        else:
            options = [option.en for option in question.options]
            listed = "".join(f"\n({letter}) {option}" for letter, option in lettered(question).items())
            row |= {"question_type": "multi_choice", "answer_type": "text", "choices": repr(options)}
            row["answer_option"] = LETTERS[question.right]
            row["question"] = f"{_LETTER_HINT}\nQuestion: {wording(question)}\nChoices:{listed}"
        rows.append(row)
        replies[str(index)] = (gold if index % 3 else wrong(question),)
    write_judge(data, "mathvista_testmini", replies)
    return rows


def _rotations(items: Sequence[Asked], language: str) -> Rows:
    """Return rows of MMBench V1.1: a question's rotations name the row that holds their picture."""
    images = [png_base64(image) for image, _ in items]
    return [
        row | {"image": images[row["index"]] if row["index"] < ROTATION else row["index"] % ROTATION}
        for row in rotated_rows(items, language, "test")
    ]
