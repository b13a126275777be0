"""The model interface: a source, which is known without weights, and the model that it opens."""

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

# Relative costs of the released 1B model, see docs/performance.md: a tile is encoded and its 256
# tokens join the prefix; a question has a few tokens of its own; each token of an answer is a step.
TILE_COST, QUESTION_COST, TOKEN_COST = 4.0, 0.1, 0.02


class MediaGroup(NamedTuple):
    """Requests that look at the same media.

    Attributes:
        requests: at least one, all with equal ``views`` and ``merged``.
        media: one entry per ``<image>``, as ``Source.wants`` says: uint8 tiles of shape (tiles, S, S, 3), a uint8 RGB
            image of shape (H, W, 3), or the bytes of an image file; empty if the model wants nothing.
    """

    requests: Sequence[Request]
    media: Sequence[Any]


class Model:
    """Answers groups of requests."""

    def answer(self, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        """Yield each request's response as soon as it is ready, in any order.

        An exception fails the requests in flight: they are retried in smaller groups, down to one, and a request that
        fails alone is that sample's ``model_error``. Two exceptions end the rank instead, with nothing written for the
        requests in flight: ``ModelUnavailable`` and ``UsageError``.

        Args:
            groups: to be taken one at a time, until the model has as many in flight as it can process together.
        """
        raise NotImplementedError

    def reference(self) -> Model | None:
        """Return the model answering one question at a time, for ``--audit``; None if there is nothing to audit."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return what run.json records about the model; settings that can change an answer go under ``settings``."""
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
    """The total work of a task, for estimates.

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

    It is constructed as ``SOURCE(rest, options)``: the text after ``SCHEME:`` and an instance of ``options``.

    Attributes:
        options: dataclass of the options that ``-M key=value`` sets; values are checked against its annotations.
        wants: what the model looks at, see ``MediaGroup.media``.
        tile_size: side of its tiles in pixels; None takes the card's.
        name: what its answers are attributed to; None if unknown.
        recorded: whether the answers are looked up, not computed.
    """

    options: ClassVar[type] = NoOptions
    wants: Wants = "nothing"
    tile_size: int | None = None
    name: str | None = None
    recorded: bool = False

    def fingerprint(self) -> dict[str, Any]:
        """Return hashes of what its answers depend on, by name; if empty, its name and options stand for them."""
        return {}

    def refuses(self, recipe: Recipe) -> str | None:
        """Return why the model does not support a recipe; None if it does."""
        return None

    def render(self, request: Request, layouts: Sequence[Layout]) -> Rendered | None:
        """Return what the model reads for a request with these layouts; None if unknown."""
        return None

    def cost(self, tiles: int, answers: Iterable[int]) -> float:
        """Return what a media group costs; only ratios matter.

        Args:
            tiles: its tiles.
            answers: the expected tokens of each answer.
        """
        return TILE_COST * tiles + sum(QUESTION_COST + TOKEN_COST * tokens for tokens in answers)

    def seconds(self, work: Work) -> float | None:
        """Return the estimated time of one rank for some work; None if unknown."""
        return None

    def open(self, local: LocalRank) -> Model:
        """Return the model, ready to answer.

        Raises:
            UsageError: it cannot be used; says why.
        """
        raise NotImplementedError
