"""Student's t against printed tables and exact cases; Welch's test against a published example."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tiny import refuses

from nanogpt.evaluation.significance import compare, spread, t_quantile, t_tail

# Two-sided 5 %, 1 % and 0.1 % points of Student's t, as in any printed table.
TABLE = {
    1: (12.706, 63.657, 636.619),
    2: (4.303, 9.925, 31.599),
    3: (3.182, 5.841, 12.924),
    4: (2.776, 4.604, 8.610),
    9: (2.262, 3.250, 4.781),
    30: (2.042, 2.750, 3.646),
    120: (1.980, 2.617, 3.373),
}


@pytest.mark.parametrize("degrees", TABLE)
def test_the_printed_table(degrees):
    for share, t in zip((0.05, 0.01, 0.001), TABLE[degrees]):
        assert t_quantile(1 - share / 2, degrees) == pytest.approx(t, abs=6e-4)
        assert 2 * t_tail(t, degrees) == pytest.approx(share, rel=2e-3)


@given(st.floats(0, 1e4))
@example(1e-8)
def test_one_and_two_degrees_have_closed_forms(t):
    assert t_tail(t, 1) == pytest.approx(math.atan2(1, t) / math.pi, rel=1e-9, abs=1e-15)  # Cauchy
    assert t_tail(t, 2) == pytest.approx(1 / (t * t + 2 + t * math.sqrt(t * t + 2)), rel=1e-9)


@given(st.floats(-50, 50), st.floats(0.7, 300))
def test_the_two_tails_are_one(t, degrees):
    assert t_tail(t, degrees) + t_tail(-t, degrees) == pytest.approx(1)


@given(st.floats(0.01, 100), st.integers(1, 150))
def test_even_degrees_have_a_finite_sum(t, half):
    """Abramowitz and Stegun 1964, 26.7.4, with the binomial series of 1 / (1 - cos²)^(1/2)."""
    degrees = 2 * half
    sine, cosine2 = t / math.sqrt(degrees + t * t), degrees / (degrees + t * t)
    inside = sum(math.comb(2 * k, k) / 4**k * cosine2**k for k in range(half))
    assert t_tail(t, degrees) == pytest.approx((1 - sine * inside) / 2, rel=1e-7, abs=1e-14)


def test_a_spread_by_hand():
    found = spread([2.0, 4.0, 9.0])  # deviations -3, -1, 4: 26 / 2 = 13
    assert found.mean == 5
    assert found.deviation == pytest.approx(math.sqrt(13))
    assert found.half_width == pytest.approx(4.302653 * math.sqrt(13 / 3), rel=1e-6)
    assert (found.low, found.high) == (found.mean - found.half_width, found.mean + found.half_width)


def test_welchs_test_as_published():
    # Welch's t-test in the reference material of R (`?t.test`, data set `sleep`): t = -1.8608, df = 17.776, p = 0.07939,
    # 95 % interval -3.3654832 to 0.2054832.
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = compare(first, second)
    assert found.t == pytest.approx(-1.8608, abs=5e-5)
    assert found.degrees == pytest.approx(17.776, abs=5e-4)
    assert found.p == pytest.approx(0.07939, abs=5e-6)
    assert found.difference - found.half_width == pytest.approx(-3.3654832, abs=1e-6)
    assert found.difference + found.half_width == pytest.approx(0.2054832, abs=1e-6)
    assert not found.significant


@given(st.lists(st.floats(0.5, 4), min_size=2, max_size=7), st.lists(st.floats(0.5, 4), min_size=2, max_size=7))
def test_the_other_way_round(first, second):
    one, other = compare(first, second), compare(second, first)
    assert one.difference == -other.difference
    assert one.p == other.p
    assert 0 <= one.p <= 1


def test_the_interval_and_the_test_agree():
    for shift in (0.0, 0.01, 0.02, 0.05, 0.1):
        found = compare([1.9, 1.93, 1.88], [1.9 - shift, 1.91 - shift, 1.92 - shift])
        assert found.significant == (abs(found.difference) > found.half_width)


def test_equal_runs():
    assert compare([1.5, 1.5], [1.5, 1.5]).p == 1
    assert not compare([1.5, 1.5], [1.5, 1.5]).significant
    assert compare([1.5, 1.5], [1.4, 1.4]).p == 0


@pytest.mark.parametrize("values", [[], [1.5]])
def test_too_few(values):
    refuses(lambda: spread(values), f"{len(values)} value")
    refuses(lambda: compare([1.0, 2.0], values), f"{len(values)} value")


def test_not_finite():
    refuses(lambda: spread([1.0, math.nan]), "nan")
