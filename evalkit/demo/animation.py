"""Moving shapes: actors with key positions, rendered to frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image

from evalkit.demo.drawing import Rgb, centred, draw_shape, draw_text, paper
from evalkit.demo.words import RGB

SIZE = (192, 144)
ROOM: Rgb = (232, 230, 222)


class Key(NamedTuple):
    """Where an actor is at a time; between keys it moves evenly.

    Attributes:
        time: part of the clip, 0..1.
        x: middle, part of the width.
        y: middle, part of the height.
        size: part of the height; 0 hides the actor.
        angle: degrees.
    """

    time: float
    x: float
    y: float
    size: float = 0.26
    angle: float = 0.0


@dataclass(frozen=True)
class Actor:
    """A shape and its path.

    Attributes:
        shape: a name of ``OUTLINES``.
        colour: a name of ``RGB``.
        keys: in order of time; before the first and after the last the actor rests there.
        turns: (time, colour name) of changes of colour, in order.
        label: written below.
    """

    shape: str
    colour: str
    keys: tuple[Key, ...]
    turns: tuple[tuple[float, str], ...] = ()
    label: str = ""

    @property
    def name(self) -> str:
        """First colour and shape."""
        return f"{self.colour} {self.shape}"

    def at(self, time: float) -> Key:
        """Return place, size and angle at a time."""
        before = max((key for key in self.keys if key.time <= time), key=lambda key: key.time, default=self.keys[0])
        after = min((key for key in self.keys if key.time > time), key=lambda key: key.time, default=before)
        part = (time - before.time) / (after.time - before.time) if after.time > before.time else 0.0
        part = max(part, 0.0)
        return Key(time, *(one + (two - one) * part for one, two in zip(before[1:], after[1:], strict=True)))

    def draw(self, image: Image.Image, time: float) -> None:
        """Draw the actor as it is at a time."""
        key = self.at(time)
        side = key.size * image.height
        if side < 2:
            return
        colour = next((tint for start, tint in reversed(self.turns) if start <= time), self.colour)
        x, y = key.x * image.width, key.y * image.height
        draw_shape(image, self.shape, RGB[colour], centred(x, y, side), round(key.angle) % 360)
        if self.label:
            draw_text(image, (x, y + side / 2 + 10), self.label, 16, anchor="mm")


Painter = Callable[[Image.Image, float], None]


def render(frames: int, actors: Sequence[Actor], background: Painter | None = None) -> list[Image.Image]:
    """Return the frames of a clip.

    Args:
        frames: how many.
        actors: drawn in order.
        background: paints below the actors; None: an empty room.
    """
    images = []
    for number in range(frames):
        time = number / (frames - 1)
        image = paper(SIZE, ROOM)
        if background:
            background(image, time)
        for actor in actors:
            actor.draw(image, time)
        images.append(image)
    return images
