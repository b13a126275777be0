"""Keys and values of media groups: each group's prefix once, and every row's own tokens behind it."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import Qwen2Config

Pair = tuple[Tensor, Tensor]


def token_bytes(config: Qwen2Config, dtype: torch.dtype) -> int:
    """Return the bytes that one cached token takes: keys and values of all layers."""
    width = int(config.num_key_value_heads) * (int(config.hidden_size) // int(config.num_attention_heads))
    return 2 * int(config.num_hidden_layers) * width * dtype.itemsize


class Arena:
    """Room for some groups of some rows each, of fixed size; rows and groups come and go.

    Args:
        config: of the language model.
        groups: places for groups.
        rows: places for rows in each.
        prefix: most tokens of a prefix.
        own: most tokens of a row behind its prefix, answer included.
        device: where it lies.
        dtype: of keys and values.

    Attributes:
        prefixes: (groups,), tokens of each group's prefix.
        lengths: (groups, rows), tokens of each row behind it.
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
        # Zeros, for what lies behind a prefix or a row is read, though with weight 0.
        shape, own_shape = (2, groups, heads, prefix, size), (2, groups, rows, heads, own, size)
        layers = range(config.num_hidden_layers)
        self._prefix = [torch.zeros(shape, device=device, dtype=dtype) for _ in layers]
        self._own = [torch.zeros(own_shape, device=device, dtype=dtype) for _ in layers]
        self._used = [0] * groups  # the same as the next, known without asking the device
        self.prefixes = torch.zeros(groups, dtype=torch.long, device=device)
        self.lengths = torch.zeros(groups, rows, dtype=torch.long, device=device)
        self._index = (
            torch.arange(groups, device=device)[:, None].expand(groups, rows),
            torch.arange(rows, device=device)[None, :].expand(groups, rows),
        )

    def begin(self, group: int, prefix: int) -> None:
        """Give a place to a group whose prefix has that many tokens."""
        self.prefixes[group] = prefix
        self._used[group] = prefix

    def keep_prefix(self, layer: int, group: int, key: Tensor, value: Tensor) -> None:
        """Store a prefix' keys and values, (heads, tokens, size) each."""
        for place, states in enumerate((key, value)):
            self._prefix[layer][place, group, :, : states.shape[1]] = states

    def hidden_at_first(self, group: int, tokens: int, shared: int) -> Tensor:
        """Return what the first tokens of a row may not look at, (shared x tokens, prefix + tokens), true where not.

        Args:
            group: the row's group.
            tokens: of the row.
            shared: query heads that share a key head.
        """
        later = torch.ones(tokens, tokens, dtype=torch.bool, device=self.lengths.device).triu(1).repeat(shared, 1)
        return torch.cat([later.new_zeros(len(later), self._used[group]), later], dim=1)

    def enter(
        self, layer: int, group: int, rows: Tensor, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor
    ) -> Tensor:
        """Store the first tokens of rows and return their attention to the prefix and to each other.

        Args:
            layer: the layer.
            group: the group's place.
            rows: (n,), places of the rows in it.
            query: (n, key heads, query heads of each x tokens, size).
            key: (n, key heads, tokens, size); of rows that are shorter the end is meaningless.
            value: as ``key``.
            hidden: as ``hidden_at_first`` returns it.

        Returns:
            As ``query``.
        """
        for place, states in enumerate((key, value)):
            self._own[layer][place, group, rows, :, : key.shape[2]] = states
        prefix = self._prefix[layer][:, group : group + 1, :, : self._used[group]]
        return _attend(query[None], (prefix[0], prefix[1]), (key[None], value[None]), hidden, self.scale)[0]

    def hidden(self, fixed: bool = False) -> Tensor:
        """Return what the next token of each row may not look at: (groups, rows, 1, 1, prefix + own), true where not.

        Args:
            fixed: keep all room for own tokens, so that the shape never changes; else as much as is used.
        """
        own = self.own if fixed else int(self.lengths.max()) + 1
        places = torch.arange(max(self.prefix, own), device=self.lengths.device)
        before = places[: self.prefix] >= self.prefixes[:, None]
        behind = places[:own] > self.lengths[..., None]
        before = before[:, None].expand(self.groups, self.rows, self.prefix)
        return torch.cat([before, behind], dim=-1)[:, :, None, None]

    def go_on(self, layer: int, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor) -> Tensor:
        """Store one more token of every row and return its attention to the prefix and to the row.

        Args:
            layer: the layer.
            query: (groups x rows, key heads, query heads of each, size).
            key: (groups x rows, key heads, 1, size).
            value: as ``key``.
            hidden: as ``hidden`` returns it.

        Returns:
            As ``query``.
        """
        shape = (self.groups, self.rows)
        group, row = self._index
        for place, states in enumerate((key, value)):
            self._own[layer][place][group, row, :, self.lengths] = states.view(*shape, -1, key.shape[-1])
        prefix, own = self._prefix[layer], self._own[layer][..., : hidden.shape[-1] - self.prefix, :]
        query = query.view(*shape, *query.shape[1:])
        return _attend(query, (prefix[0], prefix[1]), (own[0], own[1]), hidden, self.scale).flatten(0, 1)

    def drop(self, kept: list[int]) -> None:
        """Give up the rows of every group but these."""
        index = torch.tensor(kept, device=self.lengths.device)
        self._own = [states[:, :, index] for states in self._own]
        self.lengths = self.lengths[:, index]
        self.rows = len(kept)
        self._index = (self._index[0][:, : self.rows], self._index[1][:, : self.rows])


def _attend(query: Tensor, prefix: Pair, own: Pair, hidden: Tensor, scale: float) -> Tensor:
    """Return attention over a prefix that a group's rows share, read once for all of them, and over each row's own.

    It is the usual softmax over both together, in float32, as if the prefix were copied for every row.

    Args:
        query: (groups, rows, key heads, queries, size).
        prefix: (groups, key heads, tokens, size) each.
        own: (groups, rows, key heads, tokens, size) each.
        hidden: true for tokens that a query may not look at; the last dimension holds prefix, then own.
        scale: of the products.

    Returns:
        As ``query``.
    """
    groups, rows, heads, queries, size = query.shape
    tokens = prefix[0].shape[2]
    together = query.transpose(1, 2).reshape(groups, heads, rows * queries, size)
    to_prefix = (together @ prefix[0].transpose(-1, -2)).view(groups, heads, rows, queries, tokens).transpose(1, 2)
    to_own = query @ own[0].transpose(-1, -2)
    scores = torch.cat([to_prefix, to_own], dim=-1).float().mul_(scale).masked_fill_(hidden, -torch.inf)
    weights = scores.softmax(dim=-1).to(query.dtype)
    of_prefix = weights[..., :tokens].transpose(1, 2).reshape(groups, heads, rows * queries, tokens)
    found = (of_prefix @ prefix[1]).view(groups, heads, rows, queries, size).transpose(1, 2)
    return found + weights[..., tokens:] @ own[1]
