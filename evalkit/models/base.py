"""What every model is to the rest of evalkit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from evalkit.records import Request, Response

Pixels = list[npt.NDArray[np.uint8]]


class Model(Protocol):
    """Answers groups of requests that look at the same media."""

    needs_media: bool

    def answer(self, requests: Sequence[Request], pixels: Pixels) -> Iterator[tuple[Request, Response]]:
        """Yield each request's response the moment it is there.

        Args:
            requests: requests with equal ``views``.
            pixels: uint8 tiles of shape (tiles, S, S, 3) for each ``<image>``; empty if ``needs_media`` is False.
        """

    def reference(self) -> Model | None:
        """Return the same model answering one question at a time, or None if it computes nothing."""

    def describe(self) -> dict[str, Any]:
        """Return what run.json records of the model: settings that can move an answer under ``settings``."""
