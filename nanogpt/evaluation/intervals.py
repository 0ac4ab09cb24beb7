"""The confidence interval of a loss, from the losses of a text's windows, by a block bootstrap.

The interval shows how much the loss of the same model varies between texts of the same kind and length. For the
variation between training seeds, see `nanogpt.evaluation.significance`.

Neighbouring windows are hard or easy together: resampled one by one, they would give too narrow an interval. So blocks
of consecutive windows are drawn (Künsch 1989, "The jackknife and the bootstrap for general stationary observations");
after the last window comes the first (Politis and Romano 1992, "A circular block-resampling procedure for stationary
data"). A block's length follows from the correlation of the losses (Politis and White 2004, "Automatic block-length
selection for the dependent bootstrap", with the correction of Patton, Politis and White 2009), and is at least the cube
root of the number of windows.

The interval is the loss ± t times the resamples' standard deviation, with Student's t for the number of blocks:
percentiles are too narrow where there are few. In trials with correlated series (see the tests) it holds the true mean
in 92 to 97 of 100 cases from 400 windows on; with 25 strongly correlated windows in as few as 70.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nanogpt.evaluation.significance import CONFIDENCE, t_quantile
from nanogpt.random_streams import stream

RESAMPLES = 2000
LEAST_WINDOWS = 20
"""Fewer windows give no interval: they do not show how much windows differ."""

DRAWS_AT_ONCE = 1 << 22
Numbers = NDArray[np.float64] | NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The 95 % confidence interval of a ratio."""

    low: float
    high: float
    block: int
    """windows in a block"""
    resamples: int

    @property
    def method(self) -> str:
        """The method, in words."""
        return f"circular block bootstrap, blocks of {self.block:,} windows, {self.resamples:,} resamples"


def ratio_interval(sums: Numbers, weights: Numbers, resamples: int = RESAMPLES) -> Interval | None:
    """Return the interval of sum(sums) / sum(weights) over windows (W,) in text order; None below 20 windows.

    The same windows always give the same interval.

    >>> ratio_interval(np.full(100, 6.0), np.full(100, 3.0))
    Interval(low=2.0, high=2.0, block=5, resamples=2000)
    """
    count = len(sums)
    if count < LEAST_WINDOWS:
        return None
    ratio = sums.sum() / weights.sum()
    block = max(block_length(sums - ratio * weights), math.ceil(count ** (1 / 3)))
    generator = np.random.default_rng(stream(0, "bootstrap"))
    drawn = math.ceil(count / block)
    # Running sums over the values twice: the sum of a block on the circle is a difference of two of them.
    totals = [
        np.r_[0.0, np.cumsum(np.r_[values, values], dtype=np.float64)] for values in (sums, weights)
    ]  # (2 W + 1,)
    ratios = np.empty(resamples)
    at_once = max(1, DRAWS_AT_ONCE // drawn)
    # The last block is cut where the windows do not divide into blocks.
    lengths = np.full(drawn, block)
    lengths[-1] = count - (drawn - 1) * block
    for first in range(0, resamples, at_once):
        starts = generator.integers(count, size=(min(at_once, resamples - first), drawn))
        top, bottom = ((total[starts + lengths] - total[starts]).sum(1) for total in totals)
        ratios[first : first + len(starts)] = top / bottom
    degrees = count / block - 1  # at least 2: a block is at most a third of the windows
    # Blocks vary less about their own mean than about the true one, as any sample does.
    half_width = t_quantile((1 + CONFIDENCE) / 2, degrees) * ratios.std() * math.sqrt((degrees + 1) / degrees)
    return Interval(low=float(ratio - half_width), high=float(ratio + half_width), block=block, resamples=resamples)


def block_length(series: NDArray[np.float64]) -> int:
    """Return how many consecutive values (n,) to draw together for the bootstrap of their mean, at most n / 3.

    Politis and White 2004, section 3.2, with D of Patton et al. 2009: longer correlation, longer blocks.

    >>> noise = np.random.default_rng(3).normal(size=1000)
    >>> block_length(noise), block_length(np.convolve(noise, np.ones(20)))
    (1, 37)
    """
    count, centred = len(series), series - series.mean()
    longest = math.floor(min(3 * math.sqrt(count), count / 3))
    lags = min(count - 1, 2 * (math.ceil(math.sqrt(count)) + 5))
    # Divided by n, not n - lag, so that variances made of them are not far below 0.
    covariance = np.array([centred[: count - lag] @ centred[lag:] for lag in range(lags + 1)]) / count
    if not covariance[0] > 0:
        return 1
    lags = _significant_lags(covariance / covariance[0], count)
    k = np.arange(1, min(2 * max(lags, 1), len(covariance) - 1) + 1)
    # A flat-topped window: 1 up to half the lags, then linearly down to 0.
    taper = np.minimum(1.0, 2 * (1 - k / k[-1]))
    spread = 2 * (taper * k * covariance[k]).sum()
    variance = covariance[0] + 2 * (taper * covariance[k]).sum()
    if variance <= 0:
        return 1
    block = (2 * spread**2 / (4 / 3 * variance**2)) ** (1 / 3) * count ** (1 / 3)
    return int(min(max(1, round(block)), longest))


def _significant_lags(correlation: NDArray[np.float64], count: int) -> int:
    """Return the lag after which five (or a few more) in a row are no larger than chance."""
    chance = 2 * math.sqrt(math.log10(count) / count)
    row = max(5, math.ceil(math.sqrt(math.log10(count))))
    small = np.abs(correlation[1:]) < chance
    for lag in range(len(small) - row + 1):
        if small[lag : lag + row].all():
            return lag
    return int(np.flatnonzero(~small)[-1]) + 1 if not small.all() else 0
