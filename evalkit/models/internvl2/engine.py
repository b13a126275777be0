"""The grouped engine: media encoded once, their prefix computed once, answers of several groups decoded together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from evalkit.models.base import Pixels
from evalkit.models.internvl2.cache import KVCache, token_bytes
from evalkit.models.internvl2.decoder import Decoder
from evalkit.models.internvl2.generation import Answer, Prompt, Sampling, embed, next_tokens, shared_prefix
from evalkit.models.internvl2.graphs import GraphedStep

# Maximum number of rows decoded together; more would not make a step cheaper per row.
CPU_ROWS, GPU_ROWS = 32, 256
# Maximum number of groups, and of rows per group, in a GPU's cache; its prefix capacity is a multiple of the last.
GPU_GROUPS, GPU_GROUP_ROWS, GPU_PREFIX_STEP = 32, 8, 256
# Floats per token at the widest point of the longest forward pass, as a multiple of the layer's inner width.
_WORK = 8


Media = Pixels | Tensor | None


class Group(NamedTuple):
    """Prompts on the same media.

    Attributes:
        key: identifies the group's answers.
        prompts: at least one.
        tiles: number of tiles, the cost of encoding the media.
        media: the tiles, or their features of shape (context tokens, width); None without media.
    """

    key: int
    prompts: list[Prompt]
    tiles: int
    media: Media


class Finished(NamedTuple):
    """A finished answer.

    Attributes:
        key: the group's key.
        row: position of the prompt in its group.
        answer: the answer.
    """

    key: int
    row: int
    answer: Answer


@dataclass(slots=True)
class ActiveGroup:
    """A group in flight: its slot, the prompt in each row, and the tokens generated so far.

    Attributes:
        group: the group.
        cache: holds its keys and values.
        slot: its slot in the cache.
        prefix: number of tokens that its prompts share.
        suffixes: embeddings of the tokens after the prefix, (tokens, width) per prompt.
        rows: the prompt in each row; None if the row is free.
        waiting: prompts not yet admitted to a row.
        outputs: tokens generated for each admitted prompt.
    """

    group: Group
    cache: KVCache
    slot: int
    prefix: int
    suffixes: list[Tensor]
    rows: list[int | None]
    waiting: deque[int]
    outputs: dict[int, list[int]] = field(default_factory=dict)

    def early(self, prompt: int) -> bool:
        """Return whether a prompt's answer must not end yet."""
        return len(self.outputs[prompt]) < self.group.prompts[prompt].min_new_tokens


@dataclass(slots=True)
class _Allocation:
    """An allocated KV cache and the active group in each of its slots."""

    cache: KVCache
    slots: list[ActiveGroup | None]


