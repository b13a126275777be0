"""Greedy decoding of a batch of prompts over one shared prefix."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen2ForCausalLM


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn when ``do_sample`` is asked for (defaults of transformers' generate)."""

    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of a batch.

    Attributes:
        ids: token ids, image context tokens included.
        features: (context tokens, width): what replaces the context tokens, in order; None without image.
        image_key: prompts with equal keys have equal features, and may share them in the prefix.
        max_new_tokens: limit of the answer.
        min_new_tokens: the end token is forbidden before this many tokens.
    """

    ids: list[int]
    features: Tensor | None
    image_key: Hashable
    max_new_tokens: int
    min_new_tokens: int = 1


class Answer(NamedTuple):
    """Tokens generated for one prompt (the end token not included), and whether the end token came."""

    row: int
    ids: list[int]
    ended: bool


def shared_prefix(prompts: Sequence[Prompt], context_id: int) -> int:
    """Return how many leading tokens all prompts share; at least one token stays for every suffix.

    Context tokens are equal only if the images are: the longest common *token* prefix, never one of the text.
    """
    limit = min(len(prompt.ids) for prompt in prompts) - 1
    if any(prompt.image_key != prompts[0].image_key for prompt in prompts):
        limit = min([limit, *(prompt.ids.index(context_id) for prompt in prompts if context_id in prompt.ids)])
    for place, column in enumerate(zip(*(prompt.ids[:limit] for prompt in prompts), strict=True)):
        if any(token != column[0] for token in column):
            return place
    return limit


@dataclass(slots=True)
class _Batch:
    """The rows that still generate, kept in step with the cache."""

    rows: list[int]
    mask: Tensor
    positions: Tensor
    outputs: list[list[int]] = field(default_factory=list)

    def keep(self, places: list[int], index: Tensor) -> None:
        self.rows = [self.rows[place] for place in places]
        self.outputs = [self.outputs[place] for place in places]
        self.mask = self.mask[index]
        self.positions = self.positions[index]


class Generator:
    """Decodes prompts with one language model.

    Args:
        model: the language model.
        context_id: id of the image context token.
        end_id: id of the end token.
    """

    def __init__(self, model: Qwen2ForCausalLM, context_id: int, end_id: int) -> None:
        self.model = model
        self.context_id = context_id
        self.end_id = end_id

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], sampling: Sampling | None = None) -> Iterator[Answer]:
        """Yield each prompt's answer the moment it is finished.

        The shared prefix is prefilled once and its cache expanded; suffixes are padded on the left behind it, so the
        mask has a hole between prefix and suffix and positions continue from the prefix: every row computes what it
        would compute alone.

        Args:
            prompts: at least one; each holds as many context tokens as features.
            sampling: None decodes greedily.
        """
        prefix = shared_prefix(prompts, self.context_id)
        cache = DynamicCache()
        if prefix:
            self.model.model(
                inputs_embeds=self._embed(prompts[0], 0, prefix)[None], past_key_values=cache, use_cache=True
            )
        if prefix and len(prompts) > 1:
            cache.batch_repeat_interleave(len(prompts))
        embeds, batch = self._padded_suffixes(prompts, prefix)
        while True:
            out = self.model(
                inputs_embeds=embeds,
                attention_mask=batch.mask,
                position_ids=batch.positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            tokens = self._next(out.logits[:, -1], prompts, batch, sampling)
            done = self._append(tokens.tolist(), prompts, batch)
            yield from (Answer(batch.rows[place], batch.outputs[place], ended) for place, ended in done.items())
            kept = [place for place in range(len(batch.rows)) if place not in done]
            if not kept:
                return
            if done:
                index = torch.tensor(kept, device=tokens.device)
                cache.batch_select_indices(index)
                batch.keep(kept, index)
                tokens = tokens[index]
            embeds = self.model.get_input_embeddings()(tokens)[:, None]
            batch.mask = torch.cat([batch.mask, batch.mask.new_ones(len(kept), 1)], dim=1)
            batch.positions = batch.positions[:, -1:] + 1

    def _embed(self, prompt: Prompt, start: int, stop: int) -> Tensor:
        ids = torch.tensor(prompt.ids[start:stop], device=self.model.device)
        embeds: Tensor = self.model.get_input_embeddings()(ids)
        context = ids == self.context_id
        if prompt.features is not None:
            before = prompt.ids[:start].count(self.context_id)
            embeds[context] = prompt.features[before : before + int(context.sum())].to(embeds.dtype)
        return embeds

    def _padded_suffixes(self, prompts: Sequence[Prompt], prefix: int) -> tuple[Tensor, _Batch]:
        suffixes = [self._embed(prompt, prefix, len(prompt.ids)) for prompt in prompts]
        longest = max(len(suffix) for suffix in suffixes)
        embeds = suffixes[0].new_zeros(len(prompts), longest, suffixes[0].shape[1])
        mask = torch.ones(len(prompts), prefix + longest, dtype=torch.long, device=embeds.device)
        for row, suffix in enumerate(suffixes):
            embeds[row, longest - len(suffix) :] = suffix
            mask[row, prefix : prefix + longest - len(suffix)] = 0
        positions = (mask.cumsum(dim=1) - 1)[:, prefix:].clamp(min=0)
        return embeds, _Batch(list(range(len(prompts))), mask, positions, [[] for _ in prompts])

    def _next(self, logits: Tensor, prompts: Sequence[Prompt], batch: _Batch, sampling: Sampling | None) -> Tensor:
        logits = logits.float()
        early = [len(batch.outputs[place]) < prompts[row].min_new_tokens for place, row in enumerate(batch.rows)]
        if any(early):
            logits[torch.tensor(early, device=logits.device), self.end_id] = -torch.inf
        if sampling is None:
            return logits.argmax(dim=-1)
        return _draw(logits, sampling)

    def _append(self, tokens: list[int], prompts: Sequence[Prompt], batch: _Batch) -> dict[int, bool]:
        """Add one token to every row; return place -> whether the end token came, for the rows that are finished."""
        done = {}
        for place, token in enumerate(tokens):
            if token == self.end_id:
                done[place] = True
                continue
            batch.outputs[place].append(token)
            if len(batch.outputs[place]) >= prompts[batch.rows[place]].max_new_tokens:
                done[place] = False
        return done


def _draw(logits: Tensor, sampling: Sampling) -> Tensor:
    logits = logits / sampling.temperature
    values, tokens = logits.sort(dim=-1, descending=True)
    chances = values.softmax(dim=-1)
    beyond = chances.cumsum(dim=-1) - chances >= sampling.top_p
    if sampling.top_k > 0:
        beyond[:, sampling.top_k :] = True
    beyond[:, 0] = False
    choice = torch.multinomial(chances.masked_fill(beyond, 0), 1)
    return tokens.gather(1, choice)[:, 0]
