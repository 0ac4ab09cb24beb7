"""Curves drawn with characters, for a terminal: no colour, no library, readable in 80 columns and in a log.

Each column of the drawing is one value of x; where several curves meet in one place, their marks take turns from
column to column.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

TICKS = 5


@dataclass(frozen=True)
class Series:
    """A curve: its mark, its name, its points in the order of x."""

    mark: str
    name: str
    x: Sequence[float]
    y: Sequence[float]

    def at(self, x: float) -> float | None:
        """Its height at x, in a line between points; None outside."""
        if not self.x[0] <= x <= self.x[-1]:
            return None
        after = next(i for i, one in enumerate(self.x) if one >= x)
        if self.x[after] == x:
            return self.y[after]
        share = (x - self.x[after - 1]) / (self.x[after] - self.x[after - 1])
        return self.y[after - 1] + share * (self.y[after] - self.y[after - 1])


def plot_text(
    curves: Sequence[Series], *, title: str, unit: str, axis: str, limits: tuple[float, float], width: int, height: int
) -> str:
    """Curves, each with a point at least, in a frame of `width` columns and `height` rows, with a line for each below.

    What is outside the limits of y, low and high, is not drawn.
    """
    low, high = limits
    ticks = nice_ticks(low, high)
    margin = max(len(f"{tick:g}") for tick in ticks) + 1
    columns = max(10, width - margin - 2)
    right = max(curve.x[-1] for curve in curves) or 1.0
    rows = [[" "] * columns for _ in range(height)]
    for column in range(columns):
        turn = column % len(curves)
        for curve in (*curves[turn + 1 :], *curves[: turn + 1]):  # the last drawn is seen
            y = curve.at(right * column / (columns - 1))
            if y is not None and low <= y <= high:
                rows[_row(y, low, high, height)][column] = curve.mark
    labels = {_row(tick, low, high, height): f"{tick:g}" for tick in ticks}
    lines = [title, unit]
    for number, row in enumerate(rows):
        stroke = "┤" if number in labels else "│"
        lines.append(f"{labels.get(number, ''):>{margin}} {stroke}{''.join(row)}".rstrip())
    lines.append(f"{'':{margin}} └{'─' * columns}")
    lines.append(_x_labels(right, columns, margin + 2))
    lines.append(f"{axis:>{margin + 2 + columns}}")
    return "\n".join([*lines, *(_legend(curve) for curve in curves)])


def nice_ticks(low: float, high: float) -> list[float]:
    """Some round numbers between two values, evenly apart by 1, 2 or 5 times a power of ten.

    >>> nice_ticks(1.43, 4.2), nice_ticks(0, 2000)
    ([2.0, 3.0, 4.0], [0.0, 500.0, 1000.0, 1500.0, 2000.0])
    """
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number for an axis.

    >>> [short(value) for value in (0, 2.5, 250, 1500, 20_000, 3_000_000, 2.4e9)]
    ['0', '2.5', '250', '1.5k', '20k', '3M', '2.4G']
    """
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:g}{letter}"
    return f"{value:g}"


def _row(y: float, low: float, high: float, height: int) -> int:
    return round((high - y) / (high - low) * (height - 1))


def _x_labels(right: float, columns: int, margin: int) -> str:
    line = [" "] * (margin + columns)
    for tick in nice_ticks(0, right):
        text = short(tick)
        place = margin + round(tick / right * (columns - 1)) - len(text) // 2
        place = min(place, len(line) - len(text))
        if not "".join(line[place - 1 : place + len(text)]).strip():  # else there is no room for it
            line[place : place + len(text)] = text
    return "".join(line).rstrip()


def _legend(curve: Series) -> str:
    lowest = min(curve.y)
    return f"  {curve.mark} {curve.name}: {curve.y[-1]:.4f} at the end" + (
        f", {lowest:.4f} at the lowest" if lowest < curve.y[-1] else ""
    )
