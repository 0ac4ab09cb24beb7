"""Where windows start; what a cache holds is tested with generation."""

from hypothesis import given
from hypothesis import strategies as st

from nanogpt.sampling.kv_cache import window_start


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
