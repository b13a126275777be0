"""CUDA graphs: the kernels of a step with fixed shapes, captured once and replayed without Python in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_WARM_UP = 2


class GraphedStep:
    """A decode step on a GPU, captured as a CUDA graph.

    Args:
        step: maps the last tokens and early flags of all rows to their next tokens; its shapes never change.
        tokens: example last tokens.
        early: example early flags.
        counters: tensors that a step changes in place; capturing leaves their values unchanged.
    """

    def __init__(
        self, step: Callable[[Tensor, Tensor], Tensor], tokens: Tensor, early: Tensor, counters: Sequence[Tensor]
    ) -> None:
        self._tokens, self._early = tokens.clone(), early.clone()
        before = [counter.clone() for counter in counters]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                step(self._tokens, self._early)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._next = step(self._tokens, self._early)
        for counter, value in zip(counters, before, strict=True):
            counter.copy_(value)

    def __call__(self, tokens: Tensor, early: Tensor) -> Tensor:
        """Return the next tokens; they are overwritten by the next call."""
        self._tokens.copy_(tokens)
        self._early.copy_(early)
        self._graph.replay()
        return self._next
