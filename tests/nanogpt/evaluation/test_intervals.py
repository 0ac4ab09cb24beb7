"""The bootstrap against formulas, and how often its interval holds the truth."""

import math

import numpy as np
import pytest

from nanogpt.evaluation import intervals
from nanogpt.evaluation.intervals import LEAST_WINDOWS, block_length, ratio_interval
from nanogpt.evaluation.significance import t_quantile


def correlated(count, share, generator):
    """Return a series with mean 0 and variance 1, each value `share` of the one before plus noise."""
    noise = generator.normal(size=count) * math.sqrt(1 - share**2)
    values = np.empty(count)
    last = generator.normal()
    for i in range(count):
        last = values[i] = share * last + noise[i]
    return values


@pytest.mark.parametrize(("count", "block"), [(60, 4), (400, 25)])
def test_as_wide_as_the_formula_says(monkeypatch, count, block):
    # The resamples' variance is that of the means of the circle's blocks, known without resampling.
    monkeypatch.setattr(intervals, "block_length", lambda series: block)
    series = correlated(count, 0.5, np.random.default_rng(5))
    found = ratio_interval(series, np.ones(count), resamples=40_000)
    assert found.block == block
    circle = np.concatenate([series, series])
    means = [circle[start : start + block].mean() for start in range(count)]
    exact = t_quantile(0.975, count / block - 1) * np.std(means) / math.sqrt(count / block - 1)
    assert (found.high - found.low) / 2 == pytest.approx(exact, rel=0.013)
    assert (found.high + found.low) / 2 == pytest.approx(series.mean())


def test_the_last_block_is_cut_where_blocks_do_not_fit(monkeypatch):
    # 3 blocks of 8 windows and one of 1 make 25: the last adds the variance of one window, not that of a block.
    monkeypatch.setattr(intervals, "block_length", lambda series: 8)
    series = correlated(25, 0.5, np.random.default_rng(5))
    found = ratio_interval(series, np.ones(25), resamples=40_000)
    circle = np.concatenate([series, series])
    sums = {size: [circle[start : start + size].sum() for start in range(25)] for size in (8, 1)}
    deviation = math.sqrt(3 * np.var(sums[8]) + np.var(sums[1])) / 25
    blocks = 25 / 8
    exact = t_quantile(0.975, blocks - 1) * deviation * math.sqrt(blocks / (blocks - 1))
    assert (found.high - found.low) / 2 == pytest.approx(exact, rel=0.013)


def test_the_length_of_a_block_follows_the_correlation():
    generator = np.random.default_rng(7)
    lengths = [np.mean([block_length(correlated(500, share, generator)) for _ in range(20)]) for share in (0, 0.5, 0.9)]
    assert lengths[0] < 4 < lengths[1] < 14 < lengths[2] < 3 * math.sqrt(500)


@pytest.mark.parametrize("count", [20, 29, 101])
def test_a_block_is_at_most_a_third(count):
    assert 1 <= block_length(np.arange(count) * 1.0) <= count / 3
    assert block_length(np.ones(count)) == 1
    assert ratio_interval(np.arange(count) * 1.0, np.ones(count)).block <= count / 3


@pytest.mark.parametrize(("share", "held"), [(0.0, 0.93), (0.3, 0.9), (0.6, 0.88)])
def test_the_interval_holds_the_truth_as_often_as_promised(share, held):
    generator = np.random.default_rng(11)
    inside = 0
    for _ in range(200):
        found = ratio_interval(correlated(400, share, generator), np.ones(400), resamples=300)
        inside += found.low < 0 < found.high
    assert held < inside / 200 < 0.99


def test_blocks_are_drawn_not_windows():
    # What single windows would give is less than half as wide.
    series = correlated(1000, 0.8, np.random.default_rng(13))
    found = ratio_interval(series, np.ones(1000))
    assert found.high - found.low > 2 * (2 * 1.96 * series.std() / math.sqrt(1000))


def test_a_short_last_window_counts_by_its_tokens():
    nats, tokens = np.full(50, 14.0), np.full(50, 7)
    nats[-1], tokens[-1] = 60.0, 3  # 20 nats a token, but only three tokens
    found = ratio_interval(nats, tokens)
    assert (found.low + found.high) / 2 == pytest.approx(746 / 346)
    nats[-1] = 6.0  # as good as the others: then nothing varies, in spite of the lengths
    found = ratio_interval(nats, tokens)
    assert (found.low, found.high) == pytest.approx((2, 2))


def test_the_same_every_time_and_however_many_at_once(monkeypatch):
    series = np.random.default_rng(1).normal(size=97)
    whole = ratio_interval(series, np.ones(97))
    assert whole == ratio_interval(series, np.ones(97))
    monkeypatch.setattr(intervals, "DRAWS_AT_ONCE", 1)
    assert ratio_interval(series, np.ones(97)) == whole


def test_too_few_windows():
    assert ratio_interval(np.arange(LEAST_WINDOWS - 1.0), np.ones(LEAST_WINDOWS - 1)) is None
    assert ratio_interval(np.arange(LEAST_WINDOWS * 1.0), np.ones(LEAST_WINDOWS)) is not None
