"""Prompts, the choice of the next token, and the reference loop: one prompt at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen2ForCausalLM


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is sampled with ``do_sample`` (defaults of transformers' generate)."""

    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt.

    Attributes:
        ids: token ids, image context tokens included.
        max_new_tokens: maximum answer length in tokens.
        min_new_tokens: the end token is forbidden before this many tokens.
    """

    ids: list[int]
    max_new_tokens: int
    min_new_tokens: int = 1


class Answer(NamedTuple):
    """Tokens generated for one prompt (without the end token), and whether the end token was generated."""

    ids: list[int]
    ended: bool


def shared_prefix(prompts: Sequence[Prompt]) -> int:
    """Return how many leading tokens prompts on the same media share; every suffix keeps at least one token.

    This is the longest common *token* prefix, not text prefix: a tokenizer may merge across the end of the latter.
    """
    limit = min(len(prompt.ids) for prompt in prompts) - 1
    for position, column in enumerate(zip(*(prompt.ids[:limit] for prompt in prompts), strict=True)):
        if any(token != column[0] for token in column):
            return position
    return limit


def embed(model: Qwen2ForCausalLM, ids: Sequence[int], context_id: int, features: Tensor | None) -> Tensor:
    """Return the input embeddings of tokens, (tokens, width); context tokens take the first features, in order."""
    tokens = torch.tensor(ids, device=model.device)
    embeds: Tensor = model.get_input_embeddings()(tokens)
    if features is not None:
        context = tokens == context_id
        embeds[context] = features[: int(context.sum())].to(embeds.dtype)
    return embeds


def next_tokens(logits: Tensor, early: Tensor, end_id: int, sampling: Sampling | None) -> Tensor:
    """Return the next token of each row.

    Args:
        logits: (rows, vocabulary).
        early: (rows,), true for rows in which the end token is forbidden.
        end_id: the end token.
        sampling: None takes the most likely token.
    """
    logits = logits.float()
    logits[:, end_id] = logits[:, end_id].masked_fill(early, -torch.inf)
    return logits.argmax(dim=-1) if sampling is None else _draw(logits, sampling)


@torch.inference_mode()
def answer_alone(
    model: Qwen2ForCausalLM, prompt: Prompt, features: Tensor | None, context_id: int, end_id: int
) -> Answer:
    """Answer one prompt as the official loop does: the whole prompt at once, then token by token (greedy).

    Args:
        model: the language model.
        prompt: the prompt.
        features: (context tokens, width), embeddings of the context tokens; None without image.
        context_id: id of the image context token.
        end_id: id of the end token.
    """
    cache = DynamicCache()
    embeds = embed(model, prompt.ids, context_id, features)[None]
    ids: list[int] = []
    while len(ids) < prompt.max_new_tokens:
        out = model(inputs_embeds=embeds, past_key_values=cache, use_cache=True, logits_to_keep=1)
        early = torch.tensor([len(ids) < prompt.min_new_tokens], device=embeds.device)
        token = next_tokens(out.logits[:, -1], early, end_id, None)
        if int(token) == end_id:
            return Answer(ids, True)
        ids.append(int(token))
        embeds = model.get_input_embeddings()(token)[None]
    return Answer(ids, False)


def _draw(logits: Tensor, sampling: Sampling) -> Tensor:
    logits = logits / sampling.temperature
    values, tokens = logits.sort(dim=-1, descending=True)
    probabilities = values.softmax(dim=-1)
    beyond = probabilities.cumsum(dim=-1) - probabilities >= sampling.top_p
    if sampling.top_k > 0:
        beyond[:, sampling.top_k :] = True
    beyond[:, 0] = False
    choice = torch.multinomial(probabilities.masked_fill(beyond, 0), 1)
    return tokens.gather(1, choice)[:, 0]
