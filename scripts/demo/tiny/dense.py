"""Dense turns and lessons: a look-up every few tokens, so that looking up is learnt quickly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

import numpy as np

from evalkit.models.internvl2.prompt import chat_prompt
from scripts.demo import choices, stories
from scripts.demo.drawing import EDGE, WHOLE
from scripts.demo.tiny.records import CELL, CELLS, TILE, Lesson, Note, Turn, place_labels
from scripts.demo.words import CITIES, COLOUR_WORDS, COLOURS, GOODS, NAME_WORDS, NAMES, RGB, SHAPE_WORDS, SHAPES

READ, READ_LINES = "Read everything.", 24  # all that is seen; most lines of it
LOOK_UP, LOOK_UP_LINES = "Look up.", 8  # "circle: red" for "What color is the circle?"; most lines
SORT = "Which option is which?"
GIVEN = "\x1f"  # stands around parts of an answer that nobody could know, such as which thing is told next
SEEN, SEEN_TURNS = "What is seen?", 4
APART, NUMBERS = 0.6, 0.3  # share of told pairs that share no cell, and of those that end with a number
ROUNDS = 3  # how often all is asked for in lessons without drawings

_FUNCTION_WORD = re.compile(
    r"a|an|amount|and|are|at|be|by|can|could|did|do|does|for|from|had|has|have|how|if|image|in|is|it|its|"
    r"many|much|of|on|one|option|question|s|shape|should|show|shown|shows|that|the|there|they|to|video|"
    r"was|were|what|where|which|who|whom|will|would|you",
    re.IGNORECASE,
)
_KEYS = re.compile(
    "|".join(word.cn for word in (*COLOUR_WORDS, *SHAPE_WORDS, *NAME_WORDS, *choices.SIDES)) + "|[A-Za-z]+|[0-9]+"
)


_POOLS: tuple[Sequence[str], ...] = (
    COLOURS, SHAPES, GOODS, CITIES, NAMES, [str(number) for number in range(1, 100)],
    *([getattr(word, language) for word in words]
      for words in (COLOUR_WORDS, SHAPE_WORDS, choices.SIDES) for language in ("en", "cn")),
)  # fmt: skip
_WORDS = sorted({word for pool in _POOLS for word in pool})
_Shown = tuple[str, str]  # an option and the label of what shows it
SHOWN: tuple[Sequence[_Shown], ...] = (
    *([(name, str(RGB.get(name, name))) for name in pool] for pool in (COLOURS, SHAPES, GOODS, CITIES, NAMES)),
    *([(word.cn, str(RGB.get(word.en, word.en.lower()))) for word in words]
      for words in (COLOUR_WORDS, SHAPE_WORDS, choices.SIDES)),
    [(f"{before}{way}", way) for before in ("", "Moved ", "To ") for way in ("left", "right", "up", "down")],
    [(word.en, word.en.lower()) for word in choices.SIDES],
    [(letter, letter) for letter in stories.LETTERS],
    [(str(number), f"{number} at 0") for number in range(1, 10)],
)  # fmt: skip
_FORMS = (("{letter}. {option}", "{letter}"), ("({letter}) {option}", "({letter})"))
_QUESTIONS = [
    f"{question}\nAnswer the question using a single word or phrase."
    for question in (
        "What is the {}?",
        "What is the value of {}?",
        "Which one does the {} show?",
        "How many has {} got?",
    )
]
_DRAWN = (*COLOURS, *SHAPES, *GOODS, *CITIES, *NAMES)


def given_and_told(pairs: Sequence[Turn]) -> str:
    """Return an answer, a pair a line, of which only the second parts are learnt."""
    return "\n".join(f"{GIVEN}{given}:{GIVEN} {told}" for given, told in pairs)


def text_lesson(rng: Random) -> Lesson:
    """Return a lesson in finding words without a picture: options or pairs, then which is which, over and over."""
    line = rng.choice(("{}. {}", "({}) {}", "{}: {}"))
    if line == "{}: {}":
        words = rng.sample(_WORDS, 2 * rng.randint(3, 6))
        pairs = list(zip(words[::2], words[1::2], strict=True))
    else:
        pairs = list(zip(choices.LETTERS, rng.sample(rng.choice(_POOLS), 4), strict=True))
    text = "\n".join([SORT, *(line.format(*pair) for pair in pairs)])
    asked = [rng.sample(pair, 2) for _ in range(ROUNDS) for pair in rng.sample(pairs, len(pairs))]
    answer = given_and_told([(first, second) for first, second in asked])
    return Lesson("text", np.zeros((0, TILE, TILE, 3), np.uint8), [], [(chat_prompt(text), answer)], 0, [], False)


def told_lesson(rng: Random) -> Lesson:
    """Return a lesson in finding things in a picture that is never drawn.

    Pairs of things share a cell, or the second, which may be a number, lies two cells to the right of the first.
    """
    tiles = rng.randint(1, 3)
    words = rng.sample(_DRAWN, 2 * rng.randint(3, 6))
    pairs = list(zip(words[::2], words[1::2], strict=True))
    rows = rng.sample([(tile, row) for tile in range(tiles) for row in range(CELLS)], min(len(pairs), CELLS * tiles))
    notes, asked = [], []
    for (tile, row), (first, second) in zip(rows, pairs, strict=False):
        column = rng.randrange(CELLS)
        other = column + 2 if column < CELLS - 2 and rng.random() < APART else column
        told = str(rng.randint(10, 99)) if rng.random() < NUMBERS else second
        shown = ((column, _labels(first)), (other, _labels(told)))
        notes += [Note(tile, CELLS * row + place, label) for place, labels in shown for label in labels]
        asked.append((first, told))
    notes += [Note(tile, cell, label) for tile, cell in {note[:2] for note in notes} for label in place_labels(cell)]
    turns = [
        pair if pair[1].isdigit() else rng.sample(pair, 2)
        for _ in range(ROUNDS)
        for pair in rng.sample(asked, len(asked))
    ]
    look_up = (chat_prompt(f"<image>\n{LOOK_UP}"), given_and_told([(first, second) for first, second in turns]))
    questions = [(chat_prompt(f"<image>\n{rng.choice(_QUESTIONS).format(first)}"), told) for first, told in asked]
    none = np.zeros((tiles, TILE, TILE, 3), np.uint8)
    return Lesson("told", none, [tiles], [*questions, look_up], len(questions), notes, False)


def _labels(word: str) -> list[str]:
    """Return what notes of a word, a colour or a number are called."""
    if word.isdigit():
        return [f"{digit} at {place}" for place, digit in enumerate(word)]
    return [str(RGB.get(word, word))]


def seen_lesson(rng: Random) -> Lesson:
    """Return a lesson in telling which option a picture that is never drawn shows; the others are nowhere in it."""
    tiles = rng.choice((1, 1, 2, 3, 5))
    pools: list[Sequence[_Shown]] = []
    for pool in rng.sample(SHOWN, rng.randint(2, 4)):
        if not {label for _, label in pool} & {label for other in pools for _, label in other}:
            pools.append(pool)
    right = [rng.choice(pool) for pool in pools]
    places = rng.sample([(tile, cell) for tile in range(tiles) for cell in range(CELLS * CELLS)], (len(right) + 1) // 2)
    notes = [Note(*places[number // 2], label) for number, (_, label) in enumerate(right)]
    notes += [Note(*place, label) for place in places for label in place_labels(place[1])]
    turns = []
    for _ in range(SEEN_TURNS):
        number = rng.randrange(len(right))
        others = [shown for shown in pools[number] if shown[1] != right[number][1]]
        options = [right[number][0], *(text for text, _ in rng.sample(others, 3))]
        rng.shuffle(options)
        letter = choices.LETTERS[options.index(right[number][0])]
        text, answer = rng.choice(_FORMS)
        lines = [
            text.format(letter=letter, option=option) for letter, option in zip(choices.LETTERS, options, strict=True)
        ]
        turns.append((chat_prompt("\n".join(["<image>", SEEN, *lines])), answer.format(letter=letter)))
    none = np.zeros((tiles, TILE, TILE, 3), np.uint8)
    return Lesson("seen", none, [tiles], turns, len(turns), notes, False)


def look_ups(facts: Sequence[Turn], rng: Random) -> str:
    """Return facts as the telling words of the question and the answer, one a line."""
    pairs = []
    for question, answer in rng.sample(facts, min(LOOK_UP_LINES, len(facts))):
        words = [word for word in _KEYS.findall(question) if not _FUNCTION_WORD.fullmatch(word)]
        key = question if rng.random() < 0.5 else " ".join(words)
        if key:
            pairs.append((key, answer))
    return given_and_told(pairs)


def reading(notes: Sequence[Note]) -> str:
    """Return words, numbers, shapes and colours in the order of the image tokens, one a line."""
    names = {str(rgb): name for name, rgb in RGB.items()}
    lines: list[str] = []
    for note in sorted(notes, key=lambda note: (note.tile, note.cell)):
        digit, _, place = note.label.partition(" at ")
        if place and place != "0" and lines:
            lines[-1] += digit
        elif not note.label.startswith(("(", EDGE, CELL, WHOLE)) or note.label in names:
            lines.append(names.get(note.label, digit))
    return "\n".join(lines[:READ_LINES])
