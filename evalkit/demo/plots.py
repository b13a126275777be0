"""What happens in the clips: one plot per MVBench sub-task, with a question that the clip answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from random import Random

from PIL import Image, ImageDraw

from evalkit.demo.animation import ROOM, Actor, Key, Painter
from evalkit.demo.drawing import INK, Rgb, draw_text, polygon
from evalkit.demo.words import COLOURS, FIRST_NAMES, RGB


@dataclass(frozen=True)
class Plot:
    """A clip and its question.

    Attributes:
        question: the question.
        answer: the right candidate.
        others: the wrong candidates.
        actors: what moves.
        background: what is painted below; None: an empty room.
        part: start and end of the part asked about, parts of the clip; None: all of it.
    """

    question: str
    answer: str
    others: tuple[str, ...]
    actors: tuple[Actor, ...] = ()
    background: Painter | None = None
    part: tuple[float, float] | None = None


_SOLID = ("circle", "square", "triangle", "diamond")
_PLACES = ("left", "middle", "right")
_THIRDS = (0.2, 0.5, 0.8)


def _others(rng: Random, answer: str, pool: Sequence[str], count: int = 3) -> tuple[str, ...]:
    return tuple(rng.sample([text for text in pool if text != answer], count))


def _still(shape: str, colour: str, x: float, y: float, size: float = 0.26) -> Actor:
    return Actor(shape, colour, (Key(0, x, y, size),))


def _phases(rng: Random) -> list[tuple[str, list[Key]]]:
    """Return three things that one shape does, one after another, each with its keys."""
    makers: dict[str, Callable[[float], list[Key]]] = {
        "Jumped up and down": lambda t: [Key(t + 0.08, 0.5, 0.25), Key(t + 0.16, 0.5, 0.65), Key(t + 0.24, 0.5, 0.25)],
        "Moved to the left": lambda t: [Key(t + 0.15, 0.15, 0.65), Key(t + 0.22, 0.15, 0.65)],
        "Moved to the right": lambda t: [Key(t + 0.15, 0.85, 0.65), Key(t + 0.22, 0.85, 0.65)],
        "Became larger": lambda t: [Key(t + 0.15, 0.5, 0.65, 0.6), Key(t + 0.22, 0.5, 0.65, 0.6)],
        "Turned over": lambda t: [Key(t + 0.28, 0.5, 0.65, 0.26, 180)],
    }
    names = rng.sample(sorted(makers), 3)
    return [(name, [Key(place / 3, 0.5, 0.65), *makers[name](place / 3)]) for place, name in enumerate(names)]


_DEEDS = ("Jumped up and down", "Moved to the left", "Moved to the right", "Became larger", "Turned over")


def action_sequence(rng: Random) -> Plot:
    """A square does three things; the question is what it did after the second last."""
    phases = _phases(rng)
    keys = tuple(key for _, deeds in phases for key in deeds)
    actor = Actor("square", rng.choice(COLOURS), (*keys, Key(1.0, 0.5, 0.65)))
    before, answer = phases[1][0], phases[2][0]
    question = f"What did the {actor.name} do after it {before[0].lower()}{before[1:]}?"
    others = _others(rng, answer, [deed for deed in _DEEDS if deed != before])
    return Plot(question, answer, others, (actor,), part=(0.33, 1.0))


def _corner_boxes(rng: Random, colours: Sequence[str]) -> list[Actor]:
    corners = [(0.12, 0.16), (0.88, 0.16), (0.12, 0.84), (0.88, 0.84)]
    return [_still("square", colour, x, y, 0.22) for colour, (x, y) in zip(colours, corners, strict=True)]


def action_prediction(rng: Random) -> Plot:
    """A circle is on its way to one of four squares; the part ends before it is there."""
    tint, *colours = rng.sample(COLOURS, 5)
    boxes = _corner_boxes(rng, colours)
    goal = rng.choice(boxes)
    end = goal.keys[0]
    actor = Actor("circle", tint, (Key(0, 0.5, 0.5, 0.2), Key(1, end.x, end.y, 0.2)))
    pool = [f"Touch the {box.name}." for box in boxes]
    answer = f"Touch the {goal.name}."
    question = f"What will the {actor.name} do next?"
    return Plot(question, answer, _others(rng, answer, pool), (*boxes, actor), part=(0.0, 0.6))


def object_interaction(rng: Random) -> Plot:
    """A circle goes to one of four squares and back."""
    tint, *colours = rng.sample(COLOURS, 5)
    boxes = _corner_boxes(rng, colours)
    goal = rng.choice(boxes)
    end = goal.keys[0]
    path = (Key(0, 0.5, 0.5, 0.2), Key(0.45, end.x, end.y, 0.2), Key(0.6, end.x, end.y, 0.2), Key(1, 0.5, 0.5, 0.2))
    actor = Actor("circle", tint, path)
    pool = [f"The {box.name}." for box in boxes]
    answer = f"The {goal.name}."
    question = f"Which object was touched by the {actor.name}?"
    return Plot(question, answer, _others(rng, answer, pool), (*boxes, actor), part=(0.05, 0.95))


def action_antonym(rng: Random) -> Plot:
    """A shape grows or shrinks."""
    colour, shape = rng.choice(COLOURS), rng.choice(_SOLID)
    sizes = rng.sample((0.15, 0.8), 2)
    actor = Actor(shape, colour, (Key(0, 0.5, 0.5, sizes[0]), Key(1, 0.5, 0.5, sizes[1])))
    texts = [f"The {actor.name} becomes larger.", f"The {actor.name} becomes smaller."]
    answer = texts[int(sizes[0] > sizes[1])]
    others = (*_others(rng, answer, texts, 1), "not sure")
    return Plot("What is the action performed in the video?", answer, others, (actor,))


def fine_grained_action(rng: Random) -> Plot:
    """A square moves in one of five ways."""
    up_down = tuple(Key(i / 6, 0.5, 0.2 + 0.6 * (i % 2)) for i in range(7))
    zigzag = tuple(Key(i / 6, 0.1 + 0.8 * i / 6, 0.3 + 0.4 * (i % 2)) for i in range(7))
    ways = {
        "bouncing": up_down,
        "zigzagging": zigzag,
        "spinning": (Key(0, 0.5, 0.5, 0.4), Key(1, 0.5, 0.5, 0.4, 720)),
        "sliding": (Key(0, 0.1, 0.7), Key(1, 0.9, 0.7)),
        "growing": (Key(0, 0.5, 0.5, 0.12), Key(1, 0.5, 0.5, 0.8)),
    }
    answer = rng.choice(sorted(ways))
    actor = Actor("square", rng.choice(COLOURS), ways[answer])
    question = f"What is the {actor.name} doing?"
    return Plot(question, answer, _others(rng, answer, sorted(ways)), (actor,))


def unexpected_action(rng: Random) -> Plot:
    """Three shapes drift to the right; something odd happens to one of them."""
    colours = rng.sample(COLOURS, 4)
    odd = rng.randrange(3)
    ends = {
        "suddenly falls down.": ((Key(0.5, 0.4, 0.2 + 0.3 * odd), Key(0.65, 0.4, 1.3)), ()),
        "suddenly disappears.": ((Key(0.5, 0.4, 0.2 + 0.3 * odd), Key(0.51, 0.4, 0.2 + 0.3 * odd, 0)), ()),
        "suddenly changes its color.": ((Key(1, 0.75, 0.2 + 0.3 * odd),), ((0.5, colours[3]),)),
        "suddenly becomes very large.": (
            (Key(0.5, 0.4, 0.2 + 0.3 * odd), Key(0.6, 0.45, 0.2 + 0.3 * odd, 0.8), Key(1, 0.7, 0.2 + 0.3 * odd, 0.8)),
            (),
        ),
    }
    what = rng.choice(sorted(ends))
    actors = []
    for place in range(3):
        y = 0.2 + 0.3 * place
        keys, turns = ends[what] if place == odd else ((Key(1, 0.75, y),), ())
        actors.append(Actor("circle", colours[place], (Key(0, 0.12, y), *keys), turns))
    actors.append(actors.pop(odd))  # in front of the others
    name = actors[-1].name
    answer = f"The {name} {what}"
    pool = [f"The {name} {other}" for other in sorted(ends)]
    return Plot("What unexpected event happens in the video?", answer, _others(rng, answer, pool), tuple(actors))


def object_existence(rng: Random) -> Plot:
    """Three moving shapes; the question is about one that may be there."""
    shapes, colours = rng.sample(_SOLID, 3), rng.sample(COLOURS, 4)
    ways = rng.choices(((0.15, 0.85), (0.85, 0.15)), k=3)
    actors = tuple(
        Actor(shape, colour, (Key(0, start, y), Key(1, end, y)))
        for shape, colour, y, (start, end) in zip(shapes, colours, (0.17, 0.5, 0.83), ways, strict=False)
    )
    there = rng.random() < 0.5
    asked = rng.choice(actors).name if there else f"{colours[3]} {rng.choice(shapes)}"
    answer = "yes" if there else "no"
    others = ("no" if there else "yes", "not sure")
    return Plot(f"Is there a {asked} in the video?", answer, others, actors)


def object_shuffle(rng: Random) -> Plot:
    """A ball goes under one of three cups, which then change places."""
    cup, ball = rng.sample(COLOURS, 2)
    hidden = rng.randrange(3)
    places = [0, 1, 2]  # place of each cup
    paths = [[Key(0, x, 0.6, 0.28)] for x in _THIRDS]
    for step in range(3):
        start, first, second = 0.28 + 0.22 * step, *rng.sample(range(3), 2)
        for one, height in ((first, 0.31), (second, 0.89)):
            other = second if one == first else first
            x0, x1 = _THIRDS[places[one]], _THIRDS[places[other]]
            middle = Key(start + 0.09, (x0 + x1) / 2, height, 0.28)
            paths[one] += [Key(start, x0, 0.6, 0.28), middle, Key(start + 0.18, x1, 0.6, 0.28)]
        places[first], places[second] = places[second], places[first]
    x = _THIRDS[hidden]
    drop = (Key(0, x, 0.12, 0.14), Key(0.1, x, 0.12, 0.14), Key(0.22, x, 0.62, 0.14), Key(0.23, x, 0.62, 0))
    cups = [Actor("square", cup, tuple(path)) for path in paths]
    answer = f"Under the {_PLACES[places[hidden]]} object."
    pool = [f"Under the {place} object." for place in _PLACES]
    question = f"Where is the {ball} circle at the end of the video?"
    return Plot(question, answer, _others(rng, answer, pool, 2), (*cups, Actor("circle", ball, drop)))


def moving_direction(rng: Random) -> Plot:
    """A shape crosses the picture towards a corner; another rests."""
    corners = {
        "Up and to the right.": (0.85, 0.15),
        "Up and to the left.": (0.15, 0.15),
        "Down and to the right.": (0.85, 0.85),
        "Down and to the left.": (0.15, 0.85),
    }
    answer = rng.choice(sorted(corners))
    x, y = corners[answer]
    colours = rng.sample(COLOURS, 2)
    actor = Actor(rng.choice(_SOLID), colours[0], (Key(0, 1 - x, 1 - y), Key(1, x, y)))
    question = f"What direction is the {actor.name} moving in within the video?"
    rest = _still("star", colours[1], x, 1 - y, 0.2)
    return Plot(question, answer, _others(rng, answer, sorted(corners)), (rest, actor))


def action_localization(rng: Random) -> Plot:
    """A shape spins during one third of the clip or all the time."""
    times = {
        "Throughout the entire video.": (0.0, 1.0),
        "At the beginning of the video.": (0.0, 0.33),
        "In the middle of the video.": (0.33, 0.67),
        "At the end of the video.": (0.67, 1.0),
    }
    answer = rng.choice(sorted(times))
    start, end = times[answer]
    keys = (Key(start, 0.5, 0.5, 0.4), Key(end, 0.5, 0.5, 0.4, 700 * (end - start)))
    actor = Actor("square", rng.choice(COLOURS), keys)
    question = f"During which part of the video does the {actor.name} spin?"
    return Plot(question, answer, _others(rng, answer, sorted(times)), (actor,), part=(0.0, 1.0))


def scene_transition(rng: Random) -> Plot:
    """The room changes its colour; a shape walks on."""
    tint, *rooms = rng.sample(COLOURS, 5)

    def paint(image: Image.Image, time: float) -> None:
        image.paste(RGB[rooms[int(time >= 0.5)]], (0, 0, *image.size))

    actor = Actor("circle", tint, (Key(0, 0.1, 0.6), Key(1, 0.9, 0.6)))
    pool = [f"From the {one} room to the {two} room." for one, two in permutations(rooms, 2)]
    answer = f"From the {rooms[0]} room to the {rooms[1]} room."
    question = "What's the right option for how the scenes in the video change?"
    return Plot(question, answer, _others(rng, answer, pool), (actor,), paint)


def action_count(rng: Random) -> Plot:
    """A circle jumps a few times."""
    jumps = rng.randint(1, 5)
    keys = [Key(0, 0.5, 0.8)]
    for jump in range(jumps):
        start = 0.05 + 0.18 * jump
        keys += [Key(start, 0.5, 0.8), Key(start + 0.08, 0.5, 0.25), Key(start + 0.16, 0.5, 0.8)]
    actor = Actor("circle", rng.choice(COLOURS), tuple(keys))
    question = f"How many times does the {actor.name} jump?"
    return Plot(question, str(jumps), _others(rng, str(jumps), "12345"), (actor,))


def moving_count(rng: Random) -> Plot:
    """Some of four shapes move."""
    moving = rng.randint(0, 4)
    actors = []
    for place, colour in enumerate(rng.sample(COLOURS, 4)):
        y = 0.14 + 0.24 * place
        keys = (Key(0, 0.2, y, 0.2), Key(1, 0.8, y, 0.2)) if place < moving else (Key(0, 0.5, y, 0.2),)
        actors.append(Actor(rng.choice(_SOLID), colour, keys))
    answer = str(moving)
    return Plot("How many objects are moving in the video?", answer, _others(rng, answer, "01234"), tuple(actors))


def moving_attribute(rng: Random) -> Plot:
    """One of four shapes moves; the question is which colour it has."""
    colours = rng.sample(COLOURS, 4)
    moving = rng.randrange(4)
    actors = []
    for place, colour in enumerate(colours):
        x = 0.14 + 0.24 * place
        path = (Key(0, x, 0.2, 0.22), Key(0.5, x, 0.8, 0.22), Key(1, x, 0.3, 0.22))
        actors.append(Actor("circle", colour, path if place == moving else (Key(0, x, 0.5, 0.22),)))
    question = "What color is the object that is moving in the video?"
    return Plot(question, colours[moving], _others(rng, colours[moving], colours), tuple(actors))


def state_change(rng: Random) -> Plot:
    """A lamp is switched once or twice; a shape passes below it."""
    lit = rng.random() < 0.5
    switches = sorted(rng.sample((0.25, 0.5, 0.75), rng.randint(1, 2)))

    def paint(image: Image.Image, time: float) -> None:
        on = lit ^ (sum(switch <= time for switch in switches) % 2 == 1)
        image.paste(ROOM if on else (92, 92, 104), (0, 0, *image.size))
        draw = ImageDraw.Draw(image)
        draw.line((96, 0, 96, 20), fill=INK, width=3)
        draw.ellipse((76, 18, 116, 58), fill=(255, 220, 60) if on else (140, 140, 146), outline=INK, width=2)

    finally_on = lit ^ (len(switches) % 2 == 1)
    answer = "yes" if finally_on else "no"
    others = ("no" if finally_on else "yes", "I don't know")
    actor = Actor("square", rng.choice(COLOURS[:6]), (Key(0, 0.1, 0.78), Key(1, 0.9, 0.78)))
    return Plot("Is the lamp on at the end of the video?", answer, others, (actor,), paint)


# Joints of a figure in the unit square: both hands, hip, both feet.
_Joints = tuple[tuple[float, float], ...]
_REST: _Joints = ((0.38, 0.62), (0.62, 0.62), (0.5, 0.6), (0.42, 0.95), (0.58, 0.95))
POSES: Mapping[str, _Joints] = {
    "raise both arms": ((0.34, 0.06), (0.66, 0.06), *_REST[2:]),
    "stretch the arms to the sides": ((0.2, 0.34), (0.8, 0.34), *_REST[2:]),
    "kick with one leg": (*_REST[:3], (0.42, 0.95), (0.82, 0.66)),
    "spread the legs": (*_REST[:3], (0.22, 0.95), (0.78, 0.95)),
    "bow": ((0.2, 0.66), (0.26, 0.7), (0.5, 0.6), (0.46, 0.95), (0.54, 0.95)),
}


def fine_grained_pose(rng: Random) -> Plot:
    """A stick figure goes from rest into a pose."""
    answer = rng.choice(sorted(POSES))
    colour = RGB[rng.choice(COLOURS)]

    def paint(image: Image.Image, time: float) -> None:
        part = min(1.0, time * 2)
        joints = [
            (x0 + (x1 - x0) * part, y0 + (y1 - y0) * part)
            for (x0, y0), (x1, y1) in zip(_REST, POSES[answer], strict=True)
        ]
        _figure(image, joints, colour, 0.22 * part if answer == "bow" else 0.0)

    question = "What is the pose performed by the person in the video?"
    return Plot(question, answer, _others(rng, answer, sorted(POSES)), (), paint)


def _figure(image: Image.Image, joints: Sequence[tuple[float, float]], colour: Rgb, lean: float) -> None:
    """Draw a stick figure; ``lean`` moves head and shoulders forward and down."""
    side = image.height
    offset = (image.width - side) / 2

    def place(x: float, y: float) -> tuple[float, float]:
        return offset + x * side, y * side

    left, right, hip, *feet = (place(*joint) for joint in joints)
    neck, head = place(0.5 - lean, 0.34 + lean * 0.5), place(0.5 - lean * 1.6, 0.2 + lean)
    draw = ImageDraw.Draw(image)
    for start, end in ((neck, hip), (neck, left), (neck, right), (hip, feet[0]), (hip, feet[1])):
        draw.line((*start, *end), fill=colour, width=6)
    draw.ellipse((head[0] - 13, head[1] - 13, head[0] + 13, head[1] + 13), fill=colour)


def character_order(rng: Random) -> Plot:
    """Three letters are shown one after another."""
    letters = rng.sample("ABCDEFHKLMNPRTXZ", 3)
    colour = RGB[rng.choice(COLOURS)]

    def paint(image: Image.Image, time: float) -> None:
        middle = image.width / 2, image.height / 2
        draw_text(image, middle, letters[min(2, int(time * 3))], 100, colour, "mm")

    pool = ["".join(order) for order in permutations(letters)]
    answer = pool[0]
    question = "What letters are shown in the video, in the order in which they appear?"
    return Plot(question, answer, _others(rng, answer, pool), (), paint)


def egocentric_navigation(rng: Random) -> Plot:
    """A road as its driver sees it bends to one side, or goes on, or is closed."""
    ways = {
        "Move forward and turn left.": -0.42,
        "Move forward and turn right.": 0.42,
        "Move straight forward.": 0.0,
        "Move forward and stop at the wall.": 0.0,
    }
    answer = rng.choice(sorted(ways))
    grass = rng.choice(((120, 160, 96), (176, 160, 116), (150, 170, 150)))

    def paint(image: Image.Image, time: float) -> None:
        width, height = image.size
        horizon = height * 0.45
        image.paste((186, 214, 240), (0, 0, *image.size))
        image.paste(grass, (0, round(horizon), *image.size))
        end = width * (0.5 + ways[answer] * max(0.0, time * 2 - 1))
        edge = [(width * 0.1, height), (end - 6, horizon), (end + 6, horizon), (width * 0.9, height)]
        polygon(image, edge, (96, 96, 102))
        # Stripes come nearer: the viewer moves.
        for place in range(4):
            near = ((place + time * 5) % 4 / 4) ** 2
            x, y = end + (width / 2 - end) * near, horizon + (height - horizon) * near
            bottom = y + 14 * near
            stripe = [(x - 6 * near, bottom), (x + 6 * near, bottom), (x + 4 * near, y), (x - 4 * near, y)]
            polygon(image, stripe, (240, 240, 240))
        if "wall" in answer:
            half, down = width * (0.05 + 0.4 * time), height * (0.02 + 0.4 * time)
            wall = (width / 2 - half, horizon - down / 2, width / 2 + half, horizon + down)
            ImageDraw.Draw(image).rectangle(wall, fill=(160, 80, 60))

    question = "This is what a driver sees. How does the driver go on?"
    return Plot(question, answer, _others(rng, answer, sorted(ways)), (), paint)


def episodic_reasoning(rng: Random) -> Plot:
    """Three people with names; one leaves the room during the part asked about."""
    names, colours = rng.sample(FIRST_NAMES, 4), rng.sample(COLOURS, 3)
    leaving = rng.randrange(3)
    actors = []
    for place, (name, colour) in enumerate(zip(names, colours, strict=False)):
        x = _THIRDS[place]
        keys = [Key(0, x, 0.45, 0.3), Key(0.25, x, 0.4, 0.3), Key(0.5, x, 0.45, 0.3)]
        keys.append(Key(0.8, x, 1.4, 0.3) if place == leaving else Key(0.8, x, 0.45, 0.3))
        actors.append(Actor("circle", colour, tuple(keys), label=name))
    answer = f"{names[leaving]} left the room."
    pool = [f"{name} left the room." for name in names]
    question = "What happened after the three friends had met?"
    return Plot(question, answer, _others(rng, answer, pool), tuple(actors), part=(0.2, 1.0))


def counterfactual_inference(rng: Random) -> Plot:
    """A circle pushes one of two squares; the question is what would be without it."""
    tint, *colours = rng.sample(COLOURS, 3)
    rows = rng.sample((0.28, 0.72), 2)
    y = rows[0]
    pusher = Actor("circle", tint, (Key(0, 0.08, y), Key(0.5, 0.41, y), Key(1, 0.41, y)))
    pushed = Actor("square", colours[0], (Key(0, 0.61, y), Key(0.5, 0.61, y), Key(1, 0.9, y)))
    other = Actor("square", colours[1], (Key(0, 0.1, rows[1]), Key(1, 0.9, rows[1])))
    answer = f"The {pushed.name} stays where it is."
    others = (
        f"The {pushed.name} moves to the right.",
        f"The {other.name} stays where it is.",
        f"The {other.name} moves to the left.",
    )
    question = f"What will happen without the {pusher.name}?"
    return Plot(question, answer, others, (pusher, pushed, other))


_ALL = (
    action_sequence, action_prediction, action_antonym, fine_grained_action, unexpected_action, object_existence,
    object_interaction, object_shuffle, moving_direction, action_localization, scene_transition, action_count,
    moving_count, moving_attribute, state_change, fine_grained_pose, character_order, egocentric_navigation,
    episodic_reasoning, counterfactual_inference,
)  # fmt: skip
PLOTS: Mapping[str, Callable[[Random], Plot]] = {plot.__name__: plot for plot in _ALL}
