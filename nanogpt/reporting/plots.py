"""Training and validation loss over steps, time or tokens, as a picture (extra `plot`) or as text in a terminal.

In a picture, runs differ in marker and line style as well as in colour (Okabe and Ito 2008, "Color Universal Design").
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

import numpy as np

from nanogpt.errors import UserError, nearest
from nanogpt.files import write_atomically
from nanogpt.runs.folder import RunFolder
from nanogpt.text.tokenizer import dump_tokenizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Axis = Literal["steps", "seconds", "tokens"]

SUFFIXES = (".png", ".svg")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^DvPX"
DASHES: tuple[Any, ...] = ("-", (0, (7, 2)), (0, (7, 2, 1.5, 2)), (0, (3, 1.5)))
TRAINING: dict[str, Any] = {"linewidth": 1.1, "alpha": 0.75, "linestyle": (0, (1, 1.2))}
MOST_RUNS = 26

TICKS = 5
AXES = {"steps": "steps", "seconds": "time in training steps (s)", "tokens": "training tokens"}
NATS, BITS = "nats/token", "bits per byte"


@dataclass(frozen=True)
class Curve:
    """Points in the order of x."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The curves of a run, from its metrics.jsonl."""

    name: str
    text: str
    train: Curve
    val: Curve


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Curves of runs, in one unit, over one axis."""

    runs: tuple[Curves, ...]
    axis: Axis
    unit: str
    """nats/token; where tokenizers differ, bits per byte without training losses"""

    @property
    def title(self) -> str:
        """The title, with the text where it is the same for all runs."""
        what = "Loss" if any(run.train.x for run in self.runs) else "Validation loss"
        texts = {run.text for run in self.runs}
        return f"{what} while training on {texts.pop()}" if len(texts) == 1 else f"{what} while training"


def read_plot(folders: Sequence[RunFolder], axis: Axis = "steps") -> Plot:
    """Read the curves of runs. Raises UserError for a run without curves, or with damaged metrics."""
    if len(folders) > MOST_RUNS:
        raise UserError(f"{len(folders)} runs are too many for one plot: name {MOST_RUNS} or fewer")
    unit = NATS if len({dump_tokenizer(folder.read_tokenizer()) for folder in folders}) == 1 else BITS
    return Plot(runs=tuple(_read_curves(folder, axis, unit) for folder in folders), axis=axis, unit=unit)


def _read_curves(folder: RunFolder, axis: Axis, unit: str) -> Curves:
    config, plan = folder.read_config(), folder.read_plan()
    per_step = config.tokens_per_step
    points: dict[str, list[tuple[float, float]]] = {"step": [], "eval": []}
    for line in folder.metrics():
        if line.get("event") not in points or (unit == BITS and line["event"] == "step"):
            continue
        step, seconds, y = (line.get(key) for key in ("step", "seconds", "bits_per_byte" if unit == BITS else "loss"))
        if not (_is_number(step) and _is_number(seconds) and _is_number(y)):
            raise UserError(
                f"{folder.path / 'metrics.jsonl'}: a line of step {step!r} is damaged: restore the file, or delete it; "
                f"training does not need it"
            )
        x = {"steps": step, "seconds": seconds, "tokens": step * per_step}[axis]
        points[line["event"]].append((float(x), float(y)))
    if not points["eval"] and not points["step"]:
        reason = "it was imported" if plan.imported else "its training has just begun, or its metrics are gone"
        raise UserError(f"{str(folder.path)!r} has no curves: {reason}")
    train, val = (Curve(tuple(x for x, _ in one), tuple(y for _, y in one)) for one in points.values())
    return Curves(name=folder.path.as_posix(), text=plan.text, train=train, val=val)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def draw_text(plot: Plot, width: int = 80, height: int = 20) -> str:
    """Draw with characters: both losses of one run, or the validation losses of several, each by its letter."""
    if len(plot.runs) == 1:
        run = plot.runs[0]
        curves = {"· training": run.train, "o validation": run.val}
        title = f"{plot.title} ({run.name})"
    else:
        curves = {f"{chr(65 + number)} {run.name}": run.val for number, run in enumerate(plot.runs)}
        title = plot.title if plot.title.startswith("Validation") else f"Validation l{plot.title[1:]}"
    shown = {name: curve for name, curve in curves.items() if curve.x}
    if not shown:
        raise UserError("none of these runs has been evaluated yet: wait for their first evaluation")
    lines = draw_curves(shown, plot.unit, AXES[plot.axis], loss_range(plot), width=width, height=height)
    return "\n".join([title, *lines])


def draw_curves(
    curves: Mapping[str, Curve], unit: str, axis: str, limits: tuple[float, float], *, width: int, height: int
) -> list[str]:
    """Return the lines of a drawing of curves, by name; the first character of a name is the curve's mark.

    Where curves meet, their marks alternate from column to column. What is outside the limits of y is not drawn.
    """
    low, high = limits
    ticks = nice_ticks(low, high)
    margin = max(len(f"{tick:g}") for tick in ticks) + 1
    columns = max(10, width - margin - 2)
    right = max(curve.x[-1] for curve in curves.values()) or 1.0
    grid = [[" "] * columns for _ in range(height)]

    def row(y: float) -> int:
        return round((high - y) / (high - low) * (height - 1))

    xs = np.linspace(0, right, columns)
    heights = [(name[0], np.interp(xs, curve.x, curve.y, math.nan, math.nan)) for name, curve in curves.items()]
    for column in range(columns):
        turn = column % len(heights)
        for mark, ys in (*heights[turn + 1 :], *heights[: turn + 1]):  # the last one drawn is seen
            if low <= ys[column] <= high:
                grid[row(ys[column])][column] = mark
    labels = {row(tick): f"{tick:g}" for tick in ticks}
    lines = [unit]
    for number, cells in enumerate(grid):
        stroke = "┤" if number in labels else "│"
        lines.append(f"{labels.get(number, ''):>{margin}} {stroke}{''.join(cells)}".rstrip())
    lines += [f"{'':{margin}} └{'─' * columns}", _x_labels(right, columns, margin + 2)]
    lines.append(f"{axis:>{margin + 2 + columns}}")
    for name, curve in curves.items():
        last, lowest = curve.y[-1], min(curve.y)
        lines.append(f"  {name}: {last:.4f} at the end" + (f", {lowest:.4f} at the lowest" if lowest < last else ""))
    return lines


def nice_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two values, spaced by 1, 2 or 5 times a power of ten.

    >>> nice_ticks(1.43, 4.2), nice_ticks(0, 2000)
    ([2.0, 3.0, 4.0], [0.0, 500.0, 1000.0, 1500.0, 2000.0])
    """
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """Return a number as an axis shows it.

    >>> [short(value) for value in (0, 2.5, 250, 1500, 20_000, 3_000_000, 2.4e9)]
    ['0', '2.5', '250', '1.5k', '20k', '3M', '2.4G']
    """
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:g}{letter}"
    return f"{value:g}"


