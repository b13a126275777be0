"""RefCOCO, RefCOCO+ and RefCOCOg in the official layout: scenes of coloured shapes, boxes known from the drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import NamedTuple

from PIL import Image

from scripts.demo.drawing import Box, centred, draw_shape, wall
from scripts.demo.files import save_image, write_jsonl
from scripts.demo.words import COLOURS, RGB, SHAPES

EXPRESSIONS_AN_IMAGE = 7
_THINGS = 4
_CELLS = {(236, 236): (118, 118), (354, 118): (88, 118), (118, 354): (118, 88)}  # one thing a cell: none covers another
_SIDE = 68  # of every thing
# Where the middle of a thing is along a side of its cell: well inside one image token of a tile and of the thumbnail.
_MIDDLES = {118: 50, 88: 44}
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
        places, looks = (
            rng.sample(cells, _THINGS),
            zip(rng.sample(COLOURS, _THINGS), rng.sample(SHAPES, _THINGS), strict=True),
        )
        for (left, top), (colour, shape) in zip(places, looks, strict=True):
            things.append(Thing(colour, shape, centred(left + _MIDDLES[wide], top + _MIDDLES[high], _SIDE)))
        scene = Scene(size, tuple(things))
        if all(len(find(scene)) >= EXPRESSIONS_AN_IMAGE for find in STYLES.values()):
            return scene


def draw_scene(scene: Scene, rng: Random) -> Image.Image:
    """Draw a scene's room and things."""
    image = wall(scene.size, *rng.choice(_ROOMS), horizon=0.62)
    for thing in scene.things:
        draw_shape(image, thing.shape, RGB[thing.colour], thing.box)
    return image


def by_look(scene: Scene) -> list[Expression]:
    """Return expressions without places, as in RefCOCO+. Every thing has a colour and a shape of its own."""
    return [
        Expression(template.format(thing=thing), thing)
        for thing in scene.things
        for template in ("{thing.name}", "the {thing.name}", "{thing.colour} one", "the only {thing.shape}")
    ]


def by_place(scene: Scene) -> list[Expression]:
    """Return expressions with places in the image, as in RefCOCO."""
    found = []
    for thing in scene.things:
        across, down = ((thing.box[side] + thing.box[side + 2]) / 2 / scene.size[side] for side in (0, 1))
        places = {
            "on the left": across < 0.4,
            "on the right": across > 0.6,
            "at the top": down < 0.4,
            "at the bottom": down > 0.6,
        }
        found += [
            Expression(f"{noun} {place}", thing)
            for place, holds in places.items()
            if holds
            for noun in (thing.shape, thing.name)
        ]
    return found


def by_neighbour(scene: Scene) -> list[Expression]:
    """Return sentences that identify a thing by its shape and by another one, as in RefCOCOg."""
    sides: dict[str, Callable[[Box, Box], bool]] = {
        "to the left of": lambda one, other: one[2] < other[0],
        "to the right of": lambda one, other: one[0] > other[2],
        "above": lambda one, other: one[3] < other[1],
        "below": lambda one, other: one[1] > other[3],
    }
    return [
        Expression(f"a {thing.shape} that is {side} the {beside.name}", thing)
        for thing in scene.things
        for beside in scene.things
        if thing is not beside
        for side, holds in sides.items()
        if holds(thing.box, beside.box)
    ]


STYLES: Mapping[str, Callable[[Scene], list[Expression]]] = {
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


def write_refcoco(data: Path, count: int, rng: Random) -> None:
    """Write the eight splits.

    Args:
        data: the data folder.
        count: expressions per split.
        rng: source of randomness.
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
                for sentence, thing in rng.sample(STYLES[dataset](scene), wanted):
                    box = [float(value) for value in thing.box]
                    width, height = scene.size
                    row = {"image": f"data/{image}", "sent": sentence, "bbox": box, "height": height, "width": width}
                    rows[dataset].append(row)
        for dataset in datasets:
            write_jsonl(data / "refcoco" / f"{dataset}_{split}.jsonl", rows[dataset])
