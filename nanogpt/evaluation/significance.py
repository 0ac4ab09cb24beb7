"""Statistics of runs with several seeds, without scipy: mean, 95 % interval, and Welch's t-test of two sets.

Welch 1947, "The generalization of 'Student's' problem when several different population variances are involved". The
test assumes that losses of several seeds are normally distributed. A permutation test assumes less, but three runs
against three can never give a p below 0.1, and few people train more.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nanogpt.errors import UserError, counted

CONFIDENCE = 0.95
NODES, WEIGHTS = np.polynomial.legendre.leggauss(100)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Values of one quantity, from the same run with several seeds."""

    values: tuple[float, ...]
    mean: float
    deviation: float
    """sample standard deviation, with n - 1"""
    half_width: float
    """the mean's 95 % interval is mean ± this (Student's t)"""

    @property
    def low(self) -> float:
        """The lower end of the mean's interval."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """The upper end of the mean's interval."""
        return self.mean + self.half_width


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two sets of values compared, the first minus the second."""

    difference: float
    half_width: float
    """the difference's 95 % interval is difference ± this"""
    t: float
    degrees: float
    """degrees of freedom, by Welch and Satterthwaite"""
    p: float
    """probability that chance alone makes the means differ by at least this much, two-sided"""

    @property
    def significant(self) -> bool:
        """Whether p is below 0.05."""
        return self.p < 1 - CONFIDENCE


def spread(values: Sequence[float]) -> Spread:
    """Return mean, standard deviation and the mean's interval of two or more values.

    >>> found = spread([1.0, 2.0, 3.0])
    >>> found.mean, found.deviation, round(found.half_width, 3)
    (2.0, 1.0, 2.484)
    """
    _check(values)
    deviation = statistics.stdev(values)
    half_width = t_quantile((1 + CONFIDENCE) / 2, len(values) - 1) * deviation / math.sqrt(len(values))
    return Spread(values=tuple(values), mean=statistics.fmean(values), deviation=deviation, half_width=half_width)


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compare two sets of two or more values each by Welch's t-test; their variances may differ.

    >>> found = compare([1.90, 1.91, 1.92], [1.85, 1.86, 1.87])
    >>> round(found.difference, 3), round(found.t, 3), round(found.p, 4), found.significant
    (0.05, 6.124, 0.0036, True)
    """
    _check(first)
    _check(second)
    parts = [statistics.variance(values) / len(values) for values in (first, second)]
    difference = statistics.fmean(first) - statistics.fmean(second)
    error = math.sqrt(sum(parts))
    if error == 0:  # all runs of each set are equal
        same = difference == 0
        t = 0.0 if same else math.copysign(math.inf, difference)
        return Comparison(difference=difference, half_width=0.0, t=t, degrees=math.inf, p=1.0 if same else 0.0)
    degrees = sum(parts) ** 2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (first, second)))
    t = difference / error
    return Comparison(
        difference=difference,
        half_width=t_quantile((1 + CONFIDENCE) / 2, degrees) * error,
        t=t,
        degrees=degrees,
        p=min(1.0, 2 * t_tail(abs(t), degrees)),
    )


def t_tail(t: float, degrees: float) -> float:
    """Return the probability that Student's t with `degrees` of freedom is above t.

    With t = √degrees / tan a, the density of the angle a is sin(a)^(degrees - 1) times a constant. Its integral from 0
    is computed by Gauss–Legendre quadrature, in a^(1/4), which makes the integrand smooth at 0.

    >>> round(t_tail(2.776, 4), 4)
    0.025
    """
    if t < 0:
        return 1 - t_tail(-t, degrees)
    angle = math.atan2(math.sqrt(degrees), t)
    low, high = max(0.0, angle - 9 / math.sqrt(degrees)) ** 0.25, angle**0.25  # nine standard deviations
    x = (high + low) / 2 + (high - low) / 2 * NODES
    integral = (high - low) / 2 * float(WEIGHTS @ (np.sin(x**4) ** (degrees - 1) * 4 * x**3))
    return math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi) * integral


def t_quantile(probability: float, degrees: float) -> float:
    """Return the t below which Student's t lies with this probability, in [0.5, 1), by bisection.

    >>> round(t_quantile(0.975, 4), 3), round(t_quantile(0.975, 1e6), 3)
    (2.776, 1.96)
    """
    low, high = 0.0, 1.0
    while t_tail(high, degrees) > 1 - probability:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, degrees) > 1 - probability else (low, middle)
    return high


def _check(values: Sequence[float]) -> None:
    if len(values) < 2:
        raise UserError(f"no spread in {counted(len(values), 'value')}: give two or more runs with different seeds")
    if not all(map(math.isfinite, values)):
        raise UserError(f"{list(values)} are not all finite: leave out the runs that diverged")
