"""What the tiny model learns from: fresh drawings of the demo's generators, asked as the card asks.

A lesson is one picture or clip with several questions; its prompts and tiles are those that evalkit would send.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from evalkit.card import load_card
from evalkit.media.tiling import choose_grid, tile_image
from evalkit.media.video import segment_middle
from evalkit.models.internvl2.prompt import chat_prompt
from evalkit.records import Recipe
from scripts.demo import charts, choices, documents, scenes, signs, stories
from scripts.demo.drawing import EDGE, WHOLE, marks
from scripts.demo.tiny.dense import LOOK_UP, READ, SORT, given_and_told, look_ups, reading
from scripts.demo.tiny.records import CELLS, TILE, Lesson, Note, Turn, place_labels
from scripts.demo.words import Word

_FRAMES = 36  # of a clip, as in the demo
READINGS, LOOK_UPS = 0.4, 0.8  # share of the lessons with these turns
FORMS = (0.15, 0.55, 0.3)  # multiple choice without options, as asked, options alone


class Drawn(NamedTuple):
    """A drawing or the frames of a clip.

    Attributes:
        images: the drawing or the frames.
        turns: (question, answer) pairs in the benchmark's own words.
        facts: the same as question and what is true, without options.
    """

    images: list[Image.Image]
    turns: list[Turn]
    facts: list[Turn]


def _document(rng: Random) -> Drawn:
    page = rng.choice(documents.PAGES)(rng)
    turns = [(fact.question, fact.answer) for fact in page.facts]
    return Drawn([page.image], turns, turns)


def _chart(rng: Random) -> Drawn:
    drawn = rng.choice(charts.CHARTS)[0](rng)
    turns = [*drawn.human, *drawn.augmented]
    return Drawn([drawn.image], turns, turns)


def _sign(rng: Random) -> Drawn:
    sign = rng.choice(signs.SIGNS)(rng)
    turns = [(question, right) for question, right, _ in sign.questions]
    return Drawn([sign.image], turns, turns)


def _choice(makers: Sequence[choices.Maker], language: str) -> Callable[[Random], Drawn]:
    def draw(rng: Random) -> Drawn:
        picture = rng.choice(makers)(rng)
        turns, pairs = [], []
        for asked in picture.questions:
            hint = getattr(asked.hint, language) + "\n" if asked.hint else ""
            alone = (hint + getattr(asked.text, language), getattr(asked.options[asked.right], language))
            whole = choice_turn(asked, language, rng.randrange(len(asked.options)))
            sort = choice_turn(asked._replace(text=Word(SORT, SORT), hint=None), language, rng.randrange(4))
            turns.append(_form(alone, whole, sort, rng))
            pairs.append(alone)
        return Drawn([picture.image], turns, pairs)

    return draw


def _form(alone: Turn, whole: Turn, sort: Turn, rng: Random) -> Turn:
    """Return a question of multiple choice in one of its forms, see ``FORMS``."""
    form = rng.choices((alone, whole, sort), FORMS)[0]
    if form is not sort:
        return form
    options = re.findall(r"^(\(?[A-D]\)?)\.? (.*)", sort[0], re.MULTILINE)
    return sort[0], given_and_told([(text, letter) for letter, text in rng.sample(options, len(options))])


def choice_turn(question: choices.Question, language: str, turn: int) -> Turn:
    """Return a rotation of a multiple-choice question in MMBench's words."""
    texts = [getattr(option, language) for option in question.options]
    options, right = choices.rotate(texts, question.right, turn % len(texts))
    hint = getattr(question.hint, language) + "\n" if question.hint else ""
    lines = [f"\n{letter}. {text}" for letter, text in zip(choices.LETTERS, options, strict=False)]
    return hint + getattr(question.text, language) + "".join(lines), choices.LETTERS[right]


def _clip(rng: Random) -> Drawn:
    name = rng.choice(list(stories.ASKERS))
    story = stories.make_story(rng, name in stories.ABOUT_FLOOR)
    part = stories.PARTS.get(name)
    hidden = stories.ABOUT_ARROW if name in stories.ABOUT_FLOOR else stories.ABOUT_FLOOR
    names = [other for other in stories.ASKERS if stories.PARTS.get(other) == part and other not in hidden]
    start, end = part or (None, None)
    indices = segment_middle(_FRAMES - 1, _FRAMES, 16, start, end)  # a second is the whole clip
    turns, pairs = [], []
    for asker in names:
        question = stories.ASKERS[asker](story, rng)
        candidates = [question.answer, *question.others]
        rng.shuffle(candidates)
        alone = (f"Question: {question.text}", question.answer)
        whole = clip_turn(question.text, candidates, candidates.index(question.answer))
        turns.append(_form(alone, whole, clip_turn(SORT, candidates, 0), rng))
        pairs.append((question.text, question.answer))
    return Drawn([story.frame(index / (_FRAMES - 1)) for index in indices], turns, pairs)