def _x_labels(right: float, columns: int, margin: int) -> str:
    line = [" "] * (margin + columns)
    for tick in nice_ticks(0, right):
        text = short(tick)
        start = margin + round(tick / right * (columns - 1)) - len(text) // 2
        start = min(start, len(line) - len(text))
        if not "".join(line[start - 1 : start + len(text)]).strip():  # else there is no space for it
            line[start : start + len(text)] = text
    return "".join(line).rstrip()


def draw_picture(plot: Plot) -> "Figure":
    """Draw a matplotlib figure. Raises UserError where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("matplotlib is not installed: pip install 'nanogpt[plot]', or leave --out out") from None
    from matplotlib.ticker import EngFormatter, MaxNLocator, StrMethodFormatter

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    alone = len(plot.runs) == 1
    for number, run in enumerate(plot.runs):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        axes.plot(run.train.x, run.train.y, color=colour, **TRAINING)
        label = "validation" if alone else _label(run.name)
        axes.plot(
            run.val.x, run.val.y, color=colour, linewidth=1.8, linestyle=dash, marker=MARKERS[number % len(MARKERS)],
            markersize=6, markeredgecolor="white", markeredgewidth=0.6, label=label,
        )  # fmt: skip
    axes.set(xlabel=AXES[plot.axis], ylabel=f"loss ({plot.unit})", title=_label(plot.title))
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if plot.axis == "tokens" else StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(8))
    axes.set_ylim(*loss_range(plot))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if any(run.train.x for run in plot.runs):
        axes.plot([], [], color="#555555", label="training" if alone else "training, dotted", **TRAINING)
    axes.legend(title=_label(plot.runs[0].name) if alone else "validation loss", frameon=False)
    return figure


def _label(name: str) -> str:
    """Escape a name for matplotlib, which takes dollars for a formula and leaves out names with an underscore."""
    return ("./" if name.startswith("_") else "") + name.replace("$", r"\$")


def loss_range(plot: Plot) -> tuple[float, float]:
    """Return the range of losses to show, without those before the first step, which would flatten the rest."""
    low = min(y for run in plot.runs for curve in (run.train, run.val) for y in curve.y)
    highs: list[float] = []
    for curve in (run.val if run.val.x else run.train for run in plot.runs):
        highs += [y for x, y in zip(curve.x, curve.y) if x > 0] or curve.y  # unless there is no other point
    high = max(highs)
    margin = 0.05 * (high - low) or 0.1
    return low - margin, high + 2 * margin


def check_picture(path: str) -> Path:
    """Return the path of a picture. Raises UserError where its format is unknown, or the file exists."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UserError(f"{path!r} has no picture format; {nearest(Path(path).suffix, SUFFIXES)}")
    if Path(path).exists():
        raise UserError(f"{path!r} exists already: choose another --out, or delete it")
    return Path(path)


def write_picture(plot: Plot, path: str) -> None:
    """Draw a new `.png` or `.svg` file."""
    where = check_picture(path)
    data = io.BytesIO()
    draw_picture(plot).savefig(data, format=where.suffix[1:].lower())
    write_atomically(where, data.getvalue())
