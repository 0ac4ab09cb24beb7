"""Where windows start; rows of different lengths in one cache."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import BLOCK, tiny_model, token_ids

from nanogpt.sampling.kv_cache import KVCache, window_start


@given(st.integers(1, 2000), st.integers(1, 70))
def test_a_window_holds_at_most_a_block_and_never_less_than_half(position, block_size):
    start = window_start(position, block_size)
    length, before = position - start, window_start(position - 1, block_size) if position > 1 else 0
    assert 1 <= length <= block_size
    assert start == 0 or length >= max(1, block_size // 2)
    assert start >= before
    if start != before:
        assert length == max(1, block_size // 2)
        assert position - 1 - before == block_size


def test_windows_by_hand():
    assert [window_start(position, 5) for position in range(1, 16)] == [0] * 5 + [4] * 4 + [8] * 4 + [12] * 2
    assert [window_start(position, 1) for position in range(1, 5)] == [0, 1, 2, 3]


@pytest.mark.parametrize("position", ["rope", "learned", "sinusoidal"])
@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(0, BLOCK - 1), min_size=3, max_size=3),
    rows=st.sampled_from([[0], [2], [0, 1], [0, 2], [2, 0], [0, 1, 2]]),
)
def test_selected_rows_are_read_and_the_others_stay(position, lengths, rows):
    """Rows read any number of tokens each by itself, and then one token together; one row is moved on the way."""
    model, idx = tiny_model(position=position, n_kv_head=1), token_ids(4, BLOCK)
    cache = KVCache(model.config, 4, model.lm_head.weight)
    with torch.no_grad():
        for row, length in enumerate(lengths):
            if length:
                model(idx[[row], :length], cache.select([3]))
            cache.move(3, row)
            cache.forget(3)
        newest = torch.stack([idx[row, lengths[row] : lengths[row] + 1] for row in rows])
        found = model(newest, cache.select(rows))[:, -1]
        whole = torch.stack([model(idx[[row], : lengths[row] + 1])[0, -1] for row in rows])
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-4)
    assert cache.lengths == [length + (row in rows) for row, length in enumerate(lengths)] + [0]
