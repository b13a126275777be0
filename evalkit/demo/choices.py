"""MMBench and CCBench in the official layout: TSV files with images inside, each question asked once per rotation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from evalkit.demo.drawing import INK, Rgb, centred, draw_shape, draw_text, paper, spread, wall
from evalkit.demo.files import jpeg_base64, write_tsv
from evalkit.demo.words import COLOUR_WORDS, NAME_WORDS, RGB, SHAPE_WORDS, Word

SIZE = (320, 240)
ROTATION = 1_000_000
LETTERS = "ABCD"
_CORNERS = (
    Word("Top left", "左上"),
    Word("Top right", "右上"),
    Word("Bottom left", "左下"),
    Word("Bottom right", "右下"),
)
_YES_NO = (Word("Yes", "是"), Word("No", "否"))


class Question(NamedTuple):
    """A question in both languages.

    Attributes:
        image: what it asks about.
        text: the question.
        options: two or four.
        right: place of the right option.
        category: as in the official files.
        group: the category's group (``l2-category``).
        hint: text before the question; None where there is none.
    """

    image: Image.Image
    text: Word
    options: tuple[Word, ...]
    right: int
    category: str
    group: str = ""
    hint: Word | None = None


def rotate(options: Sequence[str], right: int, turn: int) -> tuple[list[str], int]:
    """Return the options moved up by ``turn`` places, and where the right one came to lie."""
    return [*options[turn:], *options[:turn]], (right - turn) % len(options)


def _options(rng: Random, right: Word, others: Sequence[Word]) -> tuple[tuple[Word, ...], int]:
    """Return the right option among three of the others, and its place."""
    options = [right, *rng.sample([other for other in others if other != right], 3)]
    rng.shuffle(options)
    return tuple(options), options.index(right)


def _number_words(numbers: Sequence[int]) -> list[Word]:
    return [Word(str(number), str(number)) for number in numbers]


def _row(things: Sequence[tuple[Word, Word]], side: int = 64) -> Image.Image:
    """Draw (shape, colour) pairs side by side."""
    image = paper(SIZE, (238, 238, 232))
    for x, (shape, colour) in zip(spread(0, SIZE[0], len(things)), things, strict=True):
        draw_shape(image, shape.en, RGB[colour.en], centred(x, SIZE[1] / 2, side))
    return image


def colour(rng: Random) -> Question:
    """Ask for the colour of one of two shapes."""
    shapes, colours = rng.sample(SHAPE_WORDS, 2), rng.sample(COLOUR_WORDS, 2)
    options, right = _options(rng, colours[0], COLOUR_WORDS)
    things = list(zip(shapes, colours, strict=True))
    rng.shuffle(things)
    text = Word(f"What color is the {shapes[0].en}?", f"图中的{shapes[0].cn}是什么颜色？")
    group = "finegrained_perception (instance-level)"
    return Question(_row(things, 96), text, options, right, "attribute_recognition", group)


def owner(rng: Random) -> Question:
    """Ask about one of two shapes that a hint gives to people."""
    shapes, colours = rng.sample(SHAPE_WORDS, 2), rng.sample(COLOUR_WORDS, 2)
    people = rng.sample(NAME_WORDS, 2)
    hint = Word(
        f"{people[0].en} has the {shapes[0].en}. {people[1].en} has the {shapes[1].en}.",
        f"{people[0].cn}的图案是{shapes[0].cn}。{people[1].cn}的图案是{shapes[1].cn}。",
    )
    text = Word(f"What color is {people[0].en}'s shape?", f"{people[0].cn}的图案是什么颜色？")
    options, right = _options(rng, colours[0], COLOUR_WORDS)
    image = _row(list(zip(shapes, colours, strict=True)), 96)
    return Question(image, text, options, right, "structuralized_imagetext_understanding", "logic_reasoning", hint)


def larger(rng: Random) -> Question:
    """Ask which of two shapes is larger: two options only."""
    shapes, colours = rng.sample(SHAPE_WORDS, 2), rng.sample(COLOUR_WORDS, 2)
    sides = rng.sample((44, 110), 2)
    image = paper(SIZE, (238, 238, 232))
    for x, shape, tint, side in zip(spread(0, SIZE[0], 2), shapes, colours, sides, strict=True):
        draw_shape(image, shape.en, RGB[tint.en], centred(x, SIZE[1] / 2, side))
    text = Word(f"Is the {shapes[0].en} larger than the {shapes[1].en}?", f"图中的{shapes[0].cn}比{shapes[1].cn}大吗？")
    right = int(sides[0] < sides[1])
    group = "finegrained_perception (cross-instance)"
    return Question(image, text, _YES_NO, right, "attribute_comparison", group)


def position(rng: Random) -> Question:
    """Ask in which corner a shape is."""
    shapes, colours = rng.sample(SHAPE_WORDS, 4), rng.sample(COLOUR_WORDS, 4)
    image = paper(SIZE, (238, 238, 232))
    for place, (shape, tint) in enumerate(zip(shapes, colours, strict=True)):
        draw_shape(image, shape.en, RGB[tint.en], centred(80 + 160 * (place % 2), 60 + 120 * (place // 2), 72))
    wanted = rng.randrange(4)
    text = Word(
        f"Where is the {colours[wanted].en} {shapes[wanted].en} in the image?",
        f"图中{colours[wanted].cn}的{shapes[wanted].cn}在哪里？",
    )
    options, right = _options(rng, _CORNERS[wanted], _CORNERS)
    return Question(image, text, options, right, "spatial_relationship", "finegrained_perception (cross-instance)")


def count(rng: Random) -> Question:
    """Ask how many shapes there are of one kind."""
    kind, other = rng.sample(SHAPE_WORDS, 2)
    number = rng.randint(1, 5)
    kinds = [kind] * number + [other] * (6 - number)
    rng.shuffle(kinds)
    tint = rng.choice(COLOUR_WORDS)
    image = paper(SIZE, (238, 238, 232))
    for place, shape in enumerate(kinds):
        draw_shape(image, shape.en, RGB[tint.en], centred(54 + 106 * (place % 3), 64 + 112 * (place // 3), 70))
    options, right = _options(rng, Word(str(number), str(number)), _number_words(range(1, 6)))
    text = Word(f"How many {kind.en}s are in the image?", f"图中有几个{kind.cn}？")
    return Question(image, text, options, right, "object_localization", "finegrained_perception (instance-level)")


def number(rng: Random) -> Question:
    """Ask for the number on a door."""
    numbers = rng.sample(range(10, 99), 4)
    image = wall(SIZE, (220, 210, 190), (150, 140, 130), 0.88)
    draw = ImageDraw.Draw(image)
    draw.rectangle((100, 20, 220, 210), fill=RGB[rng.choice(("red", "green", "blue"))])
    draw.ellipse((200, 118, 212, 130), fill=(235, 210, 110))
    draw.rectangle((124, 44, 196, 92), fill=(255, 255, 255))
    draw_text(image, (160, 68), str(numbers[0]), 40, anchor="mm")
    right_word, *others = _number_words(numbers)
    options, right = _options(rng, right_word, others)
    text = Word("Which number is on the door?", "门上的数字是多少？")
    return Question(image, text, options, right, "ocr", "finegrained_perception (instance-level)")


def lantern(rng: Random) -> Question:
    """Ask for the colour of a lantern."""
    tint = rng.choice(COLOUR_WORDS[:6])
    image = paper(SIZE, (232, 226, 240))
    draw = ImageDraw.Draw(image)
    draw.line((160, 0, 160, 50), fill=INK, width=3)
    draw.ellipse((90, 56, 230, 176), fill=RGB[tint.en])
    for box in ((130, 46, 190, 62), (130, 170, 190, 186)):
        draw.rectangle(box, fill=(200, 160, 50))
    for x in (145, 160, 175):
        draw.line((x, 186, x, 226), fill=(200, 160, 50), width=3)
    options, right = _options(rng, tint, COLOUR_WORDS[:6])
    return Question(image, Word("", "图中的灯笼是什么颜色？"), options, right, "traditional_show")


def pagoda(rng: Random) -> Question:
    """Ask how many storeys a pagoda has."""
    storeys = rng.randint(2, 6)
    image = wall(SIZE, (206, 224, 238), (160, 180, 140), 0.86)
    draw = ImageDraw.Draw(image)
    for place in range(storeys):
        bottom, half = 214 - place * 32, 62 - place * 8
        draw.rectangle((160 - half, bottom - 22, 160 + half, bottom), fill=(196, 120, 84))
        draw.rectangle((152, bottom - 16, 168, bottom - 2), fill=(70, 50, 40))
        for reach, height in ((18, 22), (10, 26), (2, 30)):
            draw.rectangle((160 - half - reach, bottom - height - 4, 160 + half + reach, bottom - height), (70, 74, 84))
    options, right = _options(rng, _number_words([storeys])[0], _number_words(range(2, 7)))
    return Question(image, Word("", "图中的宝塔有几层？"), options, right, "scenery_building")


def coin(rng: Random) -> Question:
    """Ask for the shape of a coin's hole."""
    hole = rng.choice(SHAPE_WORDS)
    image = paper(SIZE, (228, 220, 206))
    for side, tint in ((196, (150, 104, 40)), (180, (196, 148, 66))):
        draw_shape(image, "circle", tint, centred(160, 120, side))
    draw_shape(image, hole.en, (228, 220, 206), centred(160, 120, 64))
    options, right = _options(rng, hole, SHAPE_WORDS)
    return Question(image, Word("", "图中铜钱的孔是什么形状？"), options, right, "cultural_relic")


