"""The KV cache of media groups: each group's prefix once, and every row's own tokens after it."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import Qwen2Config

Pair = tuple[Tensor, Tensor]


def token_bytes(config: Qwen2Config, dtype: torch.dtype) -> int:
    """Return the bytes that one cached token takes: keys and values of all layers."""
    width = int(config.num_key_value_heads) * (int(config.hidden_size) // int(config.num_attention_heads))
    return 2 * int(config.num_hidden_layers) * width * dtype.itemsize


class KVCache:
    """Keys and values of fixed capacity: group slots, each with one shared prefix and several rows.

    Args:
        config: of the language model.
        groups: number of group slots.
        rows: rows per group.
        prefix: capacity of a prefix in tokens.
        own: capacity of a row after its prefix in tokens, answer included.
        device: where the cache is allocated.
        dtype: of keys and values.

    Attributes:
        prefixes: (groups,), length of each group's prefix in tokens.
        lengths: (groups, rows), tokens in each row after the prefix.
    """

    def __init__(
        self,
        config: Qwen2Config,
        groups: int,
        rows: int,
        prefix: int,
        own: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.groups, self.rows, self.prefix, self.own = groups, rows, prefix, own
        heads, size = config.num_key_value_heads, config.hidden_size // config.num_attention_heads
        self.scale = size**-0.5
        # Zeros, because unused capacity is read too, with weight 0.
        shape, own_shape = (2, groups, heads, prefix, size), (2, groups, rows, heads, own, size)
        layers = range(config.num_hidden_layers)
        self._prefix = [torch.zeros(shape, device=device, dtype=dtype) for _ in layers]
        self._own = [torch.zeros(own_shape, device=device, dtype=dtype) for _ in layers]
        self._prefix_lengths = [0] * groups  # a host copy of ``prefixes``: reading that would wait for the device
        self.prefixes = torch.zeros(groups, dtype=torch.long, device=device)
        self.lengths = torch.zeros(groups, rows, dtype=torch.long, device=device)
        self._index = (
            torch.arange(groups, device=device)[:, None].expand(groups, rows),
            torch.arange(rows, device=device)[None, :].expand(groups, rows),
        )

    def assign(self, slot: int, prefix: int) -> None:
        """Assign a slot to a group whose prefix has that many tokens."""
        self.prefixes[slot] = prefix
        self._prefix_lengths[slot] = prefix

    def store_prefix(self, layer: int, slot: int, key: Tensor, value: Tensor) -> None:
        """Store the keys and values of a prefix, (heads, tokens, size) each."""
        for which, states in enumerate((key, value)):
            self._prefix[layer][which, slot, :, : states.shape[1]] = states

    def admit_mask(self, slot: int, tokens: int, shared: int) -> Tensor:
        """Return the mask for ``admit``, (shared x tokens, prefix + tokens), true where attention is blocked.

        Args:
            slot: the group's slot.
            tokens: length of the longest new row.
            shared: query heads per key head.
        """
        later = torch.ones(tokens, tokens, dtype=torch.bool, device=self.lengths.device).triu(1).repeat(shared, 1)
        return torch.cat([later.new_zeros(len(later), self._prefix_lengths[slot]), later], dim=1)

    def admit(
        self, layer: int, slot: int, rows: Tensor, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor
    ) -> Tensor:
        """Store the first tokens of new rows; return their attention to the prefix and to each row's own tokens.

        Args:
            layer: index of the layer.
            slot: the group's slot.
            rows: (n,), indices of the rows in the slot.
            query: (n, key heads, query heads per key head x tokens, size).
            key: (n, key heads, tokens, size); shorter rows are padded at the end.
            value: as ``key``.
            blocked: from ``admit_mask``.

        Returns:
            As ``query``.
        """
        for which, states in enumerate((key, value)):
            self._own[layer][which, slot, rows, :, : key.shape[2]] = states
        prefix = self._prefix[layer][:, slot : slot + 1, :, : self._prefix_lengths[slot]]
        return _attend(query[None], (prefix[0], prefix[1]), (key[None], value[None]), blocked, self.scale)[0]

    def step_mask(self, fixed: bool = False) -> Tensor:
        """Return the mask for ``decode_step``, (groups, rows, 1, 1, prefix + own), true where attention is blocked.

        Args:
            fixed: cover the full capacity, so that the shape never changes; else only what is in use.
        """
        own = self.own if fixed else int(self.lengths.max()) + 1
        positions = torch.arange(max(self.prefix, own), device=self.lengths.device)
        beyond_prefix = positions[: self.prefix] >= self.prefixes[:, None]
        beyond_row = positions[:own] > self.lengths[..., None]
        beyond_prefix = beyond_prefix[:, None].expand(self.groups, self.rows, self.prefix)
        return torch.cat([beyond_prefix, beyond_row], dim=-1)[:, :, None, None]

    def decode_step(self, layer: int, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor) -> Tensor:
        """Store one more token of every row; return its attention to the prefix and to the row.

        Args:
            layer: index of the layer.
            query: (groups x rows, key heads, query heads per key head, size).
            key: (groups x rows, key heads, 1, size).
            value: as ``key``.
            blocked: from ``step_mask``.

        Returns:
            As ``query``.
        """
        shape = (self.groups, self.rows)
        group, row = self._index
        for which, states in enumerate((key, value)):
            self._own[layer][which][group, row, :, self.lengths] = states.view(*shape, -1, key.shape[-1])
        prefix, own = self._prefix[layer], self._own[layer][..., : blocked.shape[-1] - self.prefix, :]
        query = query.view(*shape, *query.shape[1:])
        return _attend(query, (prefix[0], prefix[1]), (own[0], own[1]), blocked, self.scale).flatten(0, 1)

    def keep_rows(self, kept: list[int]) -> None:
        """Free all rows of every group except these."""
        index = torch.tensor(kept, device=self.lengths.device)
        self._own = [states[:, :, index] for states in self._own]
        self.lengths = self.lengths[:, index]
        self.rows = len(kept)
        self._index = (self._index[0][:, : self.rows], self._index[1][:, : self.rows])


def _attend(query: Tensor, prefix: Pair, own: Pair, blocked: Tensor, scale: float) -> Tensor:
    """Return attention over a prefix shared by a group's rows, read once for all of them, and over each row's own.

    Equals the usual softmax over both, in float32, as if the prefix were copied for every row.

    Args:
        query: (groups, rows, key heads, queries, size).
        prefix: (groups, key heads, tokens, size) each.
        own: (groups, rows, key heads, tokens, size) each.
        blocked: true for tokens that a query must not attend to; the last dimension is prefix, then own.
        scale: factor of the dot products.

    Returns:
        As ``query``.
    """
    groups, rows, heads, queries, size = query.shape
    tokens = prefix[0].shape[2]
    together = query.transpose(1, 2).reshape(groups, heads, rows * queries, size)
    to_prefix = (together @ prefix[0].transpose(-1, -2)).view(groups, heads, rows, queries, tokens).transpose(1, 2)
    to_own = query @ own[0].transpose(-1, -2)
    scores = torch.cat([to_prefix, to_own], dim=-1).float().mul_(scale).masked_fill_(blocked, -torch.inf)
    weights = scores.softmax(dim=-1).to(query.dtype)
    of_prefix = weights[..., :tokens].transpose(1, 2).reshape(groups, heads, rows * queries, tokens)
    from_prefix = (of_prefix @ prefix[1]).view(groups, heads, rows, queries, size).transpose(1, 2)
    return from_prefix + weights[..., tokens:] @ own[1]
