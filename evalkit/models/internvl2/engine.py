"""The grouped engine: media encoded once, their prefix computed once, answers of several groups decoded together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from evalkit.models.base import Pixels
from evalkit.models.internvl2.cache import Arena, token_bytes
from evalkit.models.internvl2.decoder import Decoder
from evalkit.models.internvl2.generation import Answer, Prompt, Sampling, embed, next_tokens, shared_prefix
from evalkit.models.internvl2.graphs import Replayed

# Rows that decode together at most; more would not make a step cheaper a row.
CPU_ROWS, GPU_ROWS = 32, 256
# Groups and rows of a group that a GPU's arena has at most; it has room for prefixes of multiples of this.
GPU_GROUPS, GPU_GROUP_ROWS, GPU_PREFIX_STEP = 32, 8, 256
# Floats that a token of the longest forward pass takes at its widest, as a multiple of the layer's inner width.
_WORK = 8


Media = Pixels | Tensor | None


class Group(NamedTuple):
    """Prompts on the same media.

    Attributes:
        key: tells whose the answers are.
        prompts: at least one.
        tiles: number of tiles, which is what their encoding costs.
        media: the tiles or, of shape (context tokens, width), what they became; None without.
    """

    key: int
    prompts: list[Prompt]
    tiles: int
    media: Media


class Found(NamedTuple):
    """An answer, to which prompt of which group."""

    key: int
    row: int
    answer: Answer


@dataclass(slots=True)
class _Live:
    """A group in work: where it is, which prompt is in which row, and what came so far.

    Attributes:
        group: the group.
        arena: where its keys and values are.
        place: the group's place there.
        prefix: number of tokens that its prompts share.
        suffixes: what stands behind them, (tokens, width) of each prompt.
        rows: the prompt in each row; None in a free one.
        waiting: prompts without a row so far.
        outputs: tokens of each prompt that began.
    """

    group: Group
    arena: Arena
    place: int
    prefix: int
    suffixes: list[Tensor]
    rows: list[int | None]
    waiting: deque[int]
    outputs: dict[int, list[int]] = field(default_factory=dict)

    def early(self, prompt: int) -> bool:
        """Return whether a prompt's answer may not end yet."""
        return len(self.outputs[prompt]) < self.group.prompts[prompt].min_new_tokens


@dataclass(slots=True)
class _Room:
    """An arena and the groups in its places."""

    arena: Arena
    places: list[_Live | None]


class Engine:
    """Answers groups of prompts; many groups are in work at a time.

    Args:
        decoder: the language model.
        encode: turns the media of several groups into their features, one a group.
        context_id: id of the image context token.
        end_id: id of the end token.
        budget: bytes that groups in work may take on the device, intermediate results included.
        tile_batch: tiles that pass the vision encoder together.
        fixed: keep arenas and shapes fixed, as GPUs want it; else everything has the size it needs.
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
        self.most_rows = GPU_ROWS if fixed else CPU_ROWS
        config = decoder.model.config
        self._token = token_bytes(config, decoder.model.dtype)
        self._token_work = 4 * _WORK * int(config.intermediate_size)

    def shrink(self) -> None:
        """Take less at a time from now on: the device ran out of memory."""
        self.budget //= 2
        self.most_rows = max(1, self.most_rows // 2)

    def cost(self, rows: int, prefix: int, own: int) -> int:
        """Return the bytes of a group's cache."""
        return self._token * (prefix + rows * own)

    def work(self, tokens: int) -> int:
        """Return the bytes that a forward pass over that many tokens takes beside the cache."""
        return self._token_work * tokens

    @torch.inference_mode()
    def answer(self, groups: Iterable[Group], sampling: Sampling | None = None) -> Iterator[Found]:
        """Yield each answer the moment it is finished.

        Args:
            groups: taken one by one, when there is room for more.
            sampling: None decodes greedily.
        """
        source = iter(groups)
        yield from _Session(self, source, sampling).run()


