"""Keys and values of what rows have read already, so that each new token costs one position.

The cache never rolls: dropping its oldest entries would leave what deeper layers computed from them, and the text would
be no model's. When a row's context is full, the newest half is read again in its place (`window_start`).

Shapes: B rows, K heads of keys and values, S time of keys and values, T time of what is read, D channels.
"""

import torch
from torch import Tensor

from nanogpt.config import ModelConfig


def window_start(position: int, block_size: int) -> int:
    """Where the window that predicts the token at `position` begins.

    >>> [window_start(position, 4) for position in range(1, 12)]
    [0, 0, 0, 0, 3, 3, 3, 6, 6, 6, 9]
    """
    if position <= block_size:
        return 0
    stride = block_size + 1 - max(1, block_size // 2)
    return -(-(position - block_size) // stride) * stride


class KeyValueCache:
    """Room for `block_size` keys and values of each of some rows, filled from the front; each row has its length."""

    def __init__(self, config: ModelConfig, rows: int, like: Tensor) -> None:
        shape = (rows, config.kv_heads, config.block_size, config.head_channels)
        # Not `like.new_empty`: a weight that is divided among processes would give a divided tensor.
        # Zeros: what lies beyond a shorter row's end is weighted with 0, which makes a number of any number alone.
        layers = range(config.n_layer)
        self.k, self.v = ([torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in layers] for _ in "kv")
        self.documents = torch.zeros(rows, config.block_size, dtype=torch.long, device=like.device)
        self.lengths = [0] * rows

    def forget(self, row: int) -> None:
        """Empty a row."""
        self.lengths[row] = 0

    def move(self, source: int, target: int) -> None:
        """Put one row's keys and values in the place of another's."""
        for layer in (*self.k, *self.v):
            layer[target] = layer[source]
        self.documents[target] = self.documents[source]
        self.lengths[target] = self.lengths[source]

    def rows(self, which: list[int]) -> "EqualRows":
        """Some rows of equal length, to read any number of tokens."""
        return EqualRows(self, which)

    def first(self, count: int) -> "EqualRows | UnequalRows":
        """The first rows, whatever their lengths, to read one token each."""
        if len(set(self.lengths[:count])) == 1:
            return EqualRows(self, list(range(count)))
        return UnequalRows(self, count)


def index_of(rows: list[int]) -> slice | list[int]:
    """Rows as an index: a slice where they are neighbours, which spares a copy.

    >>> index_of([2, 3, 4]), index_of([2, 4])
    (slice(2, 5, None), [2, 4])
    """
    return slice(rows[0], rows[-1] + 1) if rows == list(range(rows[0], rows[-1] + 1)) else rows


class EqualRows:
    """What a model sees of a cache when rows of one length read on together."""

    def __init__(self, cache: KeyValueCache, rows: list[int]) -> None:
        self._cache, self._rows = cache, rows
        self.index = index_of(rows)
        self.length = cache.lengths[rows[0]]
        self.layers = [EqualLayer(self, k, v) for k, v in zip(cache.k, cache.v)]

    def positions(self, T: int) -> slice:
        """Where the next T tokens stand."""
        return slice(self.length, self.length + T)

    def advance(self, T: int) -> None:
        """T tokens were read."""
        self.length += T
        for row in self._rows:
            self._cache.lengths[row] = self.length

    @property
    def documents(self) -> Tensor | None:
        """The document that each position so far belongs to (B, S)."""
        return self._cache.documents[self.index, : self.length] if self.length else None

    @documents.setter
    def documents(self, documents: Tensor | None) -> None:
        assert documents is not None
        self._cache.documents[self.index, : documents.size(1)] = documents


class EqualLayer:
    """One layer of `EqualRows`."""

    seen: Tensor | None = None

    def __init__(self, rows: EqualRows, k: Tensor, v: Tensor) -> None:
        self._rows, self._k, self._v = rows, k, v

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        index, start, end = self._rows.index, self._rows.length, self._rows.length + k.size(2)
        self._k[index, :, start:end] = k
        self._v[index, :, start:end] = v
        if not start:
            return k, v
        return self._k[index, :, :end], self._v[index, :, :end]  # each (B, K, S, D)


class UnequalRows:
    """What a model sees of a cache when rows of different lengths read one token each."""

    documents: Tensor | None = None

    def __init__(self, cache: KeyValueCache, count: int) -> None:
        self._cache, self._count = cache, count
        self.length = max(cache.lengths[:count])
        device = cache.documents.device
        self.ends = torch.tensor(cache.lengths[:count], device=device)  # (B,)
        self.index = torch.arange(count, device=device)
        self.seen = (torch.arange(self.length + 1, device=device) <= self.ends[:, None])[:, None, None]  # (B, 1, 1, S)
        self.layers = [UnequalLayer(self, k[:count], v[:count]) for k, v in zip(cache.k, cache.v)]

    def positions(self, T: int) -> Tensor:
        """Where each row's next token stands, (B, 1)."""
        return self.ends[:, None]

    def advance(self, T: int) -> None:
        """A token was read."""
        for row in range(self._count):
            self._cache.lengths[row] += T


class UnequalLayer:
    """One layer of `UnequalRows`."""

    def __init__(self, rows: UnequalRows, k: Tensor, v: Tensor) -> None:
        self._rows, self._k, self._v = rows, k, v
        self.seen = rows.seen

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        rows, length = self._rows, self._rows.length + 1
        self._k[rows.index, :, rows.ends] = k[:, :, 0]
        self._v[rows.index, :, rows.ends] = v[:, :, 0]
        return self._k[:, :, :length], self._v[:, :, :length]  # each (B, K, S, D)
