"""What the tiny model learns from: fresh drawings of the demo's generators, asked as the card asks.

A lesson is one picture or clip with several questions; its prompts and tiles are those that evalkit would send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from evalkit.card import load_card
from evalkit.demo import charts, choices, documents, scenes, signs, stories
from evalkit.demo.drawing import EDGE, marks
from evalkit.demo.words import RGB, Word
from evalkit.media.tiling import choose_grid, tile_image
from evalkit.media.video import segment_middle
from evalkit.models.internvl2.prompt import chat_prompt
from evalkit.records import Recipe

TILE = 112
CELLS = 4  # image tokens along a tile's side
READ, READINGS, READ_LINES = "Read everything.", 0.4, 24  # a turn of its own; share of the lessons; most lines of it
_FRAMES = 36  # of a clip, as in the demo

# Multiple choice is two steps, to find the answer and to find its option: how often both are asked, or one alone.
FORMS = (0.6, 0.2, 0.2)

Turn = tuple[str, str]


class Drawn(NamedTuple):
    """A drawing or the frames of a clip, and (question, answer) pairs in the benchmark's own words."""

    images: list[Image.Image]
    turns: list[Turn]


class Note(NamedTuple):
    """What lies in the cell of one image token."""

    tile: int
    cell: int
    label: str


@dataclass(frozen=True)
class Lesson:
    """One picture or clip, ready for the model.

    Attributes:
        task: whose recipe asks it.
        tiles: uint8, (tiles, TILE, TILE, 3).
        images: tiles of each ``<image>``.
        turns: whole prompts and their answers.
        notes: what the tiles show.
    """

    task: str
    tiles: npt.NDArray[np.uint8]
    images: list[int]
    turns: list[Turn]
    notes: list[Note]


def _document(rng: Random) -> Drawn:
    page = rng.choice(documents.PAGES)(rng)
    return Drawn([page.image], [(fact.question, fact.answer) for fact in page.facts])


def _chart(rng: Random) -> Drawn:
    drawn = rng.choice(charts.CHARTS)[0](rng)
    return Drawn([drawn.image], [*drawn.human, *drawn.augmented])


def _sign(rng: Random) -> Drawn:
    sign = rng.choice(signs.SIGNS)(rng)
    return Drawn([sign.image], [(question, right) for question, right, _ in sign.questions])


def _choice(makers: Sequence[choices.Maker], language: str) -> Callable[[Random], Drawn]:
    def draw(rng: Random) -> Drawn:
        picture = rng.choice(makers)(rng)
        turns = []
        for asked in picture.questions:
            question = getattr(asked.text, language)
            right = getattr(asked.options[asked.right], language)
            form = rng.choices(("asked", "open", "named"), FORMS)[0]
            if form == "open":
                hint = getattr(asked.hint, language) + "\n" if asked.hint else ""
                turns.append((hint + question, right))
                continue
            if form == "named":
                asked = asked._replace(text=Word(f"Which option is {right}?", f"哪个选项是{right}？"), hint=None)
            turns.append(choice_turn(asked, language, rng.randrange(len(asked.options))))
        return Drawn([picture.image], turns)

    return draw


def choice_turn(question: choices.Question, language: str, turn: int) -> Turn:
    """Return a rotation of a multiple-choice question in MMBench's words."""
    texts = [getattr(option, language) for option in question.options]
    options, right = choices.rotate(texts, question.right, turn)
    hint = getattr(question.hint, language) + "\n" if question.hint else ""
    lines = [f"\n{letter}. {text}" for letter, text in zip(choices.LETTERS, options, strict=False)]
    return hint + getattr(question.text, language) + "".join(lines), choices.LETTERS[right]


def _clip(rng: Random) -> Drawn:
    story = stories.make_story(rng)
    name = rng.choice(list(stories.ASKERS))
    part = stories.PARTS.get(name)
    names = [other for other in stories.ASKERS if stories.PARTS.get(other) == part]
    start, end = part or (None, None)
    indices = segment_middle(_FRAMES - 1, _FRAMES, 16, start, end)  # a second is the whole clip
    turns = []
    for asker in rng.sample(names, min(len(names), 6)):
        question = stories.ASKERS[asker](story, rng)
        candidates = [question.answer, *question.others]
        rng.shuffle(candidates)
        form = rng.choices(("asked", "open", "named"), FORMS)[0]
        if form == "open":
            turns.append((f"Question: {question.text}", question.answer))
            continue
        text = f"Which option is {question.answer}?" if form == "named" else question.text
        turns.append(clip_turn(text, candidates, candidates.index(question.answer)))
    return Drawn([story.frame(index / (_FRAMES - 1)) for index in indices], turns)


