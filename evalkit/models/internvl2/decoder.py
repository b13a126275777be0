"""The language model over arenas: transformers' own layers, with each group's prefix kept once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

from evalkit.models.internvl2.cache import Arena
from evalkit.models.internvl2.network import scaled_attention

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class Decoder:
    """Runs a Qwen2 model's layers on rows that share prefixes.

    Args:
        model: the language model.
    """

    def __init__(self, model: Qwen2ForCausalLM) -> None:
        self.model = model
        self.heads: int = model.config.num_attention_heads
        self.kv_heads: int = model.config.num_key_value_heads

    def prefill(self, arena: Arena, group: int, embeds: Tensor) -> None:
        """Store a group's prefix: causal attention over itself.

        Args:
            arena: where.
            group: the group's place in it.
            embeds: (tokens, width), at least one token.
        """

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            arena.keep_prefix(layer, group, key[0], value[0])
            return scaled_attention(query, key, value, causal=True)

        self._layers(embeds[None], torch.arange(len(embeds), device=embeds.device)[None], attend, last=True)

    def enter(self, arena: Arena, group: int, rows: Sequence[int], suffixes: Sequence[Tensor]) -> Tensor:
        """Start rows behind their group's prefix.

        Args:
            arena: where the prefix is.
            group: the group's place.
            rows: the rows' places.
            suffixes: (tokens, width) of each row, at least one token.

        Returns:
            The logits of each row's next token, (rows, vocabulary).
        """
        lengths = torch.tensor([len(suffix) for suffix in suffixes], device=suffixes[0].device)
        places = torch.tensor(rows, device=lengths.device)
        embeds = torch.nn.utils.rnn.pad_sequence(list(suffixes), batch_first=True)
        positions = arena.prefixes[group] + torch.arange(embeds.shape[1], device=lengths.device)

        masked = arena.hidden_at_first(group, embeds.shape[1], self.heads // self.kv_heads)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            found = arena.enter(layer, group, places, self._by_key_head(query), key, value, masked)
            return found.reshape(query.shape)

        hidden = self._layers(embeds, positions.expand(len(rows), -1), attend)
        arena.lengths[group, places] = lengths
        return self._logits(hidden[torch.arange(len(rows), device=lengths.device), lengths - 1])

    def go_on(self, arenas: Sequence[Arena], tokens: Tensor, fixed: bool = False) -> Tensor:
        """Return the logits of the token after these, (rows, vocabulary), for every row of every arena.

        Args:
            arenas: the arenas.
            tokens: (rows,), the last token of each.
            fixed: keep all shapes as they are from call to call.
        """
        hidden = [arena.hidden(fixed) for arena in arenas]
        positions = torch.cat([(arena.prefixes[:, None] + arena.lengths).flatten() for arena in arenas])
        sizes = [arena.lengths.numel() for arena in arenas]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            states = (torch.split(part, sizes) for part in (self._by_key_head(query), key, value))
            found = [
                arena.go_on(layer, *parts, mask) for arena, mask, *parts in zip(arenas, hidden, *states, strict=True)
            ]
            return torch.cat(found).view(query.shape)

        embeds = self.model.get_input_embeddings()(tokens)[:, None]
        states = self._layers(embeds, positions[:, None], attend)
        for arena in arenas:
            arena.lengths.add_(1).clamp_(max=arena.own - 1)  # of free rows it would grow without end
        return self._logits(states[:, 0])

    def _by_key_head(self, query: Tensor) -> Tensor:
        """Return (rows, heads, tokens, size) as (rows, key heads, query heads of each x tokens, size)."""
        rows, _, _, size = query.shape
        return query.reshape(rows, self.kv_heads, -1, size)

    def _logits(self, states: Tensor) -> Tensor:
        logits: Tensor = self.model.lm_head(states)
        return logits

    def _layers(self, states: Tensor, positions: Tensor, attend: Attend, last: bool = False) -> Tensor:
        """Return the last hidden states, normalised; with ``last`` nothing: only keys and values were wanted."""
        model = self.model.model
        cos, sin = model.rotary_emb(states, positions)
        for number, layer in enumerate(model.layers):
            attention = layer.self_attn
            normal = layer.input_layernorm(states)
            shape = (*normal.shape[:-1], -1, attention.head_dim)
            projections = (attention.q_proj, attention.k_proj, attention.v_proj)
            projected = [project(normal).view(shape).transpose(1, 2) for project in projections]
            query, key = apply_rotary_pos_emb(projected[0], projected[1], cos, sin)
            mixed = attend(number, query, key, projected[2])
            if last and number == len(model.layers) - 1:
                break
            states = states + attention.o_proj(mixed.transpose(1, 2).flatten(2))
            states = states + layer.mlp(layer.post_attention_layernorm(states))
        final: Tensor = model.norm(states)
        return final
