"""What every model is to the rest of evalkit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from evalkit.records import Request, Response

Pixels = list[npt.NDArray[np.uint8]]


class MediaGroup(NamedTuple):
    """Requests that look at the same media.

    Attributes:
        requests: at least one, all with equal ``views``.
        pixels: uint8 tiles of shape (tiles, S, S, 3) for each ``<image>``; empty if the model needs no media.
    """

    requests: Sequence[Request]
    pixels: Pixels


class Model(Protocol):
    """Answers groups of requests."""

    needs_media: bool

    def answer(self, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        """Yield each request's response the moment it is there, in any order.

        Args:
            groups: to be taken one by one, as many at a time as the model works on together. Those whose answers are
                not all there when an error is raised are asked again, one by one and then in parts.
        """

    def reference(self) -> Model | None:
        """Return the same model answering one question at a time, or None if it computes nothing."""

    def describe(self) -> dict[str, Any]:
        """Return what run.json records of the model: settings that can move an answer under ``settings``."""
