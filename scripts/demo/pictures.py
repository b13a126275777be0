"""Pictures that several benchmarks ask about: each is drawn once, and every question about it has four options."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from random import Random

from PIL import Image, ImageDraw

from scripts.demo import charts, choices, documents, signs
from scripts.demo.choices import LETTERS, Asked, Maker, Picture, Question
from scripts.demo.drawing import INK, centred, draw_shape, draw_text, paper
from scripts.demo.words import BRANDS, CITIES, COLOURS, GOODS, MONTHS, NAMES, RGB, SHAPES, Word

PICTURES = 2  # of each kind
_POOLS = (BRANDS, CITIES, GOODS, MONTHS, NAMES, COLOURS)
_READING = ("ocr", "finegrained_perception (instance-level)")


def similar(rng: Random, answer: str, count: int = 3) -> list[str]:
    """Return wrong answers of the same form: other numbers of as many digits, other words of the same list."""

    def other(match: re.Match[str]) -> str:
        if match[0].isdigit():
            low = 10 ** (len(match[0]) - 1)
            return str(rng.randrange(low, 10 * low))
        pool = next((pool for pool in _POOLS if match[0] in pool), (match[0],))
        return rng.choice(pool)

    found: dict[str, None] = {}
    while len(found) < count:
        wrong = re.sub(r"\d+|[A-Za-z]+", other, answer)
        if wrong != answer:
            found[wrong] = None
    return list(found)


def _about(rng: Random, image: Image.Image, facts: Iterable[tuple[str, str]]) -> Picture:
    """Return a picture with its (question, answer) pairs as multiple choice."""
    questions = []
    for text, answer in facts:
        options = [answer, *similar(rng, answer)]
        rng.shuffle(options)
        words = tuple(Word(option, option) for option in options)
        questions.append(Question(Word(text, text), words, options.index(answer), _READING))
    return Picture(image, questions)


def _page(make: Callable[[Random], documents.Page], rng: Random) -> Picture:
    page = make(rng)
    return _about(rng, page.image, page.facts)


def _chart(make: Callable[[Random], charts.Drawn], rng: Random) -> Picture:
    drawn = make(rng)
    return _about(rng, drawn.image, [*drawn.augmented, *drawn.human])


def _sign(make: Callable[[Random], signs.Sign], rng: Random) -> Picture:
    sign = make(rng)
    return _about(rng, sign.image, [(question.capitalize(), answer) for question, answer, _ in sign.questions])


def _sum(rng: Random) -> Picture:
    """Draw a sum; ask for what is written and for its result."""
    one, two = rng.randint(2, 9), rng.randint(2, 9)
    image = paper((236, 118))
    draw_text(image, (118, 59), f"{one}+{two}={one + two}", 48, anchor="mm")
    facts = [("What is the result of the sum?", str(one + two)), ("Which number is added first?", str(one))]
    return _about(rng, image, facts)


LABELS = {"names": "{name}", "letters": "{letter}", "both": "{letter} {name}"}


def diagram(rng: Random, labels: str) -> Picture:
    """Draw three shapes in a row, joined by arrows, with labels below; ask about a label and about the order.

    Args:
        rng: source of randomness.
        labels: key of ``LABELS``: what the boxes below the shapes say. AI2D's pictures for questions about letters have
            letters in place of the names or, without mask, beside them.
    """
    image, shapes, tints = paper((236, 118)), rng.sample(SHAPES, 3), rng.sample(COLOURS, 3)
    draw = ImageDraw.Draw(image)
    for place, (shape, tint) in enumerate(zip(shapes, tints, strict=True)):
        x = 39 + 79 * place
        draw_shape(image, shape, RGB[tint], centred(x, 44, 48))
        if place:
            draw.line((x - 53, 44, x - 34, 44), fill=INK, width=3)
            draw.polygon([(x - 36, 39), (x - 36, 49), (x - 27, 44)], fill=INK)
        draw.rectangle(centred(x, 96, 76, 24), outline=INK)
        text = LABELS[labels].format(letter=LETTERS[place], name=shape)
        draw_text(image, (x, 96), text, 18, anchor="mm", width=70)
    label, first = rng.randrange(3), rng.randrange(2)
    options = [*rng.sample(shapes, 3), "None of them"]
    facts = (
        (f"What does {LETTERS[label]} show?", shapes[label]),
        (f"What follows the {shapes[first]}?", shapes[first + 1]),
    )
    words = tuple(Word(option, option) for option in options)
    kind = ("lifeCycles", "")
    questions = [Question(Word(text, text), words, options.index(answer), kind) for text, answer in facts]
    return Picture(image, questions)


KINDS: Mapping[str, Maker] = {
    **{make.__name__: make for make in (choices.thing, choices.side, choices.crowd, choices.door, *choices.CCBENCH)},
    **{make.__name__: partial(_page, make) for make in documents.PAGES},
    **{make.__name__: partial(_chart, make) for make, _ in charts.CHARTS},
    **{make.__name__: partial(_sign, make) for make in signs.SIGNS},
    "sum": _sum,
}


@cache
def picture(kind: str, number: int) -> Picture:
    """Return a picture: the same for the same kind and number, so that equal ones take no room in the archive.

    Args:
        kind: a key of ``KINDS``.
        number: which one.
    """
    return KINDS[kind](Random(f"evalkit demo picture {kind} {number}"))


def asked(kinds: Sequence[str], count: int, first: int = 0) -> list[Asked]:
    """Return questions about pictures of these kinds in turn.

    Args:
        kinds: keys of ``KINDS``.
        count: number of questions.
        first: number of the first question about each picture, so that benchmarks ask different ones.
    """
    found = []
    for place in range(count):
        turn = place // len(kinds)
        image, questions = picture(kinds[place % len(kinds)], turn % PICTURES)
        found.append((image, questions[(first + turn) % len(questions)]))
    return found


def wording(question: Question) -> str:
    """Return the English question after its hint, for layouts that have no place for a hint."""
    return " ".join(part.en for part in (question.hint, question.text) if part)


def lettered(question: Question) -> dict[str, str]:
    """Return the English options by letter."""
    return {letter: option.en for letter, option in zip(LETTERS, question.options, strict=False)}


def option_lines(question: Question) -> str:
    """Return the question and its lettered options, one a line."""
    return "\n".join([wording(question), *(f"{letter}. {text}" for letter, text in lettered(question).items())])


def answer(question: Question) -> str:
    """Return the text of the right option."""
    return question.options[question.right].en


def yes_or_no(question: Question, option: str) -> str:
    """Return a question whose answer is yes or no: whether an option is right."""
    return f"{wording(question)} Is it {option}?"


def wrong(question: Question) -> str:
    """Return the text of a wrong option."""
    return question.options[question.right - 1].en
