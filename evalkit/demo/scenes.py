"""RefCOCO, RefCOCO+ and RefCOCOg in the official layout: scenes of coloured shapes, boxes known from the drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from PIL import Image

from evalkit.demo.drawing import Box, draw_shape, wall
from evalkit.demo.files import save_image, write_jsonl
from evalkit.demo.words import COLOURS, RGB, SHAPES

EXPRESSIONS_AN_IMAGE = 7
_THINGS = 4
_CELLS = {(236, 236): (118, 118), (354, 118): (88, 118), (118, 354): (118, 88)}  # one thing a cell: none covers another
_SIDES = (42, 76)  # least and greatest side of a thing
_CLEAR = 16  # pixels by which one thing must be further left, larger ... than the next to be called so
_ROOMS = (((236, 232, 222), (206, 198, 184)), ((222, 232, 238), (190, 204, 196)), ((240, 230, 226), (214, 206, 214)))


class Thing(NamedTuple):
    """A shape of a scene."""

    colour: str
    shape: str
    box: Box

    @property
    def name(self) -> str:
        """Colour and shape."""
        return f"{self.colour} {self.shape}"


class Expression(NamedTuple):
    """A sentence and the one thing that it fits."""

    sentence: str
    thing: Thing


class Scene(NamedTuple):
    """Things in a room of a size in pixels."""

    size: tuple[int, int]
    things: tuple[Thing, ...]


def make_scene(rng: Random) -> Scene:
    """Return a scene in which every dataset finds enough to say."""
    while True:
        size, (wide, high) = rng.choice(list(_CELLS.items()))
        cells = [(x, y) for x in range(0, size[0] - wide + 1, wide) for y in range(0, size[1] - high + 1, high)]
        things = []
        for left, top in rng.sample(cells, _THINGS):
            side = rng.randint(*_SIDES)
            x, y = left + rng.randint(6, wide - side - 6), top + rng.randint(6, high - side - 6)
            # Few kinds and colours: else every thing could be named by one word.
            things.append(Thing(rng.choice(COLOURS), rng.choice(SHAPES), (x, y, x + side, y + side)))
        scene = Scene(size, tuple(things))
        if all(len(find(scene.things)) >= EXPRESSIONS_AN_IMAGE for find in STYLES.values()):
            return scene


def draw_scene(scene: Scene, rng: Random) -> Image.Image:
    """Draw a scene's room and things."""
    image = wall(scene.size, *rng.choice(_ROOMS), horizon=0.62)
    for thing in scene.things:
        draw_shape(image, thing.shape, RGB[thing.colour], thing.box)
    return image


def by_look(things: Sequence[Thing]) -> list[Expression]:
    """Return expressions without places, as in RefCOCO+."""
    found = []
    for thing in things:
        if _one([other.name == thing.name for other in things]):
            found += [Expression(thing.name, thing), Expression(f"the {thing.name}", thing)]
        if _one([other.colour == thing.colour for other in things]):
            found.append(Expression(f"{thing.colour} one", thing))
        if _one([other.shape == thing.shape for other in things]):
            found.append(Expression(f"the only {thing.shape}", thing))
    ranks = {
        "largest": lambda thing: thing.box[0] - thing.box[2],
        "smallest": lambda thing: thing.box[2] - thing.box[0],
    }
    return found + _extremes(things, ranks, "the {rank} {noun}")


def by_place(things: Sequence[Thing]) -> list[Expression]:
    """Return expressions with places in the image, as in RefCOCO."""
    ranks: dict[str, Callable[[Thing], int]] = {
        "on the left": lambda thing: thing.box[0],
        "on the right": lambda thing: -thing.box[2],
        "at the top": lambda thing: thing.box[1],
        "at the bottom": lambda thing: -thing.box[3],
    }
    return _extremes(things, ranks, "{noun} {rank}") + by_look(things)[::2]


def by_neighbour(things: Sequence[Thing]) -> list[Expression]:
    """Return sentences that tell a thing by another one, as in RefCOCOg."""
    sides: dict[str, Callable[[Box, Box], bool]] = {
        "to the left of": lambda one, other: one[2] < other[0],
        "to the right of": lambda one, other: one[0] > other[2],
        "above": lambda one, other: one[3] < other[1],
        "below": lambda one, other: one[1] > other[3],
    }
    found = []
    for mark in things:
        if not _one([other.name == mark.name for other in things]):
            continue
        for side, holds in sides.items():
            beside = [thing for thing in things if thing is not mark and holds(thing.box, mark.box)]
            for thing in beside:
                if _one([other.shape == thing.shape for other in beside]):
                    found.append(Expression(f"a {thing.shape} that is {side} the {mark.name}", thing))
    return found


STYLES: Mapping[str, Callable[[Sequence[Thing]], list[Expression]]] = {
    "refcoco": by_place,
    "refcoco+": by_look,
    "refcocog": by_neighbour,
}
# Datasets that share the images of a split, as RefCOCO and RefCOCO+ do.
SPLITS = (
    (("refcoco", "refcoco+"), "val"),
    (("refcoco", "refcoco+"), "testA"),
    (("refcoco", "refcoco+"), "testB"),
    (("refcocog",), "val"),
    (("refcocog",), "test"),
)


def _one(flags: Sequence[bool]) -> bool:
    return sum(flags) == 1


def _extremes(things: Sequence[Thing], ranks: Mapping[str, Callable[[Thing], int]], template: str) -> list[Expression]:
    """Return an expression for the first thing by each rank, among all and among those of its shape."""
    groups = {"thing": list(things)}
    groups |= {shape: [thing for thing in things if thing.shape == shape] for shape in SHAPES}
    found = []
    for noun, group in groups.items():
        for rank, key in ranks.items():
            order = sorted(group, key=key)
            if len(order) > 1 and key(order[1]) - key(order[0]) >= _CLEAR:
                found.append(Expression(template.format(rank=rank, noun=noun), order[0]))
    return found


def write_refcoco(data: Path, count: int, rng: Random) -> None:
    """Write the eight splits.

    Args:
        data: the data folder.
        count: expressions a split.
        rng: source of all chance.
    """
    number = 0
    for datasets, split in SPLITS:
        rows: dict[str, list[dict[str, object]]] = {dataset: [] for dataset in datasets}
        while len(rows[datasets[0]]) < count:
            scene = make_scene(rng)
            number += rng.randint(1, 900)
            image = f"coco/train2014/COCO_train2014_{number:012d}.jpg"
            save_image(data / image, draw_scene(scene, rng))
            for dataset in datasets:
                wanted = min(EXPRESSIONS_AN_IMAGE, count - len(rows[dataset]))
                for sentence, thing in rng.sample(STYLES[dataset](scene.things), wanted):
                    box = [float(value) for value in thing.box]
                    width, height = scene.size
                    row = {"image": f"data/{image}", "sent": sentence, "bbox": box, "height": height, "width": width}
                    rows[dataset].append(row)
        for dataset in datasets:
            write_jsonl(data / "refcoco" / f"{dataset}_{split}.jsonl", rows[dataset])
