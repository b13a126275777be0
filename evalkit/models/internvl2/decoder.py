"""The language model over KV caches: transformers' own layers, with each group's prefix cached once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

from evalkit.models.internvl2.cache import KVCache
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

    def prefill(self, cache: KVCache, slot: int, embeds: Tensor) -> None:
        """Compute and store a group's prefix, with causal attention.

        Args:
            cache: the cache.
            slot: the group's slot.
            embeds: (tokens, width), at least one token.
        """

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            cache.store_prefix(layer, slot, key[0], value[0])
            return scaled_attention(query, key, value, causal=True)

        self._layers(embeds[None], torch.arange(len(embeds), device=embeds.device)[None], attend, fill_only=True)

    def admit(self, cache: KVCache, slot: int, rows: Sequence[int], suffixes: Sequence[Tensor]) -> Tensor:
        """Start rows after their group's prefix.

        Args:
            cache: the cache that holds the prefix.
            slot: the group's slot.
            rows: indices of free rows in the slot.
            suffixes: (tokens, width) of each row, at least one token.

        Returns:
            The logits of each row's next token, (rows, vocabulary).
        """
        lengths = torch.tensor([len(suffix) for suffix in suffixes], device=suffixes[0].device)
        index = torch.tensor(rows, device=lengths.device)
        embeds = torch.nn.utils.rnn.pad_sequence(list(suffixes), batch_first=True)
        positions = cache.prefixes[slot] + torch.arange(embeds.shape[1], device=lengths.device)

        blocked = cache.admit_mask(slot, embeds.shape[1], self.heads // self.kv_heads)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            attended = cache.admit(layer, slot, index, self._by_key_head(query), key, value, blocked)
            return attended.reshape(query.shape)

        hidden = self._layers(embeds, positions.expand(len(rows), -1), attend)
        cache.lengths[slot, index] = lengths
        return self._logits(hidden[torch.arange(len(rows), device=lengths.device), lengths - 1])

    def decode_step(self, caches: Sequence[KVCache], tokens: Tensor, fixed: bool = False) -> Tensor:
        """Return the logits of the token after these, (rows, vocabulary), for every row of every cache.

        Args:
            caches: the caches.
            tokens: (rows,), the last token of each row.
            fixed: use the same shapes in every call.
        """
        masks = [cache.step_mask(fixed) for cache in caches]
        positions = torch.cat([(cache.prefixes[:, None] + cache.lengths).flatten() for cache in caches])
        sizes = [cache.lengths.numel() for cache in caches]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            states = (torch.split(part, sizes) for part in (self._by_key_head(query), key, value))
            attended = [
                cache.decode_step(layer, *parts, mask)
                for cache, mask, *parts in zip(caches, masks, *states, strict=True)
            ]
            return torch.cat(attended).view(query.shape)

        embeds = self.model.get_input_embeddings()(tokens)[:, None]
        states = self._layers(embeds, positions[:, None], attend)
        for cache in caches:
            cache.lengths.add_(1).clamp_(max=cache.own - 1)  # free rows would grow without bound
        return self._logits(states[:, 0])

    def _by_key_head(self, query: Tensor) -> Tensor:
        """Reshape (rows, heads, tokens, size) to (rows, key heads, query heads per key head x tokens, size)."""
        rows, _, _, size = query.shape
        return query.reshape(rows, self.kv_heads, -1, size)

    def _logits(self, states: Tensor) -> Tensor:
        logits: Tensor = self.model.lm_head(states)
        return logits

    def _layers(self, states: Tensor, positions: Tensor, attend: Attend, fill_only: bool = False) -> Tensor:
        """Return the normalised last hidden states; ``fill_only`` stops after the last keys and values are stored."""
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
            if fill_only and number == len(model.layers) - 1:
                break
            states = states + attention.o_proj(mixed.transpose(1, 2).flatten(2))
            states = states + layer.mlp(layer.post_attention_layernorm(states))
        final: Tensor = model.norm(states)
        return final