def clip_turn(text: str, candidates: Sequence[str], right: int) -> Turn:
    """Return a question in MVBench's words."""
    lines = [f"({letter}) {candidate}" for letter, candidate in zip(choices.LETTERS, candidates, strict=False)]
    return "\n".join([f"Question: {text}", "Options:", *lines]), f"({choices.LETTERS[right]})"


def _scene(rng: Random) -> Drawn:
    scene = scenes.make_scene(rng)
    turns = []
    for sentence, thing in rng.sample(scenes.STYLES[rng.choice(list(scenes.STYLES))](scene.things), 6):
        edges = zip(thing.box, (*scene.size, *scene.size), strict=True)
        turns.append((sentence, f"[[{', '.join(str(round(1000 * edge / whole)) for edge, whole in edges)}]]"))
    return Drawn([scenes.draw_scene(scene, rng)], turns)


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
    Course("mmbench_dev_en", _choice(choices.MMBENCH, "en"), 1, 2, 4),
    Course("mmbench_dev_cn", _choice(choices.MMBENCH, "cn"), 1, 2, 4),
    Course("ccbench_dev", _choice(choices.CCBENCH, "cn"), 1, 1, 1),
    Course("refcoco_val", _scene, 0, 2, 5),
    Course("mvbench", _clip, 2, 2, 6),
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
        notes += _notes(image, recipe.max_tiles, sum(len(part) for part in parts))
        parts.append(tile_image(image, recipe.max_tiles, TILE, recipe.thumbnail))
    media = recipe.media_separator.join(
        recipe.media_prompt.replace("{i}", str(number + 1)) for number in range(len(parts))
    )
    turns = rng.sample(drawn.turns, min(course.turns, len(drawn.turns)))
    prompts = [
        (chat_prompt(recipe.prompt.format(media=media, question=question)), answer) for question, answer in turns
    ]
    if rng.random() < READINGS:
        full = len(parts[0]) - 1 if len(parts[0]) > 1 else None  # the thumbnail repeats what the tiles show
        prompts.append((chat_prompt(media + READ), reading([note for note in notes if note.tile != full])))
    return Lesson(course.task, np.concatenate(parts), [len(part) for part in parts], prompts, notes)


def reading(notes: Sequence[Note]) -> str:
    """Return words, numbers, shapes and colours in the order of the image tokens, one a line."""
    names = {str(rgb): name for name, rgb in RGB.items()}
    lines: list[str] = []
    for note in sorted(notes, key=lambda note: (note.tile, note.cell)):
        digit, _, place = note.label.partition(" at ")
        if place and place != "0" and lines:
            lines[-1] += digit
        elif not note.label.startswith(("(", EDGE)) or note.label in names:
            lines.append(names.get(note.label, digit))
    return "\n".join(lines[:READ_LINES])


def _notes(image: Image.Image, max_tiles: int, first: int) -> Iterator[Note]:
    """Yield what each cell of an image's tiles shows; of the thumbnail too."""
    columns, rows = choose_grid(image.width, image.height, max_tiles, TILE)
    side = TILE // CELLS
    for label, x, y in marks(image):
        across, down = x / image.width, y / image.height
        column, row = int(across * columns), int(down * rows)
        cell_x, cell_y = (across * columns - column) * CELLS, (down * rows - row) * CELLS
        # A tile does not know where in the image it is: edges are told by the tile that shows all of it.
        if columns * rows == 1 or not label.startswith(EDGE):
            yield Note(first + row * columns + column, int(cell_y) * CELLS + int(cell_x), label)
        if columns * rows > 1:
            cell = int(down * TILE / side) * CELLS + int(across * TILE / side)
            yield Note(first + columns * rows, cell, label)
