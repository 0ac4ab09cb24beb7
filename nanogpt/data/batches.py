"""Token ids to batches: which windows of the text an update reads, as a function of (seed, step).

An epoch reads every window of `block_size` once, in the order of a keyed permutation that needs no memory (a Feistel
network, walked until it lands inside the range), and starts at an offset of its own, so that windows are cut elsewhere
each time. The cost of finding a window does not grow with the text, and any step can be asked for directly: this is
what makes a resumed run read on where it stopped, in however many processes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nanogpt.data.dataset import TokenIds
from nanogpt.random_streams import stream

FEISTEL_ROUNDS = 4


def windows_per_epoch(tokens: int, block_size: int) -> int:
    """How many windows an epoch reads; one less than would fit, so that every epoch can start at its own offset."""
    return max(1, (tokens - 1) // block_size - 1)


def window_starts(tokens: int, block_size: int, seed: int, first: int, count: int) -> NDArray[np.int64]:
    """Where the windows number `first` to `first + count` of the whole training begin, (count,)."""
    per_epoch = windows_per_epoch(tokens, block_size)
    room = min(tokens - 1 - per_epoch * block_size, block_size - 1)
    numbers = np.arange(first, first + count)
    starts = np.empty(count, dtype=np.int64)
    for epoch in np.unique(numbers // per_epoch):
        here = numbers // per_epoch == epoch
        offset = stream(seed, "offset", int(epoch)) % (room + 1)
        key = stream(seed, "order", int(epoch))
        starts[here] = offset + permute(numbers[here] % per_epoch, per_epoch, key) * block_size
    return starts


def permute(index: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Where a keyed permutation of range(size) sends each index.

    A balanced Feistel network permutes the next larger power of four; what lands outside walks on (Black and
    Rogaway 2002, "Ciphers with arbitrary finite domains"). Costs O(len(index)), whatever the size.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    result = _feistel(index.astype(np.uint64), half, key)
    while (outside := result >= size).any():
        result[outside] = _feistel(result[outside], half, key)
    return result.astype(np.int64)


def batch(ids: TokenIds, block_size: int, seed: int, first: int, count: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets of windows `first` to `first + count`, counted from the start of training: each (B, T)."""
    starts = window_starts(len(ids), block_size, seed, first, count)  # (B,)
    rows = ids[starts[:, None] + np.arange(block_size + 1)].astype(np.int64)  # (B, T + 1)
    tensor = torch.from_numpy(rows)
    return tensor[:, :-1], tensor[:, 1:]


def _feistel(index: NDArray[np.uint64], half: int, key: int) -> NDArray[np.uint64]:
    mask = np.uint64((1 << half) - 1)
    left, right = index >> np.uint64(half), index & mask
    for number in range(FEISTEL_ROUNDS):
        left, right = right, left ^ (_mix(right, stream(key, "round", number)) & mask)
    return (left << np.uint64(half)) | right


def _mix(value: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Scramble 64 bits: the finaliser of SplitMix64 (Steele et al. 2014) over value + key, modulo 2^64."""
    with np.errstate(over="ignore"):
        value = value + np.uint64(key)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
