"""Pairs of measurements, and what their ratios say.

A machine is sometimes faster and sometimes slower. Two measurements right after each other see nearly the same machine,
so the ratio of each pair counts. The order alternates, because the second may meet a warmer machine.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from nanogpt.evaluation.significance import spread

Measured = TypeVar("Measured")


def one_pair(number: int, ours: Callable[[], Measured], theirs: Callable[[], Measured]) -> tuple[Measured, Measured]:
    """Measure both, ours first in pairs with an even number; return (ours, theirs).

    >>> order = []
    >>> for number in range(3):
    ...     pair = one_pair(number, lambda: order.append("ours"), lambda: order.append("theirs"))
    >>> order
    ['ours', 'theirs', 'theirs', 'ours', 'ours', 'theirs']
    """
    if number % 2 == 0:
        first = ours()
        return first, theirs()
    other = theirs()
    return ours(), other


def ratios(above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    """Return median, lowest and highest of the pairs' ratios above / below, and from two pairs on a 95 % interval.

    The interval is of the geometric mean, by Student's t of the logarithms: a ratio and its inverse then agree.

    >>> found = ratios([2.0, 4.0, 8.0], [1.0, 1.0, 1.0])
    >>> found["pairs"], found["median"], found["low"], found["high"], [round(end, 2) for end in found["interval"]]
    (3, 4.0, 2.0, 8.0, [0.71, 22.38])
    """
    each = [one / other for one, other in zip(above, below, strict=True)]
    interval = None
    if len(each) > 1:
        found = spread([math.log(ratio) for ratio in each])
        interval = [math.exp(found.low), math.exp(found.high)]
    middle = statistics.median(each)
    return {"median": middle, "low": min(each), "high": max(each), "interval": interval, "pairs": len(each)}


def values(measured: Sequence[float]) -> dict[str, Any]:
    """Return median, lowest and highest of one side's measurements.

    >>> values([3.0, 1.0, 2.0])
    {'median': 2.0, 'low': 1.0, 'high': 3.0, 'n': 3}
    """
    return {"median": statistics.median(measured), "low": min(measured), "high": max(measured), "n": len(measured)}
