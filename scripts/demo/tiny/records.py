"""What a lesson of the tiny model is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

TILE = 112
CELLS = 4  # image tokens along a tile's side
CELL = "cell "  # labels of where a cell lies in its tile

Turn = tuple[str, str]


class Note(NamedTuple):
    """What is in the cell of one image token."""

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
        asked: number of leading turns that are the benchmark's own.
        notes: what the tiles show.
        drawn: whether the tiles show it; else only the notes do.
    """

    task: str
    tiles: npt.NDArray[np.uint8]
    images: list[int]
    turns: list[Turn]
    asked: int
    notes: list[Note]
    drawn: bool = True


def place_labels(cell: int) -> tuple[str, str]:
    """Return the labels of a cell's position in its tile."""
    row, column = divmod(cell, CELLS)
    return f"{CELL}row {row}", f"{CELL}column {column}"
