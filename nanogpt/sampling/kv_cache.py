"""Keys and values of the tokens that rows have read, so that a new token costs one position.

The cache never rolls: deeper layers' entries depend on the oldest tokens, so without those the output would not match
the model's. When a row's context is full, its newest half is read again (`window_start`).

Shapes: B rows, K key and value heads, S positions in the cache, T positions that are read, D channels of a head.
"""

import torch
from torch import Tensor

from nanogpt.config import ModelConfig


def window_start(position: int, block_size: int) -> int:
    """Return the first position of the window from which the token at `position` is predicted.

    >>> [window_start(position, 4) for position in range(1, 12)]
    [0, 0, 0, 0, 3, 3, 3, 6, 6, 6, 9]
    """
    if position <= block_size:
        return 0
    stride = block_size + 1 - max(1, block_size // 2)
    return -(-(position - block_size) // stride) * stride


class KVCache:
    """Space for `block_size` keys and values in each layer of each row; a row has its own length.

    `select` says which rows the model reads next: rows of one length, with any number of tokens each, or rows of
    different lengths, with one token each.
    """

    def __init__(self, config: ModelConfig, rows: int, like: Tensor) -> None:
        """Allocate the cache with the number format and device of `like`."""
        shape = (rows, config.kv_heads, config.block_size, config.head_channels)
        # Zeros: beyond a shorter row's end weights are 0, and 0 times NaN would be NaN.
        self.layers = [LayerCache(self, shape, like) for _ in range(config.n_layer)]
        self.lengths = [0] * rows
        self._documents = torch.zeros(rows, config.block_size, dtype=torch.long, device=like.device)
        self.select(list(range(rows)))

    def select(self, rows: list[int]) -> "KVCache":
        """Let the next call of the model read these rows; return the cache."""
        lengths = [self.lengths[row] for row in rows]
        self.rows, self.length = rows, max(lengths)
        self.index = index_of(rows)
        self.ends: Tensor | None = None
        self.mask: Tensor | None = None
        if min(lengths) < self.length:
            device = self._documents.device
            self.ends, self.row_numbers = torch.tensor([lengths, rows], device=device)  # each (B,)
            self.mask = (torch.arange(self.length + 1, device=device) <= self.ends[:, None])[:, None, None]
        return self

    def positions(self, T: int) -> slice | Tensor:
        """Return the positions of the next T tokens: a slice for all rows, or (B, 1)."""
        return slice(self.length, self.length + T) if self.ends is None else self.ends[:, None]

    def advance(self, T: int) -> None:
        """Count T more tokens in each selected row."""
        self.length += T
        for row in self.rows:
            self.lengths[row] += T

    def forget(self, row: int) -> None:
        """Empty a row."""
        self.lengths[row] = 0

    def move(self, source: int, target: int) -> None:
        """Copy a row over another."""
        for layer in self.layers:
            layer.k[target], layer.v[target] = layer.k[source], layer.v[source]
        self._documents[target] = self._documents[source]
        self.lengths[target] = self.lengths[source]

    @property
    def documents(self) -> Tensor | None:
        """Number of the document at each position so far, (B, S); only for rows of one length."""
        return self._documents[self.index, : self.length] if self.length else None

    @documents.setter
    def documents(self, documents: Tensor | None) -> None:
        assert documents is not None
        self._documents[self.index, : documents.size(1)] = documents


class LayerCache:
    """The keys and values of one layer, (rows, K, block_size, D)."""

    def __init__(self, cache: KVCache, shape: tuple[int, ...], like: Tensor) -> None:
        self.cache = cache
        # Not `like.new_zeros`: from a sharded weight that would be a sharded tensor.
        self.k, self.v = (torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in "kv")

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values of the next tokens, (B, K, T, D); return all so far, (B, K, S, D)."""
        cache, index = self.cache, self.cache.index
        if cache.ends is None:
            start, end = cache.length, cache.length + k.size(2)
            self.k[index, :, start:end], self.v[index, :, start:end] = k, v
            if not start:
                return k, v
        else:
            end = cache.length + 1
            self.k[cache.row_numbers, :, cache.ends] = k[:, :, 0]
            self.v[cache.row_numbers, :, cache.ends] = v[:, :, 0]
        return self.k[index, :, :end], self.v[index, :, :end]


def index_of(rows: list[int]) -> slice | list[int]:
    """Return rows as an index: a slice for neighbours, which needs no copy.

    >>> index_of([2, 3, 4]), index_of([2, 4])
    (slice(2, 5, None), [2, 4])
    """
    return slice(rows[0], rows[-1] + 1) if rows == list(range(rows[0], rows[-1] + 1)) else rows