class Engine:
    """Answers groups of prompts, with many groups in flight.

    Args:
        decoder: the language model.
        encode: turns the media of several groups into features, one tensor per group.
        context_id: id of the image context token.
        end_id: id of the end token.
        budget: bytes that groups in flight may take on the device, intermediate results included.
        tile_batch: tiles that pass the vision encoder together.
        fixed: use one cache and shapes that do not change, as GPUs want it; else every allocation has the exact size.
    """

    def __init__(
        self,
        decoder: Decoder,
        encode: Callable[[Sequence[Media]], list[Tensor | None]],
        context_id: int,
        end_id: int,
        budget: int,
        tile_batch: int,
        fixed: bool,
    ) -> None:
        self.decoder, self.encode = decoder, encode
        self.context_id, self.end_id = context_id, end_id
        self.budget, self.tile_batch, self.fixed = budget, tile_batch, fixed
        self.max_rows = GPU_ROWS if fixed else CPU_ROWS
        config = decoder.model.config
        self._token = token_bytes(config, decoder.model.dtype)
        self._token_work = 4 * _WORK * int(config.intermediate_size)

    def shrink(self) -> None:
        """Halve the budget and the number of rows after the device ran out of memory."""
        self.budget //= 2
        self.max_rows = max(1, self.max_rows // 2)

    def cost(self, rows: int, prefix: int, own: int) -> int:
        """Return the bytes of a group's cache."""
        return self._token * (prefix + rows * own)

    def work(self, tokens: int) -> int:
        """Return the bytes that a forward pass over that many tokens takes in addition to the cache."""
        return self._token_work * tokens

    @torch.inference_mode()
    def answer(self, groups: Iterable[Group], sampling: Sampling | None = None) -> Iterator[Finished]:
        """Yield each answer as soon as it is finished.

        Args:
            groups: taken one at a time, when there is capacity for another.
            sampling: None decodes greedily.
        """
        source = iter(groups)
        yield from _Session(self, source, sampling).run()


class _Session:
    """One stream of groups through an engine."""

    def __init__(self, engine: Engine, source: Iterator[Group], sampling: Sampling | None) -> None:
        self.engine, self.source, self.sampling = engine, source, sampling
        self.model = engine.decoder.model
        self.allocations: list[_Allocation] = []
        self.pending: Group | None = next(source, None)
        self.graphed: GraphedStep | None = None

    def run(self) -> Iterator[Finished]:
        """Alternate between starting as many groups as fit and decoding one token of every row."""
        while self.pending or self._active():
            while starting := self._allocate_pending():
                features = self.engine.encode([active.group.media for active in starting])
                for active, group_features in zip(starting, features, strict=True):
                    self._prefill(active, group_features)
                for allocation in list(self.allocations):
                    yield from self._admit_and_retire(allocation)
            if self._active():
                yield from self._decode_step()

    def _active(self) -> list[ActiveGroup]:
        return [active for allocation in self.allocations for active in allocation.slots if active]

    def _allocate_pending(self) -> list[ActiveGroup]:
        """Assign slots to as many pending groups as fit in memory and in one batch of the vision encoder."""
        starting: list[ActiveGroup] = []
        tiles = 0
        while self.pending and (not starting or tiles + self.pending.tiles <= self.engine.tile_batch):
            group, prefix = self.pending, shared_prefix(self.pending.prompts)
            own = max(len(prompt.ids) - prefix + prompt.max_new_tokens for prompt in group.prompts)
            free = (self._fixed_slot if self.engine.fixed else self._exact_slot)(group, prefix, own)
            if free is None:
                break
            allocation, slot = free
            waiting = deque(range(len(group.prompts)))
            rows: list[int | None] = [None] * allocation.cache.rows
            active = ActiveGroup(group, allocation.cache, slot, prefix, [], rows, waiting)
            allocation.slots[slot] = active
            starting.append(active)
            tiles += group.tiles
            self.pending = next(self.source, None)
        return starting

    def _exact_slot(self, group: Group, prefix: int, own: int) -> tuple[_Allocation, int] | None:
        """Return a cache of exactly the size a group needs; None if rows or memory are short at the moment."""
        rows = min(len(group.prompts), self.engine.max_rows)
        if sum(allocation.cache.rows for allocation in self.allocations) + rows > self.engine.max_rows:
            return None
        caches = [allocation.cache for allocation in self.allocations]
        used = sum(self.engine.cost(cache.rows, cache.prefix, cache.own) for cache in caches)
        left = self.engine.budget - used - self.engine.work(prefix)
        while rows > 1 and self.engine.cost(rows, prefix, own) > left:
            rows = rows // 2
        if self.allocations and (
            rows < min(len(group.prompts), self.engine.max_rows) or self.engine.cost(rows, prefix, own) > left
        ):
            return None
        return self._allocate(1, rows, prefix, own), 0

    def _fixed_slot(self, group: Group, prefix: int, own: int) -> tuple[_Allocation, int] | None:
        """Return a free slot of the single cache, which is reallocated once it is empty if the group does not fit."""
        wanted = -(-max(prefix, 1) // GPU_PREFIX_STEP) * GPU_PREFIX_STEP
        cache = self.allocations[0].cache if self.allocations else None
        fits = cache is not None and cache.prefix // 2 < wanted <= cache.prefix and own <= cache.own
        if not fits and not self._active():
            self.allocations.clear()
            self.graphed = None
            rows = min(len(group.prompts), GPU_GROUP_ROWS)
            left = self.engine.budget - self.engine.work(prefix)
            slots = max(1, min(GPU_GROUPS, left // self.engine.cost(rows, wanted, own)))
            return self._allocate(slots, rows, wanted, own), 0
        free = [slot for slot, active in enumerate(self.allocations[0].slots) if active is None]
        return (self.allocations[0], free[0]) if fits and free else None

    def _allocate(self, groups: int, rows: int, prefix: int, own: int) -> _Allocation:
        config, device, dtype = self.model.config, self.model.device, self.model.dtype
        allocation = _Allocation(KVCache(config, groups, rows, prefix, own, device, dtype), [None] * groups)
        self.allocations.append(allocation)
        return allocation

    def _prefill(self, active: ActiveGroup, features: Tensor | None) -> None:
        """Compute a group's prefix; its prompts wait for rows."""
        ids, context = [prompt.ids for prompt in active.group.prompts], self.engine.context_id
        before = ids[0][: active.prefix].count(context)
        rest = features[before:] if features is not None else None
        active.suffixes = [embed(self.model, tokens[active.prefix :], context, rest) for tokens in ids]
        active.cache.assign(active.slot, active.prefix)
        if active.prefix:
            embeds = embed(self.model, ids[0][: active.prefix], context, features)
            self.engine.decoder.prefill(active.cache, active.slot, embeds)

    def _admit_and_retire(self, allocation: _Allocation) -> Iterator[Finished]:
        """Admit waiting prompts to free rows; retire finished groups and, in an exact cache, unneeded rows."""
        for slot, active in enumerate(allocation.slots):
            while active and active.waiting and None in active.rows:
                yield from self._admit(active)
            if active and not active.waiting and set(active.rows) == {None}:
                allocation.slots[slot] = None
        if self.engine.fixed:
            return
        (only,) = allocation.slots
        if only is None:
            self.allocations.remove(allocation)
        elif None in only.rows:
            kept = [row for row, prompt in enumerate(only.rows) if prompt is not None]
            allocation.cache.keep_rows(kept)
            only.rows = [only.rows[row] for row in kept]

    def _admit(self, active: ActiveGroup) -> Iterator[Finished]:
        free = [row for row, prompt in enumerate(active.rows) if prompt is None][: len(active.waiting)]
        prompts = [active.waiting.popleft() for _ in free]
        suffixes = [active.suffixes[prompt] for prompt in prompts]
        logits = self.engine.decoder.admit(active.cache, active.slot, free, suffixes)
        for row, prompt in zip(free, prompts, strict=True):
            active.rows[row] = prompt
            active.outputs[prompt] = []
        early = torch.tensor([active.early(prompt) for prompt in prompts], device=logits.device)
        tokens = next_tokens(logits, early, self.engine.end_id, self.sampling)
        for row, token in zip(free, tokens.tolist(), strict=True):
            yield from self._append(active, row, token)

    def _decode_step(self) -> Iterator[Finished]:
        """Decode one token in every row, including free rows (discarded)."""
        rows: list[tuple[ActiveGroup, int, int] | None] = []
        for allocation in self.allocations:
            for active in allocation.slots:
                prompts = active.rows if active else [None] * allocation.cache.rows
                rows += [
                    (active, row, prompt) if active and prompt is not None else None
                    for row, prompt in enumerate(prompts)
                ]
        device = self.model.device
        last = torch.tensor([one[0].outputs[one[2]][-1] if one else 0 for one in rows], device=device)
        early = torch.tensor([one is not None and one[0].early(one[2]) for one in rows], device=device)
        for one, token in zip(rows, self._next(last, early).tolist(), strict=True):
            if one:
                yield from self._append(one[0], one[1], token)
        for allocation in list(self.allocations):
            yield from self._admit_and_retire(allocation)

    def _next(self, last: Tensor, early: Tensor) -> Tensor:
        """Return the next token of every row, by a CUDA graph if the shapes are fixed and decoding is greedy."""
        if not self.engine.fixed or self.sampling or last.device.type != "cuda":
            return self._step(last, early)
        if self.graphed is None:
            lengths = [allocation.cache.lengths for allocation in self.allocations]
            self.graphed = GraphedStep(self._step, last, early, lengths)
        return self.graphed(last, early)

    def _step(self, last: Tensor, early: Tensor) -> Tensor:
        caches = [allocation.cache for allocation in self.allocations]
        logits = self.engine.decoder.decode_step(caches, last, self.engine.fixed)
        return next_tokens(logits, early, self.engine.end_id, self.sampling)

    def _append(self, active: ActiveGroup, row: int, token: int) -> Iterator[Finished]:
        """Append a token to a row's answer; if that ends the answer, yield it and free the row."""
        prompt = active.rows[row]
        assert prompt is not None
        output, ended = active.outputs[prompt], token == self.engine.end_id
        if not ended:
            output.append(token)
        if ended or len(output) >= active.group.prompts[prompt].max_new_tokens:
            active.rows[row] = None
            yield Finished(active.group.key, prompt, Answer(output, ended))
