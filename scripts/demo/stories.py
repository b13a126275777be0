"""What happens in the clips: one little world, and a question about it for each MVBench sub-task.

A sub-task keeps its official name, files and folders; what it asks is simpler than what the real one asks. Most wrong
candidates are seen nowhere in the clip; where the order of what is seen decides, they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from PIL import Image

from scripts.demo.drawing import PAPER, Rgb, centred, draw_shape, draw_text, mark, paper, polygon
from scripts.demo.words import COLOURS, RGB, SHAPES

SIZE = (160, 120)
LETTERS = "HKMRTXZ"
_ROOM: Rgb = (232, 230, 222)
_PLAIN: Rgb = (130, 130, 134)  # of what the questions about a clip do not call by its colour
_FLOOR = 98  # where it begins
_COLUMNS, _ROWS = (26, 86), (24, 72)  # the arrow goes from corner to corner of this rectangle
_GUEST = (136, 76)
_SIDE = 38
# Corners are numbered row by row; a step flips the column (1) or the row (2).
_STEPS = ("left", "right", "up", "down")
_OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
_STAYS = {"throughout": (0.0, 2.0), "beginning": (0.0, 0.5), "end": (0.5, 2.0)}
# An arrow to the right in the unit square; the other directions turn or mirror it.
_ARROW = ((0.0, 0.3), (0.5, 0.3), (0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.5, 0.7), (0.0, 0.7))


@dataclass(frozen=True)
class Story:
    """An arrow that goes two ways, a shape beside it, letters on a card and a floor.

    Attributes:
        guest: the shape.
        corners: where the arrow is at the start, in the middle and at the end.
        colours: of the arrow in the two halves; None: it is plain.
        floors: colours of the floor in the two halves; None: it is plain.
        stay: when the guest is there: a key of ``_STAYS``.
        hops: whether the guest moves too.
        letters: shown one after another.
    """

    guest: str
    corners: tuple[int, int, int]
    colours: tuple[str, str] | None
    floors: tuple[str, str] | None
    stay: str
    hops: bool
    letters: tuple[str, ...]

    def step(self, half: int) -> str:
        """Return in which direction the arrow goes in a half."""
        before, after = self.corners[half], self.corners[half + 1]
        return _STEPS[int(after > before) + 2 * int(abs(after - before) == 2)]

    def frame(self, time: float) -> Image.Image:
        """Draw the story at a time, 0..1."""
        half = int(time >= 0.5)
        image = paper(SIZE, _ROOM)
        image.paste(RGB[self.floors[half]] if self.floors else _PLAIN, (0, _FLOOR, *SIZE))
        if self.floors:
            mark(image, str(RGB[self.floors[half]]), SIZE[0] / 2, (_FLOOR + SIZE[1]) / 2)
        image.paste(PAPER, (116, 4, 156, 46))
        letter = self.letters[min(int(time * len(self.letters)), len(self.letters) - 1)]
        draw_text(image, (136, 26), letter, 40, anchor="mm")
        start, end = _STAYS[self.stay]
        if start <= time < end:
            lift = 14 * abs((time * 6) % 2 - 1) - 7 if self.hops else 0
            draw_shape(image, self.guest, _PLAIN, centred(_GUEST[0], _GUEST[1] - lift, 32))
        part = min(1.0, (time - 0.5 * half) / 0.4)  # the arrow rests a little at the end of a half
        (x0, y0), (x1, y1) = (_place(self.corners[half + late]) for late in (0, 1))
        self._draw_arrow(image, half, x0 + (x1 - x0) * part, y0 + (y1 - y0) * part)
        return image

    def _draw_arrow(self, image: Image.Image, half: int, x: float, y: float) -> None:
        way = self.step(half)
        points = [(1 - across, down) if way in ("left", "up") else (across, down) for across, down in _ARROW]
        if way in ("up", "down"):
            points = [(down, across) for across, down in points]
        tint = RGB[self.colours[half]] if self.colours else _PLAIN
        polygon(image, [(x + _SIDE * (across - 0.5), y + _SIDE * (down - 0.5)) for across, down in points], tint)
        for label in (way, str(tint)):
            mark(image, label, x, y)


def _place(corner: int) -> tuple[int, int]:
    return _COLUMNS[corner % 2], _ROWS[corner // 2]


def make_story(rng: Random, about_floor: bool = False) -> Story:
    """Return a story, with a coloured floor if that is what is asked about, else with a coloured arrow."""
    corner, axis = rng.randrange(4), rng.choice((1, 2))
    stay = rng.choice(("throughout", "throughout", "beginning", "end"))
    first, second = rng.sample(COLOURS, 2)
    return Story(
        guest=rng.choice(SHAPES),
        corners=(corner, corner ^ axis, corner ^ 3),
        colours=None if about_floor else (first, rng.choice((first, second))),
        floors=(first, second) if about_floor else None,
        stay=stay,
        hops=stay == "throughout" and rng.random() < 0.5,
        letters=tuple(rng.sample(LETTERS, rng.randint(1, 3))),
    )


class Question(NamedTuple):
    """A question about a clip.

    Attributes:
        text: the question.
        answer: the right candidate.
        others: the wrong candidates.
    """

    text: str
    answer: str
    others: tuple[str, ...]


def _one_of(
    rng: Random, text: str, answer: str, pool: Sequence[str], others: int = 3, unlike: Sequence[str] = ()
) -> Question:
    """Return a question with wrong candidates from a pool, none of them in ``unlike``."""
    wrong = [other for other in pool if other != answer and other not in unlike]
    return Question(text, answer, tuple(rng.sample(wrong, min(others, len(wrong)))))


def _way(rng: Random, text: str, story: Story, half: int, template: str, ordered: bool = False) -> Question:
    """Return a question for a direction; ``ordered``: the direction of the other half is among the candidates."""
    ways = [template.format(step) for step in _STEPS]
    unlike = () if ordered else (template.format(story.step(1 - half)),)
    return _one_of(rng, text, template.format(story.step(half)), ways, unlike=unlike)


def _action_sequence(story: Story, rng: Random) -> Question:
    return _way(rng, f"What did the arrow do after it moved {story.step(0)}?", story, 1, "Moved {}.")


def _action_prediction(story: Story, rng: Random) -> Question:
    return _way(rng, "Which way will the arrow go on?", story, 0, "Go {}.")


def _action_antonym(story: Story, rng: Random) -> Question:
    way = story.step(0)
    pool = (f"It moves {way}.", f"It moves {_OPPOSITE[way]}.", "not sure")
    return _one_of(rng, "What does the arrow do at first?", pool[0], pool)


def _fine_grained_action(story: Story, rng: Random) -> Question:
    return _way(rng, "How does the arrow move at first?", story, 0, "moving {}", ordered=True)


def _unexpected_action(story: Story, rng: Random) -> Question:
    return _one_of(rng, "What is unexpected here?", f"A {story.guest}.", [f"A {shape}." for shape in SHAPES])


def _object_existence(story: Story, rng: Random) -> Question:
    return _one_of(rng, "Which object exists in the video?", story.guest, SHAPES)


def _object_interaction(story: Story, rng: Random) -> Question:
    return _one_of(
        rng, "Which object is below the letter?", f"The {story.guest}.", [f"The {shape}." for shape in SHAPES]
    )


def _object_shuffle(story: Story, rng: Random) -> Question:
    text = "Which letter is on the card at the end of the video?"
    return _one_of(rng, text, story.letters[-1], LETTERS, unlike=story.letters)


def _moving_direction(story: Story, rng: Random) -> Question:
    text = "What direction is the arrow moving in at the end of the video?"
    return _way(rng, text, story, 1, "To {}.", ordered=True)


def _action_localization(story: Story, rng: Random) -> Question:
    times = {
        "throughout": "Throughout the entire video.",
        "beginning": "At the beginning of the video.",
        "end": "At the end of the video.",
    }
    text = f"During which part of the video is the {story.guest} there?"
    return _one_of(rng, text, times[story.stay], list(times.values()))


def _scene_transition(story: Story, rng: Random) -> Question:
    one, two = _floors(story)
    three, four = rng.sample([colour for colour in COLOURS if colour not in (one, two)], 2)
    pool = [f"From {first} to {last}." for first, last in ((one, two), (three, four), (four, three))]
    return _one_of(rng, "How does the floor change?", pool[0], pool)


def _action_count(story: Story, rng: Random) -> Question:
    return _one_of(rng, "How many letters are shown in the video?", str(len(story.letters)), "1234")


def _moving_count(story: Story, rng: Random) -> Question:
    return _one_of(rng, "How many objects are moving in the video?", str(1 + story.hops), "0123")


def _moving_attribute(story: Story, rng: Random) -> Question:
    first, second = _colours(story)
    return _one_of(rng, "What color is the arrow at the beginning of the video?", first, COLOURS, unlike=(second,))


def _state_change(story: Story, rng: Random) -> Question:
    first, second = _colours(story)
    return _one_of(rng, "What color does the arrow become?", second, COLOURS, unlike=(first,))


def _fine_grained_pose(story: Story, rng: Random) -> Question:
    return _one_of(rng, "What shape is beside the arrow?", f"a {story.guest}", [f"a {shape}" for shape in SHAPES])


def _character_order(story: Story, rng: Random) -> Question:
    place = rng.choice((0, -1))
    shown = [letter for letter in story.letters if letter != story.letters[place]]
    unseen = rng.sample([letter for letter in LETTERS if letter not in story.letters], 3 - len(shown))
    return Question(f"Which letter is shown {('first', 'last')[place]}?", story.letters[place], (*shown, *unseen))


def _egocentric_navigation(story: Story, rng: Random) -> Question:
    return _way(rng, "You follow the arrow. Where do you go last?", story, 1, "Turn {}.")


def _episodic_reasoning(story: Story, rng: Random) -> Question:
    return _one_of(rng, "What color is the floor?", _floors(story)[1], COLOURS)


def _counterfactual_inference(story: Story, rng: Random) -> Question:
    first, second = _floors(story)
    text = "What color would the floor be if it had not changed?"
    return _one_of(rng, text, first, COLOURS, unlike=(second,))


def _floors(story: Story) -> tuple[str, str]:
    if not story.floors:
        raise ValueError("the floor of this story is plain")
    return story.floors


def _colours(story: Story) -> tuple[str, str]:
    if not story.colours:
        raise ValueError("the arrow of this story is plain")
    return story.colours


Asker = Callable[[Story, Random], Question]
_ALL: tuple[Asker, ...] = (
    _action_sequence, _action_prediction, _action_antonym, _fine_grained_action, _unexpected_action,
    _object_existence, _object_interaction, _object_shuffle, _moving_direction, _action_localization,
    _scene_transition, _action_count, _moving_count, _moving_attribute, _state_change, _fine_grained_pose,
    _character_order, _egocentric_navigation, _episodic_reasoning, _counterfactual_inference,
)  # fmt: skip
ASKERS: Mapping[str, Asker] = {asker.__name__.strip("_"): asker for asker in _ALL}
# The part of the clip that a sub-task asks about, parts of the clip; the others ask about all of it.
PARTS: Mapping[str, tuple[float, float]] = {"action_prediction": (0.0, 0.45), "episodic_reasoning": (0.55, 1.0)}
# Sub-tasks that need a coloured floor, and those that need a coloured arrow.
ABOUT_FLOOR = frozenset({"scene_transition", "episodic_reasoning", "counterfactual_inference"})
ABOUT_ARROW = frozenset({"moving_attribute", "state_change"})
