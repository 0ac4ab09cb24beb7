"""Ids to batches: every window once an epoch, any step by itself."""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from nanogpt.data.batches import batch, permute, window_starts, windows_per_epoch


@given(st.integers(1, 5000), st.integers(0, 2**62))
@example(1, 0)
@example(4096, 3)
@example(4097, 3)
def test_permute_is_a_permutation(size, key):
    assert np.array_equal(np.sort(permute(np.arange(size), size, key)), np.arange(size))


def test_permute_needs_no_memory():
    size = 10**15 + 37
    index = np.array([0, 1, size - 1, size // 2])
    found = permute(index, size, 5)
    assert len(set(found.tolist())) == 4
    assert found.min() >= 0
    assert found.max() < size


def test_permute_spreads():
    # Each of 24 orders of four, from keys: about as often as any other.
    orders = [tuple(permute(np.arange(4), 4, key)) for key in range(4800)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 24
    assert all(100 < count < 320 for count in counts)


def test_permute_leaves_no_pattern():
    found = permute(np.arange(10_007), 10_007, 3)
    assert abs(np.corrcoef(found, np.arange(10_007))[0, 1]) < 0.05
    assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 0.05
    assert not np.array_equal(found, permute(np.arange(10_007), 10_007, 4))


@given(st.integers(2, 700), st.integers(1, 60), st.integers(0, 2**31))
def test_an_epoch_reads_every_window_once_inside_the_text(tokens, block_size, seed):
    if tokens <= block_size:
        return
    per_epoch = windows_per_epoch(tokens, block_size)
    for epoch in (0, 3):
        starts = np.sort(window_starts(tokens, block_size, seed, epoch * per_epoch, per_epoch))
        assert starts[0] >= 0
        assert starts[-1] + block_size <= tokens - 1
        assert (np.diff(starts) == block_size).all()


@given(st.integers(30, 300), st.integers(1, 9), st.integers(0, 50), st.integers(1, 40))
def test_any_stretch_of_windows_can_be_asked_for(tokens, block_size, first, count):
    whole = window_starts(tokens, block_size, 7, 0, first + count)
    assert np.array_equal(window_starts(tokens, block_size, 7, first, count), whole[first:])


def test_every_token_is_read_in_some_epoch():
    tokens, block_size = 101, 11
    per_epoch = windows_per_epoch(tokens, block_size)
    starts = window_starts(tokens, block_size, 7, 0, per_epoch * 200)
    assert set((starts[:, None] + np.arange(block_size + 1)).ravel().tolist()) >= set(range(tokens - block_size))
    assert len(set(starts.tolist())) > 60  # cut elsewhere in each epoch


def test_epochs_and_seeds_have_orders_of_their_own():
    one = window_starts(1009, 7, 7, 0, 100)
    assert not np.array_equal(one % 7, np.zeros(100))
    assert not np.array_equal(one, window_starts(1009, 7, 8, 0, 100))
    per_epoch = windows_per_epoch(1009, 7)
    assert not np.array_equal(one // 7, window_starts(1009, 7, 7, per_epoch, 100) // 7)


def test_a_batch_is_text_and_the_same_text_one_on():
    ids = np.arange(1009, dtype=np.uint16)
    x, y = batch(ids, 7, seed=3, first=10, count=5)
    assert x.shape == y.shape == (5, 7)
    assert x.dtype == y.dtype == torch.int64
    assert torch.equal(y, x + 1)
    assert torch.equal(x, x[:, :1] + torch.arange(7))
    assert x[:, 0].tolist() == window_starts(1009, 7, 3, 10, 5).tolist()


def test_batches_follow_on_each_other():
    ids = np.arange(1009, dtype=np.uint16)
    big = batch(ids, 7, seed=3, first=6, count=6)[0]
    small = [batch(ids, 7, seed=3, first=first, count=2)[0] for first in (6, 8, 10)]
    assert torch.equal(big, torch.cat(small))
