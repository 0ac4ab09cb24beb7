"""Keys and values of the tokens that rows have read, so that a new token costs one position.

The cache never rolls: deeper layers' entries depend on the oldest tokens, so without those the output would not match
the model's. When a row's context is full, its newest half is read again (`sampling.generate.window_start`).

Shapes: B rows, K key and value heads, S positions in the cache, T positions that are read, D channels of a head.
"""

import torch
from torch import Tensor

from nanogpt.config import ModelConfig


class KVCache:
    """Space for `block_size` keys and values in each layer of each row; a row has its own length.

    `select` says which rows the model reads next: rows of one length, with any number of tokens each, or rows of
    different lengths, with one token each.
    """

    def __init__(self, config: ModelConfig, rows: int, like: Tensor) -> None:
        """Allocate the cache with the number format and device of `like`."""
        shape = (rows, config.kv_heads, config.block_size, config.head_channels)
        self.layers = [LayerCache(self, shape, like) for _ in range(config.n_layer)]
        self.opens = torch.zeros(rows, 1, config.block_size, dtype=torch.bool, device=like.device)
        """which tokens open a document, for `mask_documents`"""
        self.lengths = [0] * rows
        self.select(list(range(rows)))

    def select(self, rows: list[int]) -> "KVCache":
        """Let the next call of the model read these rows; return the cache."""
        lengths = [self.lengths[row] for row in rows]
        self.rows, self.length = rows, max(lengths)
        neighbours = rows == list(range(rows[0], rows[-1] + 1))
        self.index = slice(rows[0], rows[-1] + 1) if neighbours else rows  # a slice needs no copy
        self.ends: Tensor | None = None
        self.mask: Tensor | None = None
        if min(lengths) < self.length:
            self.ends, self.row_numbers = torch.tensor([lengths, rows], device=self.opens.device)  # each (B,)
            self.mask = (torch.arange(self.length + 1, device=self.opens.device) <= self.ends[:, None])[:, None, None]
        return self

    def positions(self, T: int) -> slice | Tensor:
        """Return the positions of the next T tokens: a slice for all rows, or (B, 1)."""
        return slice(self.length, self.length + T) if self.ends is None else self.ends[:, None]

    def append(self, kept: Tensor, new: Tensor) -> Tensor:
        """Store what belongs to the next tokens, (B, K, T, ...), in (rows, K, block_size, ...); return all so far."""
        end = self.length + new.size(2)
        if self.ends is None:
            kept[self.index, :, self.length : end] = new
        else:
            kept[self.row_numbers, :, self.ends] = new[:, :, 0]
        return kept[self.index, :, :end] if self.length else new  # (B, K, S, ...)

    def advance(self, T: int) -> None:
        """Count T more tokens in each selected row."""
        self.length += T
        for row in self.rows:
            self.lengths[row] += T

    def move(self, source: int, target: int) -> None:
        """Copy a row over another."""
        for layer in self.layers:
            layer.k[target], layer.v[target] = layer.k[source], layer.v[source]
        self.opens[target], self.lengths[target] = self.opens[source], self.lengths[source]


class LayerCache:
    """The keys and values of one layer, each (rows, K, block_size, D)."""

    def __init__(self, cache: KVCache, shape: tuple[int, ...], like: Tensor) -> None:
        self.cache = cache
        # Zeros: beyond a shorter row's end weights are 0, and 0 times NaN would be NaN. Not `like.new_zeros`: from a
        # sharded weight that would be a sharded tensor.
        self.k, self.v = (torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in "kv")

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values of the next tokens, (B, K, T, D); return all so far, (B, K, S, D)."""
        return self.cache.append(self.k, k), self.cache.append(self.v, v)