def skewer(rng: Random) -> Question:
    """Ask how many berries are on a skewer."""
    berries = rng.randint(2, 6)
    image = paper(SIZE, (240, 232, 216))
    ImageDraw.Draw(image).line((20, 120, 308, 120), fill=(170, 130, 80), width=5)
    for place in range(berries):
        middle = (70 + place * 42, 120)
        draw_shape(image, "circle", RGB["red"], centred(*middle, 42))
        draw_shape(image, "circle", (250, 200, 200), centred(middle[0] - 8, 111, 9))
    options, right = _options(rng, _number_words([berries])[0], _number_words(range(2, 7)))
    return Question(image, Word("", "图中的糖葫芦有几颗果子？"), options, right, "food_clothes")


def bamboo(rng: Random) -> Question:
    """Ask how many stalks of bamboo are painted."""
    stalks = rng.randint(1, 5)
    image = paper(SIZE, (246, 242, 230))
    draw = ImageDraw.Draw(image)
    green: Rgb = (60, 110, 70)
    for x in spread(20, 300, stalks):
        for top in range(8, 220, 54):
            draw.rounded_rectangle((x - 8, top, x + 8, top + 50), 4, fill=green)
        draw.polygon([(x + 8, 60), (x + 30, 42), (x + 24, 66)], fill=green)
    options, right = _options(rng, _number_words([stalks])[0], _number_words(range(1, 6)))
    return Question(image, Word("", "画中有几根竹子？"), options, right, "calligraphy_painting")


