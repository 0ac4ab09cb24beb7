"""Least squares of a function that is not linear, without scipy.

Levenberg–Marquardt (Marquardt 1963, "An algorithm for least-squares estimation of nonlinear parameters"): Gauss–Newton
steps, shortened along the gradient where they would lead too far; derivatives by differences.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

STEPS = 200
SMALL = 1e-6
ENOUGH = 1e-9
"""Relative decrease of the sum of squares below which nothing more is to be had."""


def least_squares(residuals: Callable[[Any], Any], start: Any) -> tuple[Any, Any]:
    """The parameters (P,) at which the sum of squares of residuals (R,) is least, from `start` on; their covariance.

    The covariance (P, P) is that of residuals whose standard deviation is 1, on the plane that touches there.

    >>> start = np.array([-1.0, 1.0])
    >>> found, covariance = least_squares(lambda p: np.array([p[0] - 3, 10 * (p[1] - p[0] ** 2)]), start)
    >>> found.round(4).tolist(), covariance.round(2).tolist()  # the second is 6 times as open as the first, and 1 / 10
    ([3.0, 9.0], [[1.0, 6.0], [6.0, 36.01]])
    """
    point, damping = np.array(start, dtype=float), 1e-3
    now = residuals(point)
    for _ in range(STEPS):
        slopes = _slopes(residuals, point)
        square, pull = slopes.T @ slopes, slopes.T @ now
        while True:
            moved = point - np.linalg.solve(square + damping * np.diag(np.diag(square) + 1e-12), pull)
            there = residuals(moved)
            if there @ there < now @ now:
                break
            damping *= 4
            if damping > 1e12:
                return point, np.linalg.inv(square)
        gained = 1 - (there @ there) / (now @ now)
        point, now, damping = moved, there, damping / 3
        if gained < ENOUGH:
            break
    slopes = _slopes(residuals, point)
    return point, np.linalg.inv(slopes.T @ slopes)


def _slopes(residuals: Callable[[Any], Any], point: Any) -> Any:
    """Of each residual in each parameter, (R, P)."""
    now = residuals(point)
    return np.stack([(residuals(point + step) - now) / SMALL for step in SMALL * np.eye(len(point))], axis=1)
