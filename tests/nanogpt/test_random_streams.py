"""Random streams are functions of their position, evenly distributed, and never change."""

from hypothesis import given
from hypothesis import strategies as st

from nanogpt.random_streams import stream, uniform


def test_streams_never_change():
    # Earlier runs continue by these numbers: a change breaks every resumed run and recorded figure.
    assert stream(1337, "init") == 1875076922603739426
    assert stream(1337, "dropout", 3, 1) == 4130956011199818163
    assert uniform(1337, "init") == (1875076922603739426 >> 10) / 2**53


def test_neighbours_differ():
    pairs = [(step, row) for step in range(12) for row in range(12)]
    found = [stream(seed, purpose, *pair) for seed in (1, 11) for purpose in ("a", "b") for pair in pairs]
    assert len(set(found)) == len(found)


@given(st.integers(0, 2**64), st.integers(0, 10**9))
def test_ranges(seed, step):
    assert 0 <= stream(seed, "order", step) < 2**63
    assert 0 <= uniform(seed, "sample", step) < 1


def test_uniform_is_even():
    numbers = [uniform(1337, "sample", 0, position) for position in range(20_000)]
    counts = [sum(int(number * 10) == tenth for number in numbers) for tenth in range(10)]
    assert sum(counts) == 20_000
    # Each tenth is binomial with standard deviation 42: six of them.
    assert all(abs(count - 2000) < 260 for count in counts)