Maker = Callable[[Random], Question]
MMBENCH: tuple[Maker, ...] = (colour, owner, larger, position, count, number)
CCBENCH: tuple[Maker, ...] = (lantern, pagoda, coin, skewer, bamboo)

_HEAD = ("index", "question", "hint", *LETTERS)
_TAIL = ("category", "image", "source", "l2-category", "comment", "split")
# File, questions (same name: same questions), language, split.
MMBENCH_FILES = (
    ("mmbench_dev_20230712.tsv", "dev", "en"),
    ("mmbench_dev_cn_20231003.tsv", "dev", "cn"),
    ("mmbench_test_en_20231003.tsv", "test", "en"),
    ("mmbench_test_cn_20231003.tsv", "test", "cn"),
)
CCBENCH_COLUMNS = ("index", "question", *LETTERS, "answer", "category", "image", "source")


def write_mmbench(data: Path, count: int, rng: Random) -> list[str]:
    """Write the four MMBench files and CCBench.

    Args:
        data: the data folder.
        count: questions a file, before their options are rotated.
        rng: source of all chance.

    Returns:
        The texts written.
    """
    folder, texts = data / "mmbench", []
    questions = {split: _make(MMBENCH, count, rng) for split in ("dev", "test")}
    for file, split, language in MMBENCH_FILES:
        rows = list(_rows(questions[split], language, split))
        write_tsv(folder / file, (*_HEAD, *(("answer",) if split == "dev" else ()), *_TAIL), rows)
        texts += _texts(rows)
    rows = list(_rows(_make(CCBENCH, count, rng), "cn", "dev"))
    write_tsv(folder / "CCBench_legacy.tsv", CCBENCH_COLUMNS, rows)
    return texts + _texts(rows)


def _make(makers: Sequence[Maker], count: int, rng: Random) -> list[Question]:
    return [make(rng) for make in islice(cycle(makers), count)]


def _rows(questions: Sequence[Question], language: str, split: str) -> Iterator[dict[str, Any]]:
    """Yield the table's rows: all questions as they are, then by their first, second and third rotation."""
    images = [jpeg_base64(question.image) for question in questions]
    for turn in range(len(LETTERS)):
        for place, (question, image) in enumerate(zip(questions, images, strict=True)):
            if turn >= len(question.options):
                continue
            options, right = rotate([getattr(option, language) for option in question.options], question.right, turn)
            yield {
                "index": place + turn * ROTATION,
                "question": getattr(question.text, language),
                "hint": getattr(question.hint, language) if question.hint else "",
                **dict(zip(LETTERS, options, strict=False)),
                "answer": LETTERS[right],
                "category": question.category,
                "image": image,
                "source": "drawn",
                "l2-category": question.group,
                "split": split,
            }


def _texts(rows: Sequence[dict[str, Any]]) -> list[str]:
    keys = ("hint", "question", *LETTERS)
    return ["\n".join(str(row[key]) for key in keys if row.get(key)) for row in rows]
