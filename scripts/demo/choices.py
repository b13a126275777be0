"""MMBench and CCBench in the official layout: TSV files with images inside, each question asked once per rotation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from scripts.demo.drawing import INK, WHOLE, centred, draw_shape, draw_text, mark, paper, spread, wall
from scripts.demo.files import jpeg_base64, write_tsv
from scripts.demo.words import COLOUR_WORDS, NAME_WORDS, RGB, SHAPE_WORDS, Word

WIDE, SQUARE, SMALL = (236, 118), (236, 236), (118, 118)
ROTATION = 1_000_000
LETTERS = "ABCD"
_BACK = (238, 238, 232)
SIDES = (Word("Left", "左边"), Word("Right", "右边"), Word("Top", "上面"), Word("Bottom", "下面"))
_ATTRIBUTE = ("attribute_recognition", "finegrained_perception (instance-level)")
_RELATION = ("spatial_relationship", "finegrained_perception (cross-instance)")


class Question(NamedTuple):
    """A question about a picture in both languages.

    Attributes:
        text: the question.
        options: two or four.
        right: index of the right option.
        kind: category and its group (``l2-category``), as in the official files.
        hint: text before the question; None if there is none.
    """

    text: Word
    options: tuple[Word, ...]
    right: int
    kind: tuple[str, str]
    hint: Word | None = None


class Picture(NamedTuple):
    """A picture and all that can be asked about it."""

    image: Image.Image
    questions: list[Question]


def rotate(options: Sequence[str], right: int, turn: int) -> tuple[list[str], int]:
    """Return the options rotated by ``turn``, and the new index of the right one."""
    return [*options[turn:], *options[:turn]], (right - turn) % len(options)


def _ask(
    rng: Random, en: str, cn: str, right: Word, pool: Sequence[Word], kind: tuple[str, str], hint: Word | None = None
) -> Question:
    """Return a question whose options are the right word and three others of the pool."""
    options = [right, *rng.sample([other for other in pool if other != right], 3)]
    rng.shuffle(options)
    return Question(Word(en, cn), tuple(options), options.index(right), kind, hint)


def _numbers(numbers: Sequence[int]) -> list[Word]:
    return [Word(str(number), str(number)) for number in numbers]


def thing(rng: Random) -> Picture:
    """Draw a shape; ask for its colour and kind, also by a hint about whose it is, and with two options only."""
    shape, tint = rng.choice(SHAPE_WORDS), rng.choice(COLOUR_WORDS)
    image = paper(WIDE, _BACK)
    draw_shape(image, shape.en, RGB[tint.en], centred(rng.choice((59, 118, 177)), 59, rng.randint(70, 96)))
    person = rng.choice(NAME_WORDS)
    hint = Word(f"{person.en} has the {shape.en}.", f"{person.cn}的图案是{shape.cn}。")
    either = [tint, rng.choice([other for other in COLOUR_WORDS if other != tint])]
    rng.shuffle(either)
    kind = ("attribute_comparison", "finegrained_perception (cross-instance)")
    which = Word("Which of the two colors is shown?", "图中是哪一种颜色？")
    questions = [Question(which, tuple(either), either.index(tint), kind)]
    en, cn = f"What color is the {shape.en}?", f"图中的{shape.cn}是什么颜色？"
    questions.append(_ask(rng, en, cn, tint, COLOUR_WORDS, _ATTRIBUTE))
    en, cn = f"What shape is {tint.en}?", f"图中{tint.cn}的是什么形状？"
    questions.append(_ask(rng, en, cn, shape, SHAPE_WORDS, _ATTRIBUTE))
    en, cn = f"What color is {person.en}'s shape?", f"{person.cn}的图案是什么颜色？"
    kind = ("structuralized_imagetext_understanding", "logic_reasoning")
    questions.append(_ask(rng, en, cn, tint, COLOUR_WORDS, kind, hint))
    return Picture(image, questions)


def side(rng: Random) -> Picture:
    """Draw a shape at one side; ask which side."""
    shape, tint = rng.choice(SHAPE_WORDS), rng.choice(COLOUR_WORDS)
    image = paper(SQUARE, _BACK)
    place, (x, y) = rng.choice(list(enumerate(((50, 118), (186, 118), (118, 50), (118, 186)))))
    draw_shape(image, shape.en, RGB[tint.en], centred(x, y, 72))
    mark(image, WHOLE + SIDES[place].en.lower(), x, y)
    en, cn = f"Where is the {shape.en} in the image?", f"图中的{shape.cn}在哪里？"
    return Picture(image, [_ask(rng, en, cn, SIDES[place], SIDES, _RELATION)])


def crowd(rng: Random) -> Picture:
    """Draw one to four shapes of a kind; ask how many there are."""
    shape, tint, number = rng.choice(SHAPE_WORDS), rng.choice(COLOUR_WORDS), rng.randint(1, 4)
    image = paper(SMALL, _BACK)
    for place in rng.sample(range(4), number):
        draw_shape(image, shape.en, RGB[tint.en], centred(30 + 58 * (place % 2), 30 + 58 * (place // 2), 44))
    _note_number(image, number)
    en, cn = f"How many {shape.en}s are in the image?", f"图中有几个{shape.cn}？"
    options = _numbers(range(1, 5))
    kind = ("object_localization", "finegrained_perception (instance-level)")
    return Picture(image, [_ask(rng, en, cn, options[number - 1], options, kind)])


def _note_number(image: Image.Image, number: int) -> None:
    """Note how many there are in the middle of an image."""
    mark(image, f"{number} at 0", image.width / 2, image.height / 2)


def door(rng: Random) -> Picture:
    """Draw a door and ask for its number."""
    number = rng.randint(10, 99)
    # No digit of the number is in a wrong option.
    others = [other for other in range(10, 100) if not set(str(other)) & set(str(number))]
    words = _numbers([number, *rng.sample(others, 7)])
    image = wall(WIDE, (220, 210, 190), (150, 140, 130), 0.9)
    draw = ImageDraw.Draw(image)
    draw.rectangle((72, 4, 164, 110), fill=RGB[rng.choice(("red", "green", "blue"))])
    draw.ellipse((150, 74, 158, 82), fill=(235, 210, 110))
    draw.rectangle((88, 12, 148, 58), fill=(255, 255, 255))
    draw_text(image, (118, 35), words[0].en, 40, anchor="mm")
    kind = ("ocr", "finegrained_perception (instance-level)")
    return Picture(image, [_ask(rng, "Which number is on the door?", "门上的数字是多少？", words[0], words, kind)])


def lantern(rng: Random) -> Picture:
    """Draw a lantern and ask for its colour."""
    tint = rng.choice(COLOUR_WORDS)
    image = paper(SMALL, (232, 226, 240))
    draw = ImageDraw.Draw(image)
    draw.line((59, 0, 59, 25), fill=INK, width=2)
    draw.ellipse((20, 28, 98, 88), fill=RGB[tint.en])
    mark(image, str(RGB[tint.en]), 59, 58)
    for box in ((42, 22, 76, 31), (42, 84, 76, 93)):
        draw.rectangle(box, fill=(200, 160, 50))
    for x in (50, 59, 68):
        draw.line((x, 93, x, 113), fill=(200, 160, 50), width=2)
    text = Word("What color is the lantern?", "图中的灯笼是什么颜色？")
    return _cultural(rng, image, text, tint, COLOUR_WORDS, "traditional_show")


def pagoda(rng: Random) -> Picture:
    """Draw a pagoda and ask how many storeys it has."""
    storeys = rng.randint(1, 4)
    image = wall(SMALL, (206, 224, 238), (160, 180, 140), 0.9)
    draw = ImageDraw.Draw(image)
    for place in range(storeys):
        bottom, half = 108 - place * 25, 34 - place * 5
        draw.rectangle((59 - half, bottom - 17, 59 + half, bottom), fill=(196, 120, 84))
        draw.rectangle((54, bottom - 12, 64, bottom - 1), fill=(70, 50, 40))
        draw.rectangle((59 - half - 9, bottom - 23, 59 + half + 9, bottom - 17), fill=(70, 74, 84))
    _note_number(image, storeys)
    text, options = Word("How many storeys does the pagoda have?", "图中的宝塔有几层？"), _numbers(range(1, 5))
    return _cultural(rng, image, text, options[storeys - 1], options, "scenery_building")


def coin(rng: Random) -> Picture:
    """Draw a coin and ask for the shape of its hole."""
    hole = rng.choice(SHAPE_WORDS)
    image = paper(SMALL, (228, 220, 206))
    for width, tint in ((110, (150, 104, 40)), (100, (196, 148, 66))):
        ImageDraw.Draw(image).ellipse(centred(59, 59, width), fill=tint)
    draw_shape(image, hole.en, (228, 220, 206), centred(59, 59, 44))
    text = Word("What shape is the hole of the coin?", "图中铜钱的孔是什么形状？")
    return _cultural(rng, image, text, hole, SHAPE_WORDS, "cultural_relic")


def skewer(rng: Random) -> Picture:
    """Draw berries on a skewer and ask how many there are."""
    berries = rng.randint(1, 4)
    image = paper(SMALL, (240, 232, 216))
    draw = ImageDraw.Draw(image)
    draw.line((4, 59, 114, 59), fill=(170, 130, 80), width=4)
    for place in range(berries):
        draw.ellipse(centred(20 + place * 26, 59, 25), fill=RGB["red"])
        draw.ellipse(centred(16 + place * 26, 54, 6), fill=(250, 200, 200))
    _note_number(image, berries)
    text, options = Word("How many berries are on the skewer?", "图中的糖葫芦有几颗果子？"), _numbers(range(1, 5))
    return _cultural(rng, image, text, options[berries - 1], options, "food_clothes")


def bamboo(rng: Random) -> Picture:
    """Draw stalks of bamboo and ask how many there are."""
    stalks = rng.randint(1, 4)
    image = paper(SMALL, (246, 242, 230))
    draw = ImageDraw.Draw(image)
    for x in spread(6, 112, 4)[:stalks]:
        for top in range(4, 110, 27):
            draw.rounded_rectangle((x - 5, top, x + 5, top + 25), 3, fill=(60, 110, 70))
        draw.polygon([(x + 5, 30), (x + 14, 21), (x + 12, 33)], fill=(60, 110, 70))
    _note_number(image, stalks)
    text, options = Word("How many stalks of bamboo are in the picture?", "画中有几根竹子？"), _numbers(range(1, 5))
    return _cultural(rng, image, text, options[stalks - 1], options, "calligraphy_painting")


def _cultural(rng: Random, image: Image.Image, text: Word, right: Word, pool: Sequence[Word], category: str) -> Picture:
    return Picture(image, [_ask(rng, *text, right, pool, (category, ""))])


Maker = Callable[[Random], Picture]
MMBENCH: tuple[Maker, ...] = (thing, side, crowd, door, thing, side)
CCBENCH: tuple[Maker, ...] = (lantern, pagoda, coin, skewer, bamboo)

_HEAD = ("index", "question", "hint", *LETTERS)
_TAIL = ("category", "image", "source", "l2-category", "comment", "split")
# File, split (same split: same questions), language.
MMBENCH_FILES = (
    ("mmbench_dev_20230712.tsv", "dev", "en"),
    ("mmbench_dev_cn_20231003.tsv", "dev", "cn"),
    ("mmbench_test_en_20231003.tsv", "test", "en"),
    ("mmbench_test_cn_20231003.tsv", "test", "cn"),
)
CCBENCH_COLUMNS = ("index", "question", *LETTERS, "answer", "category", "image", "source")
Asked = tuple[Image.Image, Question]


def write_mmbench(data: Path, count: int, rng: Random) -> None:
    """Write the four MMBench files and CCBench.

    Args:
        data: the data folder.
        count: questions per file, before their options are rotated.
        rng: source of randomness.
    """
    folder = data / "mmbench"
    questions = {split: _make(MMBENCH, count, rng) for split in ("dev", "test")}
    for file, split, language in MMBENCH_FILES:
        columns = (*_HEAD, *(("answer",) if split == "dev" else ()), *_TAIL)
        write_tsv(folder / file, columns, rotated_rows(questions[split], language, split))
    rows = rotated_rows(_make(CCBENCH, count, rng), "cn", "dev")
    write_tsv(folder / "CCBench_legacy.tsv", CCBENCH_COLUMNS, rows)


def _make(makers: Sequence[Maker], count: int, rng: Random) -> list[Asked]:
    """Return one question about each of ``count`` pictures; of a maker's first two, its first and its last question."""
    asked, made = [], Counter[Maker]()
    for make in islice(cycle(makers), count):
        image, questions = make(rng)
        asked.append((image, {0: questions[0], 1: questions[-1]}.get(made[make]) or rng.choice(questions)))
        made[make] += 1
    return asked


def rotated_rows(asked: Sequence[Asked], language: str, split: str) -> Iterator[dict[str, Any]]:
    """Yield the table's rows: all questions as they are, then by their first, second and third rotation."""
    images = [jpeg_base64(image) for image, _ in asked]
    for turn in range(len(LETTERS)):
        for place, ((_, question), image) in enumerate(zip(asked, images, strict=True)):
            if turn >= len(question.options):
                continue
            options, right = rotate([getattr(option, language) for option in question.options], question.right, turn)
            yield {
                "index": place + turn * ROTATION,
                "question": getattr(question.text, language),
                "hint": getattr(question.hint, language) if question.hint else "",
                **dict(zip(LETTERS, options, strict=False)),
                "answer": LETTERS[right],
                "category": question.kind[0],
                "image": image,
                "source": "drawn",
                "l2-category": question.kind[1],
                "split": split,
            }
