"""Curves as SVG that fills its frame, with names and numbers around it as HTML text, in words, and as a table.

Curves differ by dash, by the letter at their end, and by colour (Okabe and Ito 2008, "Color Universal Design").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from nicegui import ui

from nanogpt.reporting.plots import nice_ticks
from nanogpt.studio.elements import Tag, Text

STYLES = 8
"""Colours and dashes in the style sheet; further curves start again with the first."""
WIDTH, HEIGHT = 1000, 400
ROWS = 12
MIN_POINTS = 4
"""With fewer points after step 0, the loss at step 0 is shown too."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A curve of a chart."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    tag: str = ""
    """letter or number at its end"""
    style: int = 0
    faint: bool = False
    """drawn thin, for the losses of single batches"""


@dataclass(frozen=True)
class Frame:
    """Limits of both axes; x begins at 0."""

    right: float
    low: float
    high: float

    def down(self, y: float) -> float:
        """Return the share of the height from the top; below 0 or above 1 outside the frame."""
        return (self.high - y) / (self.high - self.low)


def frame_of(curves: Sequence[Curve]) -> Frame | None:
    """Return limits that show all points but the losses at step 0, which would flatten the rest; None if empty."""
    points = [(x, y) for curve in curves for x, y in zip(curve.x, curve.y)]
    if not points:
        return None
    later = [y for x, y in points if x > 0]
    heights = later if len(later) >= MIN_POINTS else [y for _, y in points]
    low, high = min(heights), max(heights)
    margin = 0.06 * (high - low) or 0.1
    return Frame(max(x for x, _ in points) or 1.0, low - margin, high + margin)


def short(value: float) -> str:
    """Format a number for an axis.

    >>> [short(one) for one in (0, 0.5, 2.0, 1500, 2_500_000)]
    ['0', '0.5', '2', '1,500', '2.5M']
    """
    return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def draw(curves: Sequence[Curve], x_name: str, y_name: str, label: str) -> str:
    """Return the chart as HTML, with `label` and `describe` as its text for screen readers."""
    frame = frame_of(curves)
    if frame is None:
        return '<p class="hint">There is no curve yet.</p>'
    heights, positions = nice_ticks(frame.low, frame.high), nice_ticks(0.0, frame.right)
    grid = "".join(f'<path class="grid" d="M0 {frame.down(y) * HEIGHT:.1f}H{WIDTH}"/>' for y in heights)
    drawn = "".join(_path(curve, frame) for curve in curves if curve.x)
    names = "".join(f'<span class="y" style="top:{100 * frame.down(y):.2f}%">{short(y)}</span>' for y in heights)
    names += "".join(f'<span class="x" style="left:{100 * x / frame.right:.2f}%">{short(x)}</span>' for x in positions)
    names += "".join(_tag(curve, frame) for curve in curves if curve.x and curve.tag)
    described = escape(f"{label}. {describe(curves, y_name)}")
    return (
        f'<div class="curves" role="img" aria-label="{described}"><div class="plot" aria-hidden="true">'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">{grid}{drawn}</svg>{names}'
        f'<span class="y-name">{escape(y_name)}</span><span class="x-name">{escape(x_name)}</span></div></div>'
    )


def _path(curve: Curve, frame: Frame) -> str:
    at = " ".join(f"{x / frame.right * WIDTH:.1f},{frame.down(y) * HEIGHT:.1f}" for x, y in zip(curve.x, curve.y))
    if len(curve.x) == 1:  # a line of length 0 is drawn as a dot by its round end
        at += f" {at}"
    return f'<polyline class="{_classes(curve)}" points="{at}"/>'


def _classes(curve: Curve) -> str:
    return f"line style-{curve.style % STYLES}{' faint' if curve.faint else ''}"


def _tag(curve: Curve, frame: Frame) -> str:
    left, top = 100 * curve.x[-1] / frame.right, 100 * min(1.0, max(0.0, frame.down(curve.y[-1])))
    style = f"style-{curve.style % STYLES}"
    return f'<span class="tag {style}" style="left:{left:.2f}%;top:{top:.2f}%">{escape(curve.tag)}</span>'


def legend(curves: Sequence[Curve]) -> str:
    """Return the names of the curves as an HTML list."""
    items = "".join(
        f'<li><svg viewBox="0 0 40 10" aria-hidden="true"><path class="{_classes(curve)}" d="M0 5H40"/></svg>'
        f"{f'<b>{escape(curve.tag)}</b> ' if curve.tag else ''}{escape(curve.name)}</li>"
        for curve in curves
    )
    return f'<ul class="keys">{items}</ul>'


def describe(curves: Sequence[Curve], y_name: str) -> str:
    """Return first, last and lowest value of each curve in words.

    >>> describe([Curve(name="validation", x=[0, 10], y=[4.0, 2.5])], "nats")
    'validation: from 4.000 to 2.500 nats, lowest 2.500 at 10'
    """
    return "; ".join(
        f"{curve.name}: from {curve.y[0]:.3f} to {curve.y[-1]:.3f} {y_name}, lowest {low:.3f} at {short(x)}"
        for curve in curves
        if curve.x
        for low, x in [min(zip(curve.y, curve.x))]
    )


def table(curves: Sequence[Curve], x_name: str) -> str:
    """Return the curves as an HTML table of at most `ROWS` rows, the last point included."""
    shown = [curve for curve in curves if curve.x]
    xs = sorted({x for one in shown if not one.faint for x in one.x} or {x for one in shown for x in one.x})
    chosen = [xs[round(n * (len(xs) - 1) / (ROWS - 1))] for n in range(ROWS)] if len(xs) > ROWS else xs
    head = "".join(f'<th scope="col">{escape(curve.name)}</th>' for curve in shown)
    rows = "".join(
        f'<tr><th scope="row">{short(x)}</th>{"".join(f"<td>{_value_at(curve, x)}</td>" for curve in shown)}</tr>'
        for x in dict.fromkeys(chosen)
    )
    return (
        f'<table class="numbers"><thead><tr><th scope="col">{escape(x_name)}</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _value_at(curve: Curve, x: float) -> str:
    """Return the value of the last point up to x."""
    before = [y for position, y in zip(curve.x, curve.y) if position <= x]
    return f"{before[-1]:.3f}" if before and x <= curve.x[-1] else "–"


class Chart:
    """Curves, their legend and their table on the page."""

    def __init__(self, label: str) -> None:
        self._label = label
        with Tag("figure", "chart"):
            self._curves = ui.html("", sanitize=False)
            self._keys = ui.html("", sanitize=False)
            with Tag("details") as self._numbers:
                Text("summary", "The curves as numbers")
                self._table = ui.html("", sanitize=False).classes("scrolled").props("tabindex=0 role=region")
                self._table.props["aria-label"] = f"{label}, as numbers"
        self.show([], "", "")

    def show(self, curves: Sequence[Curve], x_name: str, y_name: str) -> None:
        """Replace the curves."""
        self._numbers.set_visibility(any(curve.x for curve in curves))
        self._curves.set_content(draw(curves, x_name, y_name, self._label))
        self._keys.set_content(legend([curve for curve in curves if curve.x]))
        self._table.set_content(table(curves, x_name))
