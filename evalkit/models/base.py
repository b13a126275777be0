"""What every model is to the rest of evalkit: a source that is known without weights, and the model that it opens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from evalkit.records import Request, Response

if TYPE_CHECKING:
    from evalkit.records import Layout, Recipe

Pixels = list[npt.NDArray[np.uint8]]
# What a model looks at: tiles cut as the recipe says, whole RGB images, image files as bytes, or nothing.
Wants = Literal["tiles", "images", "bytes", "nothing"]

# Costs of the released 1B model in relation to each other, see docs/performance.md: a tile is encoded and its 256
# tokens join the prefix; a question has a few tokens of its own; each token of an answer is a step.
TILE_COST, QUESTION_COST, TOKEN_COST = 4.0, 0.1, 0.02


class MediaGroup(NamedTuple):
    """Requests that look at the same media.

    Attributes:
        requests: at least one, all with equal ``views``.
        media: one entry per ``<image>``, as ``Source.wants`` says: uint8 tiles of shape (tiles, S, S, 3), a uint8 RGB
            image of shape (H, W, 3), or the bytes of an image file; empty if the model wants nothing.
    """

    requests: Sequence[Request]
    media: Sequence[Any]


class Model:
    """Answers groups of requests."""

    def answer(self, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        """Yield each request's response the moment it is there, in any order.

        An exception is the failure of the requests in flight: they are retried in smaller groups, down to one, and what
        fails alone is that sample's ``model_error``. Two exceptions end the rank instead, with nothing written for the
        requests in flight: ``ModelUnavailable`` and ``UsageError``.

        Args:
            groups: to be taken one by one, as many at a time as the model works on together.
        """
        raise NotImplementedError

    def reference(self) -> Model | None:
        """Return the model answering one question at a time, for ``--audit``; None if there is nothing to audit."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return what run.json records of the model: settings that can move an answer under ``settings``."""
        return {}


class Rendered(NamedTuple):
    """What a model reads for a request.

    Attributes:
        text: the whole prompt, chat template applied.
        tokens: its length, image tokens included; None if unknown.
    """

    text: str
    tokens: int | None


class LocalRank(NamedTuple):
    """This process among those of the job on this machine."""

    rank: int = 0
    world: int = 1


class Work(NamedTuple):
    """What a task asks of a model in all, for estimates.

    Attributes:
        tiles: distinct tiles, each encoded once.
        shown_tiles: tiles in all prompts.
        tokens: tokens of all prompts, image tokens included, and of the expected answers.
    """

    tiles: int
    shown_tiles: int
    tokens: int


@dataclass(frozen=True, slots=True)
class NoOptions:
    """A source without options."""


class Source:
    """What ``--model`` names, known without its weights: enough for ``show``, ``--dry-run`` and fingerprints.

    A source is made by ``SOURCE(rest, options)``: what stands behind ``SCHEME:`` and an instance of ``options``.

    Attributes:
        options: dataclass of the options that ``-M key=value`` sets; values are checked against its annotations.
        wants: what the model looks at, see ``MediaGroup.media``.
        tile_size: side of its tiles in pixels; None takes the card's.
        name: what its answers are attributed to; None if the source cannot tell.
    """

    options: ClassVar[type] = NoOptions
    wants: Wants = "nothing"
    tile_size: int | None = None
    name: str | None = None

    def fingerprint(self) -> dict[str, Any]:
        """Return hashes of what its answers depend on, by name."""
        return {}

    def refuses(self, recipe: Recipe) -> str | None:
        """Return why the model cannot be asked in this way; None if it can."""
        return None

    def render(self, request: Request, layouts: Sequence[Layout]) -> Rendered | None:
        """Return what the model reads for a request whose media are cut so; None if the source cannot tell."""
        return None

    def cost(self, tiles: int, answers: Iterable[int]) -> float:
        """Return what a media group costs; only proportions matter.

        Args:
            tiles: its tiles.
            answers: the expected tokens of each answer.
        """
        return TILE_COST * tiles + sum(QUESTION_COST + TOKEN_COST * tokens for tokens in answers)

    def seconds(self, work: Work) -> float | None:
        """Return the estimated time of one rank for some work; None if the source cannot tell."""
        return None

    def open(self, local: LocalRank) -> Model:
        """Return the model, ready to answer.

        Raises:
            UsageError: it cannot be used; says why.
        """
        raise NotImplementedError
