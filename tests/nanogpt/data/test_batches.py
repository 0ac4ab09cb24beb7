"""Batches: every window once per epoch, any step by itself; how many sequences are read at once."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from nanogpt.config import ModelConfig, TrainConfig, load_preset
from nanogpt.data import batches
from nanogpt.data.tokenize import Dataset, fit_block


@given(st.integers(1, 5000), st.integers(0, 2**62))
@example(1, 0)
@example(4096, 3)
@example(4097, 3)
def test_permute_is_a_permutation(size, key):
    assert np.array_equal(np.sort(batches.permute(np.arange(size), size, key)), np.arange(size))


def test_permute_needs_no_memory():
    size = 10**15 + 37
    found = batches.permute(np.array([0, 1, size - 1, size // 2]), size, 5)
    assert len(set(found.tolist())) == 4
    assert 0 <= found.min() <= found.max() < size


def test_permute_spreads():
    # Each of the 24 orders of four occurs about equally often.
    orders = [tuple(batches.permute(np.arange(4), 4, key)) for key in range(2400)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 24
    assert all(50 < count < 160 for count in counts)


@pytest.mark.parametrize("size", [8, 32])
def test_permute_spreads_an_odd_number_of_bits(size):
    found = np.array([batches.permute(np.arange(size), size, key) for key in range(400)])
    assert all(len(set(column)) == size for column in found.T)


def test_orders_stay_the_same_between_versions():
    assert batches.permute(np.arange(8), 8, 3).tolist() == [4, 2, 3, 7, 1, 5, 0, 6]


@pytest.mark.parametrize("tokens", [11, 13, 19])
def test_windows_start_everywhere(tokens):
    assert set(batches.window_starts(tokens, 10, 7, 0, 400).tolist()) == set(range(tokens))


def test_permute_leaves_no_pattern():
    found = batches.permute(np.arange(10_007), 10_007, 3)
    assert abs(np.corrcoef(found, np.arange(10_007))[0, 1]) < 0.05
    assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 0.05
    assert not np.array_equal(found, batches.permute(np.arange(10_007), 10_007, 4))


@given(st.integers(2, 700), st.integers(1, 60), st.integers(0, 2**31))
@example(180, 64, 1337)
@example(767, 256, 1337)
def test_an_epoch_has_every_token_as_a_target(tokens, block_size, seed):
    if tokens <= block_size:
        return
    ids, per_epoch = np.arange(tokens), -(-tokens // block_size)
    for epoch in (0, 3):
        _, targets = batches.get_batch(ids, block_size, seed, epoch * per_epoch, per_epoch)
        counts = np.bincount(targets.ravel(), minlength=tokens)
        assert counts.min() == 1
        assert counts.sum() - tokens < block_size  # no more is read twice than the last window needs


def test_windows_of_format_1_by_hand():
    starts = batches.window_starts(180, 64, 1337, 0, 5, run_format=1)
    assert starts.tolist() == [61, 32, 37, 17, 21]  # never past 63 + 64: 52 of 179 targets were in no epoch
    assert batches.window_starts(101, 11, 7, 90, 4, run_format=1).tolist() == [80, 3, 58, 69]


@given(st.integers(30, 300), st.integers(1, 9), st.integers(0, 50), st.integers(1, 40))
def test_any_range_of_windows_can_be_requested(tokens, block_size, first, count):
    whole = batches.window_starts(tokens, block_size, 7, 0, first + count)
    assert np.array_equal(batches.window_starts(tokens, block_size, 7, first, count), whole[first:])


def test_each_epoch_and_seed_has_its_order():
    one = batches.window_starts(1009, 7, 7, 0, 100)
    assert not np.array_equal(one % 7, np.zeros(100))
    assert not np.array_equal(one, batches.window_starts(1009, 7, 8, 0, 100))
    assert not np.array_equal(one // 7, batches.window_starts(1009, 7, 7, 145, 100) // 7)


def test_targets_are_inputs_one_token_later():
    x, y = batches.get_batch(np.arange(1009, dtype=np.uint16), 7, seed=3, first=10, count=5)
    assert x.shape == y.shape == (5, 7)
    assert x.dtype == y.dtype == torch.int64
    assert torch.equal(y, (x + 1) % 1009)
    assert torch.equal(x, (x[:, :1] + torch.arange(7)) % 1009)
    assert x[:, 0].tolist() == batches.window_starts(1009, 7, 3, 10, 5).tolist()


# Sizes

WIDE = ModelConfig(n_embd=384, n_head=6, block_size=256)
NARROW = ModelConfig(n_embd=160, n_head=5, block_size=64)


@pytest.mark.parametrize(
    ("model", "batch_size", "accumulation", "device", "expected"),
    [
        (WIDE, 64, 1, "cpu", 8),
        (WIDE, 64, 1, "cuda", 64),
        (WIDE, 3, 2, "cpu", 3),
        (WIDE, 12, 1, "cpu", 6),  # two parts
        (WIDE, 15, 1, "cpu", 5),  # three equal parts rather than 8 and 7
        (WIDE, 13, 1, "cpu", 7),  # 7 and 6: only single sequences would be equal
        (NARROW, 16, 1, "cpu", 16),
        (NARROW, 100, 1, "cpu", 50),
        (ModelConfig(n_embd=4096, block_size=1024), 4, 1, "cpu", 1),
    ],
)
def test_micro_batches_by_hand(model, batch_size, accumulation, device, expected):
    train = TrainConfig(batch_size=batch_size, accumulation=accumulation)
    assert batches.micro_batch_size(model, train, device) == expected


def test_fsdp_gathers_weights_no_more_often_than_requested():
    train = TrainConfig(batch_size=64, parallel="fsdp")
    assert batches.micro_batch_size(WIDE, train, "cpu", processes=2) == 32
    assert batches.micro_batch_size(WIDE, train, "cpu") == 8


@given(st.integers(1, 300), st.integers(1, 5), st.sampled_from([1, 2, 3]))
def test_micro_batches_fit_and_are_not_too_small(batch_size, accumulation, processes):
    train = TrainConfig(batch_size=batch_size * processes, accumulation=accumulation)
    size, share = batches.micro_batch_size(WIDE, train, "cpu", processes), batch_size * accumulation
    most = min(batch_size * processes, batches.CACHED_NUMBERS // (384 * 256))
    assert 1 <= size <= most
    parts = -(-share // size)
    assert parts <= 2 * -(-share // most)
    if share % parts == 0:
        assert size == share // parts


@pytest.mark.parametrize("tokens", [2, 5, 6, 11, 320, 321, 5000])
def test_the_longest_block_for_four_windows(tokens):
    config = load_preset("modern").override(vocab_size=37)
    data = Dataset(train=np.zeros(tokens), val=np.zeros(9), key="")
    block = fit_block(config, data, ()).model.block_size
    assert block == min(64, max(1, (tokens - 1) // 5))
    assert tokens // block >= min(5, tokens - 1)
    assert fit_block(config, data, {"block_size"}) == config