class _Session:
    """One stream of groups through an engine."""

    def __init__(self, engine: Engine, source: Iterator[Group], sampling: Sampling | None) -> None:
        self.engine, self.source, self.sampling = engine, source, sampling
        self.model = engine.decoder.model
        self.rooms: list[_Room] = []
        self.next: Group | None = next(source, None)
        self.replayed: Replayed | None = None

    def run(self) -> Iterator[Found]:
        """Take groups as long as there is room, decode a token, and again."""
        while self.next or self._live():
            while starting := self._fitting():
                features = self.engine.encode([live.group.media for live in starting])
                for live, found in zip(starting, features, strict=True):
                    self._start(live, found)
                for room in list(self.rooms):
                    yield from self._settle(room)
            if self._live():
                yield from self._advance()

    def _live(self) -> list[_Live]:
        return [live for room in self.rooms for live in room.places if live]

    def _fitting(self) -> list[_Live]:
        """Give the next groups places, as far as they fit; at most as many as are encoded together."""
        found: list[_Live] = []
        tiles = 0
        while self.next and (not found or tiles + self.next.tiles <= self.engine.tile_batch):
            group, prefix = self.next, shared_prefix(self.next.prompts)
            own = max(len(prompt.ids) - prefix + prompt.max_new_tokens for prompt in group.prompts)
            place = (self._fixed_place if self.engine.fixed else self._own_place)(group, prefix, own)
            if place is None:
                break
            room, number = place
            waiting = deque(range(len(group.prompts)))
            live = _Live(group, room.arena, number, prefix, [], [None] * room.arena.rows, waiting)
            room.places[number] = live
            found.append(live)
            tiles += group.tiles
            self.next = next(self.source, None)
        return found

    def _own_place(self, group: Group, prefix: int, own: int) -> tuple[_Room, int] | None:
        """Return an arena of the size that a group needs; None if rows or memory do not suffice now."""
        rows = min(len(group.prompts), self.engine.most_rows)
        if sum(room.arena.rows for room in self.rooms) + rows > self.engine.most_rows:
            return None
        used = sum(self.engine.cost(room.arena.rows, room.arena.prefix, room.arena.own) for room in self.rooms)
        left = self.engine.budget - used - self.engine.work(prefix)
        while rows > 1 and self.engine.cost(rows, prefix, own) > left:
            rows = rows // 2
        if self.rooms and (
            rows < min(len(group.prompts), self.engine.most_rows) or self.engine.cost(rows, prefix, own) > left
        ):
            return None
        return self._room(1, rows, prefix, own), 0

    def _fixed_place(self, group: Group, prefix: int, own: int) -> tuple[_Room, int] | None:
        """Return a free place in the one arena that there is, which is made anew when it is empty and does not fit."""
        wanted = -(-max(prefix, 1) // GPU_PREFIX_STEP) * GPU_PREFIX_STEP
        arena = self.rooms[0].arena if self.rooms else None
        fits = arena is not None and arena.prefix // 2 < wanted <= arena.prefix and own <= arena.own
        if not fits and not self._live():
            self.rooms.clear()
            self.replayed = None
            rows = min(len(group.prompts), GPU_GROUP_ROWS)
            left = self.engine.budget - self.engine.work(prefix)
            places = max(1, min(GPU_GROUPS, left // self.engine.cost(rows, wanted, own)))
            return self._room(places, rows, wanted, own), 0
        free = [number for number, live in enumerate(self.rooms[0].places) if live is None]
        return (self.rooms[0], free[0]) if fits and free else None

    def _room(self, groups: int, rows: int, prefix: int, own: int) -> _Room:
        config, device, dtype = self.model.config, self.model.device, self.model.dtype
        room = _Room(Arena(config, groups, rows, prefix, own, device, dtype), [None] * groups)
        self.rooms.append(room)
        return room

    def _start(self, live: _Live, features: Tensor | None) -> None:
        """Compute a group's prefix; its prompts wait for rows."""
        ids, context = [prompt.ids for prompt in live.group.prompts], self.engine.context_id
        before = ids[0][: live.prefix].count(context)
        rest = features[before:] if features is not None else None
        live.suffixes = [embed(self.model, tokens[live.prefix :], context, rest) for tokens in ids]
        live.arena.begin(live.place, live.prefix)
        if live.prefix:
            embeds = embed(self.model, ids[0][: live.prefix], context, features)
            self.engine.decoder.prefill(live.arena, live.place, embeds)

    def _settle(self, room: _Room) -> Iterator[Found]:
        """Let waiting prompts into free rows; let groups go that are finished, and rows that nobody needs."""
        for place, live in enumerate(room.places):
            while live and live.waiting and None in live.rows:
                yield from self._enter(live)
            if live and not live.waiting and set(live.rows) == {None}:
                room.places[place] = None
        if self.engine.fixed:
            return
        (only,) = room.places
        if only is None:
            self.rooms.remove(room)
        elif None in only.rows:
            kept = [row for row, prompt in enumerate(only.rows) if prompt is not None]
            room.arena.drop(kept)
            only.rows = [only.rows[row] for row in kept]

    def _enter(self, live: _Live) -> Iterator[Found]:
        free = [row for row, prompt in enumerate(live.rows) if prompt is None][: len(live.waiting)]
        prompts = [live.waiting.popleft() for _ in free]
        logits = self.engine.decoder.enter(live.arena, live.place, free, [live.suffixes[prompt] for prompt in prompts])
        for row, prompt in zip(free, prompts, strict=True):
            live.rows[row] = prompt
            live.outputs[prompt] = []
        early = torch.tensor([live.early(prompt) for prompt in prompts], device=logits.device)
        tokens = next_tokens(logits, early, self.engine.end_id, self.sampling)
        for row, token in zip(free, tokens.tolist(), strict=True):
            yield from self._append(live, row, token)

    def _advance(self) -> Iterator[Found]:
        """Decode one token in every row, of free rows in vain."""
        rows: list[tuple[_Live, int, int] | None] = []
        for room in self.rooms:
            for live in room.places:
                prompts = live.rows if live else [None] * room.arena.rows
                rows += [
                    (live, row, prompt) if live and prompt is not None else None for row, prompt in enumerate(prompts)
                ]
        device = self.model.device
        last = torch.tensor([one[0].outputs[one[2]][-1] if one else 0 for one in rows], device=device)
        early = torch.tensor([one is not None and one[0].early(one[2]) for one in rows], device=device)
        for one, token in zip(rows, self._next(last, early).tolist(), strict=True):
            if one:
                yield from self._append(one[0], one[1], token)
        for room in list(self.rooms):
            yield from self._settle(room)

    def _next(self, last: Tensor, early: Tensor) -> Tensor:
        if not self.engine.fixed or self.sampling or last.device.type != "cuda":
            return self._step(last, early)
        if self.replayed is None:
            self.replayed = Replayed(self._step, last, early, [room.arena.lengths for room in self.rooms])
        return self.replayed(last, early)

    def _step(self, last: Tensor, early: Tensor) -> Tensor:
        logits = self.engine.decoder.go_on([room.arena for room in self.rooms], last, self.engine.fixed)
        return next_tokens(logits, early, self.engine.end_id, self.sampling)

    def _append(self, live: _Live, row: int, token: int) -> Iterator[Found]:
        """Add a token to a row's answer; if that ends it, yield it and free the row."""
        prompt = live.rows[row]
        assert prompt is not None
        output, ended = live.outputs[prompt], token == self.engine.end_id
        if not ended:
            output.append(token)
        if ended or len(output) >= live.group.prompts[prompt].max_new_tokens:
            live.rows[row] = None
            yield Found(live.group.key, prompt, Answer(output, ended))
