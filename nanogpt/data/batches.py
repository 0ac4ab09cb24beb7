"""Batches of token ids: which windows a step reads is a function of (seed, step).

The text is a ring, its end joined to its beginning. An epoch covers it with windows of `block_size` tokens, from a
drawn offset on, so every token is a target; a keyed permutation that needs no memory (a Feistel network, repeated until
its result is in range) orders them. Finding a window costs the same whatever the length of the text, and any step can
be requested directly: so a resumed run continues where it stopped, with any number of processes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nanogpt.config import RUN_FORMAT, ModelConfig, TrainConfig
from nanogpt.random_streams import stream

TokenIds = NDArray[np.unsignedinteger]
FEISTEL_ROUNDS = 4
CACHED_NUMBERS = 3 << 18
"""Numbers of the residual stream that a CPU processes at once. What a layer computes from them, about 15 MB in
bfloat16, stays in its cache: with 384 channels and block size 256, 8 sequences at a time took half as long as 64."""


def micro_batch_size(model: ModelConfig, train: TrainConfig, device: str, processes: int = 1) -> int:
    """Return the largest number of sequences in one micro-step of each process on this type of device.

    At most `batch_size`; on a CPU also no more than fits its cache, in equal parts if possible. With fsdp no fewer,
    because each micro-step gathers all weights. It depends on settings alone, never on a measured time.
    """
    share = train.batch_sequences // processes
    most = train.batch_size
    if device == "cpu" and not (processes > 1 and train.parallel == "fsdp"):
        most = max(1, min(most, CACHED_NUMBERS // (model.n_embd * model.block_size)))
    fewest = -(-share // most)
    parts = next((parts for parts in range(fewest, 2 * fewest) if share % parts == 0), fewest)
    return -(-share // parts)


def get_batch(
    ids: TokenIds, block_size: int, seed: int, first: int, count: int, *, run_format: int = RUN_FORMAT
) -> tuple[Tensor, Tensor]:
    """Return inputs and targets, each (B, T), of `count` windows, the first at number `first` of the whole training."""
    starts = window_starts(len(ids), block_size, seed, first, count, run_format=run_format)  # (B,)
    rows = ids[(starts[:, None] + np.arange(block_size + 1)) % len(ids)].astype(np.int64)  # (B, T + 1)
    tensor = torch.from_numpy(rows)
    return tensor[:, :-1], tensor[:, 1:]


def window_starts(
    tokens: int, block_size: int, seed: int, first: int, count: int, *, run_format: int = RUN_FORMAT
) -> NDArray[np.int64]:
    """Return where `count` windows begin, shape (count,), the first at number `first` of the whole training."""
    per_epoch, offsets = -(-tokens // block_size), tokens
    if run_format == 1:  # never crossed the end of the text, so the last tokens of a short one were no targets
        per_epoch = max(1, (tokens - 1) // block_size - 1)
        offsets = min(tokens - per_epoch * block_size, block_size)
    numbers = np.arange(first, first + count)
    starts = np.empty(count, dtype=np.int64)
    for epoch in np.unique(numbers // per_epoch):
        here = numbers // per_epoch == epoch
        offset = stream(seed, "offset", int(epoch)) % offsets
        key = stream(seed, "order", int(epoch))
        starts[here] = (offset + permute(numbers[here] % per_epoch, per_epoch, key) * block_size) % tokens
    return starts


def permute(index: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Return where a keyed permutation of range(size) sends each index.

    A balanced Feistel network permutes the next larger power of four; a result out of range is permuted again until it
    is in range (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). Costs O(len(index)), for any size.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    result = _feistel(index.astype(np.uint64), half, key)
    while (outside := result >= size).any():
        result[outside] = _feistel(result[outside], half, key)
    return result.astype(np.int64)


def _feistel(index: NDArray[np.uint64], half: int, key: int) -> NDArray[np.uint64]:
    mask = np.uint64((1 << half) - 1)
    left, right = index >> np.uint64(half), index & mask
    for number in range(FEISTEL_ROUNDS):
        left, right = right, left ^ (_mix(right, stream(key, "round", number)) & mask)
    return (left << np.uint64(half)) | right


def _mix(value: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Scramble 64 bits: the finalizer of SplitMix64 (Steele et al. 2014) on value + key, modulo 2^64."""
    with np.errstate(over="ignore"):
        value = value + np.uint64(key)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
