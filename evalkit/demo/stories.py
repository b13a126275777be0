"""What happens in the clips: one little world, and a question about it for each MVBench sub-task.

A sub-task keeps its official name, files and folders; what it asks is simpler than what the real one asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from PIL import Image

from evalkit.demo.drawing import PAPER, Rgb, centred, draw_shape, draw_text, mark, paper
from evalkit.demo.words import COLOURS, RGB, SHAPES

SIZE = (160, 120)
LETTERS = "AHKMRTXZ"
_ROOM: Rgb = (232, 230, 222)
_FLOOR = 98  # where it begins
_COLUMNS, _ROWS = (26, 86), (24, 72)  # the mover goes from corner to corner of this rectangle
_GUEST = (136, 76)
_SIDE = 32
# Corners are numbered row by row; a step flips the column (1) or the row (2).
_CORNERS = ("Top left.", "Top right.", "Bottom left.", "Bottom right.")
_STEPS = ("left", "right", "up", "down")
_STAYS = {"throughout": (0.0, 2.0), "beginning": (0.0, 0.5), "end": (0.5, 2.0)}


@dataclass(frozen=True)
class Story:
    """A shape that moves twice, a guest beside it, letters on a card and a floor.

    Attributes:
        shapes: of mover and guest.
        colours: of mover and guest.
        corners: where the mover is at the start, in the middle and at the end.
        turn: colour of the mover in the second half.
        growth: last size of the mover as a part of its first.
        stay: when the guest is there: a key of ``_STAYS``.
        hops: whether the guest moves too.
        letters: shown one after another.
        floors: colours of the floor in the two halves.
    """

    shapes: tuple[str, str]
    colours: tuple[str, str]
    corners: tuple[int, int, int]
    turn: str
    growth: float
    stay: str
    hops: bool
    letters: tuple[str, ...]
    floors: tuple[str, str]

    def step(self, half: int) -> str:
        """Return in which direction the mover goes in a half."""
        before, after = self.corners[half], self.corners[half + 1]
        return _STEPS[int(after > before) + 2 * int(abs(after - before) == 2)]

    def frame(self, time: float) -> Image.Image:
        """Draw the story at a time, 0..1."""
        half = int(time >= 0.5)
        image = paper(SIZE, _ROOM)
        image.paste(RGB[self.floors[half]], (0, _FLOOR, *SIZE))
        mark(image, f"floor {self.floors[half]}", SIZE[0] / 2, (_FLOOR + SIZE[1]) / 2)
        image.paste(PAPER, (116, 4, 156, 46))
        letter = self.letters[min(int(time * len(self.letters)), len(self.letters) - 1)]
        draw_text(image, (136, 26), letter, 40, anchor="mm")
        start, end = _STAYS[self.stay]
        if start <= time < end:
            lift = 14 * abs((time * 6) % 2 - 1) - 7 if self.hops else 0
            draw_shape(image, self.shapes[1], RGB[self.colours[1]], centred(_GUEST[0], _GUEST[1] - lift, 28))
        part = min(1.0, (time - 0.5 * half) / 0.4)  # the mover rests a little at the end of a half
        (x0, y0), (x1, y1) = (_place(self.corners[half + late]) for late in (0, 1))
        side = _SIDE * (1 + (self.growth - 1) * time)
        tint = self.turn if half else self.colours[0]
        box = centred(x0 + (x1 - x0) * part, y0 + (y1 - y0) * part, side)
        draw_shape(image, self.shapes[0], RGB[tint], box)
        return image


def _place(corner: int) -> tuple[int, int]:
    return _COLUMNS[corner % 2], _ROWS[corner // 2]


def make_story(rng: Random) -> Story:
    """Return a story."""
    shapes = rng.sample(SHAPES, 2)
    colours = rng.sample(COLOURS, 3)
    corners = [rng.randrange(4)]
    for _ in range(2):
        corners.append(corners[-1] ^ rng.choice((1, 2)))
    stay = rng.choice(("throughout", "throughout", "beginning", "end"))
    floors = rng.sample(COLOURS, 2)
    return Story(
        shapes=(shapes[0], shapes[1]),
        colours=(colours[0], colours[1]),
        corners=(corners[0], corners[1], corners[2]),
        turn=rng.choice((colours[0], colours[2])),
        growth=rng.choice((0.5, 1.5)),
        stay=stay,
        hops=stay == "throughout" and rng.random() < 0.5,
        letters=tuple(rng.sample(LETTERS, rng.randint(1, 3))),
        floors=(floors[0], floors[1]),
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


def _one_of(rng: Random, text: str, answer: str, pool: Sequence[str], others: int = 3) -> Question:
    return Question(text, answer, tuple(rng.sample([other for other in pool if other != answer], others)))


def _way(rng: Random, text: str, story: Story, half: int, template: str) -> Question:
    ways = [template.format(step) for step in _STEPS]
    return _one_of(rng, text.format(story.shapes[0]), template.format(story.step(half)), ways)


def _action_sequence(story: Story, rng: Random) -> Question:
    text = f"What did the {{}} do after it moved {story.step(0)}?"
    return _way(rng, text, story, 1, "Moved {}.")


def _action_prediction(story: Story, rng: Random) -> Question:
    return _way(rng, "Which way will the {} go on?", story, 0, "Go {}.")


def _action_antonym(story: Story, rng: Random) -> Question:
    answers = ("It becomes larger.", "It becomes smaller.", "not sure")
    return _one_of(rng, f"What happens to the {story.shapes[0]}?", answers[int(story.growth < 1)], answers, 2)


def _fine_grained_action(story: Story, rng: Random) -> Question:
    return _way(rng, "How does the {} move at first?", story, 0, "moving {}")


def _unexpected_action(story: Story, rng: Random) -> Question:
    guest = story.shapes[1]
    events = {"throughout": "Nothing.", "beginning": f"The {guest} disappears.", "end": f"The {guest} appears."}
    return _one_of(rng, "What unexpected event happens?", events[story.stay], list(events.values()), 2)


def _object_existence(story: Story, rng: Random) -> Question:
    # Guest and mover have different shapes and different colours: their colours swapped are not there.
    place = rng.randrange(2)
    there = rng.random() < 0.5
    asked = f"{story.colours[0 if there else 1]} {story.shapes[0]}"
    if place and story.turn == story.colours[0]:
        asked = f"{story.colours[1 if there else 0]} {story.shapes[1]}"
    answers = ("yes", "no", "not sure")
    return _one_of(rng, f"Is there a {asked} in the video?", answers[int(not there)], answers, 2)


def _object_interaction(story: Story, rng: Random) -> Question:
    shapes = [f"The {shape}." for shape in SHAPES]
    return _one_of(rng, "Which object is below the letter?", f"The {story.shapes[1]}.", shapes)


def _object_shuffle(story: Story, rng: Random) -> Question:
    text = f"Where is the {story.shapes[0]} at the end of the video?"
    return _one_of(rng, text, _CORNERS[story.corners[2]], _CORNERS)


def _moving_direction(story: Story, rng: Random) -> Question:
    return _way(rng, "What direction is the {} moving in at the end?", story, 1, "To {}.")


def _action_localization(story: Story, rng: Random) -> Question:
    times = {
        "throughout": "Throughout the entire video.",
        "beginning": "At the beginning of the video.",
        "end": "At the end of the video.",
    }
    text = f"During which part of the video is the {story.shapes[1]} there?"
    return _one_of(rng, text, times[story.stay], list(times.values()), 2)


def _scene_transition(story: Story, rng: Random) -> Question:
    one, two = story.floors
    other = rng.choice([colour for colour in COLOURS if colour not in story.floors])
    pool = [f"From {first} to {last}." for first, last in ((one, two), (two, one), (one, other), (other, two))]
    return _one_of(rng, "How does the floor change?", pool[0], pool)


def _action_count(story: Story, rng: Random) -> Question:
    return _one_of(rng, "How many letters are shown in the video?", str(len(story.letters)), "1234")


def _moving_count(story: Story, rng: Random) -> Question:
    return _one_of(rng, "How many objects are moving in the video?", str(1 + story.hops), "0123")


def _moving_attribute(story: Story, rng: Random) -> Question:
    text = f"What color is the {story.shapes[0]} at the beginning of the video?"
    return _one_of(rng, text, story.colours[0], COLOURS)


def _state_change(story: Story, rng: Random) -> Question:
    answers = ("yes", "no", "I don't know")
    text = f"Does the {story.shapes[0]} change its color?"
    return _one_of(rng, text, answers[int(story.turn == story.colours[0])], answers, 2)


def _fine_grained_pose(story: Story, rng: Random) -> Question:
    return _one_of(rng, "What shape moves from corner to corner?", f"a {story.shapes[0]}", [f"a {s}" for s in SHAPES])


def _character_order(story: Story, rng: Random) -> Question:
    place = rng.choice((0, -1))
    text = f"Which letter is shown {('first', 'last')[place]}?"
    return _one_of(rng, text, story.letters[place], LETTERS)


def _egocentric_navigation(story: Story, rng: Random) -> Question:
    return _way(rng, "You follow the {}. Where do you go last?", story, 1, "Turn {}.")


def _episodic_reasoning(story: Story, rng: Random) -> Question:
    return _one_of(rng, "What color is the floor?", story.floors[1], COLOURS)


def _counterfactual_inference(story: Story, rng: Random) -> Question:
    text = "What color would the floor be if it had not changed?"
    return _one_of(rng, text, story.floors[0], COLOURS)


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