def clip_turn(text: str, candidates: Sequence[str], right: int) -> Turn:
    """Return a question in MVBench's words."""
    lines = [f"({letter}) {candidate}" for letter, candidate in zip(choices.LETTERS, candidates, strict=False)]
    return "\n".join([f"Question: {text}", "Options:", *lines]), f"({choices.LETTERS[right]})"


def _scene(rng: Random) -> Drawn:
    scene = scenes.make_scene(rng)
    turns = []
    for sentence, thing in rng.sample(scenes.STYLES[rng.choice(list(scenes.STYLES))](scene), 6):
        edges = zip(thing.box, (*scene.size, *scene.size), strict=True)
        box = ", ".join(str(round(1000 * edge / whole)) for edge, whole in edges)
        noun = thing.shape if thing.shape in sentence else thing.colour
        turns.append((sentence, f"{noun}[[{box}]]"))  # the real model, too, says first what it boxes
    return Drawn([scenes.draw_scene(scene, rng)], turns, rng.sample(turns, 3))


class Course(NamedTuple):
    """One kind of lesson.

    Attributes:
        task: whose recipe asks it.
        draw: its generator.
        batch: courses of a batch have about as many tokens a lesson, so that little is padded.
        share: lessons of a batch.
        turns: most questions a lesson.
    """

    task: str
    draw: Callable[[Random], Drawn]
    batch: int
    share: int
    turns: int


COURSES = (
    Course("docvqa_val", _document, 0, 1, 5),
    Course("chartqa_test_human", _chart, 0, 2, 6),
    Course("textvqa_val", _sign, 1, 3, 3),
    Course("mmbench_dev_en", _choice(choices.MMBENCH, "en"), 1, 2, 6),
    Course("mmbench_dev_cn", _choice(choices.MMBENCH, "cn"), 1, 2, 6),
    Course("ccbench_dev", _choice(choices.CCBENCH, "cn"), 1, 1, 1),
    Course("refcoco_val", _scene, 0, 2, 5),
    Course("mvbench", _clip, 2, 2, 8),
)


def recipes() -> Mapping[str, Recipe]:
    """Return how the card asks each course."""
    card = load_card("internvl2")
    found = {course.task: card.recipe(course.task) for course in COURSES}
    return {task: recipe for task, recipe in found.items() if recipe}


def lesson(course: Course, recipe: Recipe, rng: Random) -> Lesson:
    """Draw one lesson."""
    drawn = course.draw(rng)
    parts: list[npt.NDArray[np.uint8]] = []
    notes: list[Note] = []
    for image in drawn.images:
        notes += _notes(image, recipe.look.max_tiles, sum(len(part) for part in parts))
        parts.append(tile_image(image, recipe.look.max_tiles, TILE, recipe.look.thumbnail))
    for tile, cell in sorted({(note.tile, note.cell) for note in notes}):
        notes += [Note(tile, cell, label) for label in place_labels(cell)]
    media = recipe.media_separator.join(
        recipe.media_prompt.replace("{i}", str(number + 1)) for number in range(len(parts))
    )
    turns = rng.sample(drawn.turns, min(course.turns, len(drawn.turns)))
    asked = len(turns)
    prompts = [
        (chat_prompt(recipe.prompt.format(media=media, question=question)), answer) for question, answer in turns
    ]
    if rng.random() < READINGS:
        full = len(parts[0]) - 1 if len(parts[0]) > 1 else None  # the thumbnail repeats what the tiles show
        prompts.append((chat_prompt(media + READ), reading([note for note in notes if note.tile != full])))
    if rng.random() < LOOK_UPS and (found := look_ups(drawn.facts, rng)):
        prompts.append((chat_prompt(media + LOOK_UP), found))
    return Lesson(course.task, np.concatenate(parts), [len(part) for part in parts], prompts, asked, notes)


def _notes(image: Image.Image, max_tiles: int, first: int) -> Iterator[Note]:
    """Yield what each cell of an image's tiles shows; of the thumbnail too."""
    columns, rows = choose_grid(image.width, image.height, max_tiles, TILE)
    side = TILE // CELLS
    for label, x, y in marks(image):
        across, down = x / image.width, y / image.height
        column, row = int(across * columns), int(down * rows)
        cell_x, cell_y = int((across * columns - column) * CELLS), int((down * rows - row) * CELLS)
        # A tile does not know where in the image it is: edges are told by the tile that shows all of it.
        if columns * rows == 1 or not label.startswith((EDGE, WHOLE)):
            yield Note(first + row * columns + column, cell_y * CELLS + cell_x, label)
        if columns * rows > 1:
            cell = int(down * TILE / side) * CELLS + int(across * TILE / side)
            yield Note(first + columns * rows, cell, label)
