"""Curves as HTML: lines in an SVG that is stretched to its frame, names and numbers beside them as text.

So a picture fills a wide page and a phone alike, and its letters stay as large as the page's. Curves are told apart by
dash and by the letter at their end as well as by colour (colours of Okabe and Ito 2008, "Color Universal Design").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

STYLES = 8
"""Colours and dashes that the style sheet knows; the next curve begins again."""
WIDTH, HEIGHT = 1000, 400
TICKS = 5
ROWS = 12
ENOUGH = 4
"""Points after the first step; with fewer of them the curve is mostly what came before."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    tag: str = ""
    """a letter or number that stands at its end"""
    style: int = 0
    faint: bool = False
    """drawn thin, as the losses of single batches are"""


@dataclass(frozen=True)
class Frame:
    """What of the plane is shown."""

    left: float
    right: float
    low: float
    high: float

    def across(self, x: float) -> float:
        """Share of the width, 0 to 1."""
        return (x - self.left) / (self.right - self.left)

    def down(self, y: float) -> float:
        """Share of the height from the top; below 0 or above 1 for what is not shown."""
        return (self.high - y) / (self.high - self.low)


def frame_of(lines: Sequence[Line]) -> Frame | None:
    """All of the curves but the losses before the first step, which would flatten what follows; None without points."""
    points = [(x, y) for line in lines for x, y in zip(line.x, line.y)]
    if not points:
        return None
    later = [y for x, y in points if x > 0]
    heights = later if len(later) >= ENOUGH else [y for _, y in points]
    low, high = min(heights), max(heights)
    room = 0.06 * (high - low) or 0.1
    return Frame(0.0, max(x for x, _ in points) or 1.0, low - room, high + room)


def ticks(low: float, high: float, most: int = TICKS) -> list[float]:
    """Round numbers between two others.

    >>> ticks(0, 2300), ticks(1.93, 4.1)
    ([0.0, 500.0, 1000.0, 1500.0, 2000.0], [2.0, 2.5, 3.0, 3.5, 4.0])
    """
    rough = (high - low) / most
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * one for one in (1, 2, 5, 10) if scale * one >= rough * 0.99)
    first = math.ceil(low / step - 1e-9)
    return [round(step * number, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number for an axis.

    >>> [short(one) for one in (0, 0.5, 2.0, 1500, 2_500_000)]
    ['0', '0.5', '2', '1,500', '2.5M']
    """
    return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def draw(lines: Sequence[Line], x_name: str, y_name: str, label: str) -> str:
    """The picture. `label` is what it is, for whoever cannot see it; what it shows is told by `tell`."""
    frame = frame_of(lines)
    if frame is None:
        return '<p class="hint">There is no curve yet.</p>'
    heights, places = ticks(frame.low, frame.high), ticks(frame.left, frame.right)
    grid = "".join(f'<path class="grid" d="M0 {frame.down(y) * HEIGHT:.1f}H{WIDTH}"/>' for y in heights)
    drawn = "".join(_path(line, frame) for line in lines if line.x)
    names = "".join(f'<span class="y" style="top:{100 * frame.down(y):.2f}%">{short(y)}</span>' for y in heights)
    names += "".join(f'<span class="x" style="left:{100 * frame.across(x):.2f}%">{short(x)}</span>' for x in places)
    names += "".join(_tag(line, frame) for line in lines if line.x and line.tag)
    told = escape(f"{label}. {tell(lines, y_name)}")
    return (
        f'<div class="curves" role="img" aria-label="{told}"><div class="plot" aria-hidden="true">'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">{grid}{drawn}</svg>{names}'
        f'<span class="y-name">{escape(y_name)}</span><span class="x-name">{escape(x_name)}</span></div></div>'
    )


def _path(line: Line, frame: Frame) -> str:
    at = " ".join(f"{frame.across(x) * WIDTH:.1f},{frame.down(y) * HEIGHT:.1f}" for x, y in zip(line.x, line.y))
    kind = f"line style-{line.style % STYLES}{' faint' if line.faint else ''}"
    if len(line.x) == 1:  # a line of no length is drawn as a dot by its round end
        at += f" {at}"
    return f'<polyline class="{kind}" points="{at}"/>'


def _tag(line: Line, frame: Frame) -> str:
    left, top = 100 * frame.across(line.x[-1]), 100 * min(1.0, max(0.0, frame.down(line.y[-1])))
    style = f"style-{line.style % STYLES}"
    return f'<span class="tag {style}" style="left:{left:.2f}%;top:{top:.2f}%">{escape(line.tag)}</span>'


def legend(lines: Sequence[Line]) -> str:
    """Which curve is which."""
    if not lines:
        return ""
    items = "".join(
        f'<li><svg viewBox="0 0 40 10" aria-hidden="true"><path class="line style-{line.style % STYLES}'
        f'{" faint" if line.faint else ""}" d="M0 5H40"/></svg>'
        f"{f'<b>{escape(line.tag)}</b> ' if line.tag else ''}{escape(line.name)}</li>"
        for line in lines
    )
    return f'<ul class="keys">{items}</ul>'


def tell(lines: Sequence[Line], y_name: str) -> str:
    """What the curves show, in a sentence.

    >>> tell([Line(name="validation", x=[0, 10], y=[4.0, 2.5])], "nats")
    'validation: from 4.000 to 2.500 nats, lowest 2.500 at 10'
    """
    told = []
    for line in lines:
        if line.x:
            low = min(range(len(line.y)), key=lambda place: line.y[place])
            told.append(
                f"{line.name}: from {line.y[0]:.3f} to {line.y[-1]:.3f} {y_name}, lowest {line.y[low]:.3f} at "
                f"{short(line.x[low])}"
            )
    return "; ".join(told)


def table(lines: Sequence[Line], x_name: str) -> str:
    """The same curves as numbers: a row for some of the places, and always for the last."""
    shown = [line for line in lines if line.x]
    places = sorted({x for line in shown if not line.faint for x in line.x} or {x for line in shown for x in line.x})
    chosen = [places[round(n * (len(places) - 1) / (ROWS - 1))] for n in range(ROWS)] if len(places) > ROWS else places
    head = "".join(f'<th scope="col">{escape(line.name)}</th>' for line in shown)
    rows = "".join(
        f'<tr><th scope="row">{short(x)}</th>{"".join(f"<td>{_near(line, x)}</td>" for line in shown)}</tr>'
        for x in dict.fromkeys(chosen)
    )
    return (
        f'<table class="numbers"><thead><tr><th scope="col">{escape(x_name)}</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _near(line: Line, x: float) -> str:
    """A curve's value at a place: that of its last point up to there."""
    before = [y for place, y in zip(line.x, line.y) if place <= x]
    return f"{before[-1]:.3f}" if before and x <= line.x[-1] else "–"
