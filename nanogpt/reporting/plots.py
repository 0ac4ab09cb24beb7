"""A run's curves, as a picture (extra `plot`) or as text: training and validation loss over steps, time or tokens.

Several runs are told apart by marker and line as well as by colour, so that a picture can be read in grey and by the
colour-blind (colours of Okabe and Ito 2008, "Color Universal Design"); in a terminal by letters.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from nanogpt.errors import UserError, nearest
from nanogpt.files import write_atomically
from nanogpt.reporting.textplot import Series, plot_text
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

AXES = {"steps": "steps", "seconds": "time in training steps (s)", "tokens": "training tokens"}
NATS, BITS = "nats/token", "bits per byte"


@dataclass(frozen=True)
class Curve:
    """Points of a curve."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What a run's metrics.jsonl holds."""

    name: str
    text: str
    train: Curve
    val: Curve


@dataclass(frozen=True, kw_only=True)
class Plot:
    """The curves of some runs, in one unit, over one axis."""

    runs: tuple[Curves, ...]
    axis: Axis
    unit: str
    """nats/token; bits per byte, and no training loss, where the runs have different tokenizers"""

    @property
    def title(self) -> str:
        """What is to be seen."""
        what = "Loss" if any(run.train.x for run in self.runs) else "Validation loss"
        texts = {run.text for run in self.runs}
        return f"{what} while training on {texts.pop()}" if len(texts) == 1 else f"{what} while training"


def read_plot(folders: Sequence[RunFolder], axis: Axis = "steps") -> Plot:
    """The curves of some runs. Raises UserError for a run without any yet, or with damaged metrics."""
    if len(folders) > MOST_RUNS:
        raise UserError(f"{len(folders)} runs are too many to tell apart: name {MOST_RUNS} or fewer")
    unit = NATS if len({dump_tokenizer(folder.read_tokenizer()) for folder in folders}) == 1 else BITS
    return Plot(runs=tuple(_read_curves(folder, axis, unit) for folder in folders), axis=axis, unit=unit)


def _read_curves(folder: RunFolder, axis: Axis, unit: str) -> Curves:
    config, plan = folder.read_config(), folder.read_plan()
    per_step = config.train.batch_sequences * config.model.block_size
    points: dict[str, list[tuple[float, float]]] = {"step": [], "eval": []}
    for line in folder.metrics():
        if line.get("event") not in points or (unit == BITS and line["event"] == "step"):
            continue
        step, seconds, y = (line.get(key) for key in ("step", "seconds", "bits_per_byte" if unit == BITS else "loss"))
        if not (_is_number(step) and _is_number(seconds) and _is_number(y)):
            raise UserError(
                f"{folder.path / 'metrics.jsonl'}: a line of step {step!r} is damaged: restore the file, or delete it; "
                f"it holds the curves, and nothing that training needs"
            )
        x = {"steps": step, "seconds": seconds, "tokens": step * per_step}[axis]
        points[line["event"]].append((float(x), float(y)))
    if not points["eval"] and not points["step"]:
        imported, gone = "it was imported", "its training has just begun, or its metrics are gone"
        reason = imported if folder.read_plan().imported else gone
        raise UserError(f"{str(folder.path)!r} has no curve yet: {reason}")
    train, val = (Curve(tuple(x for x, _ in one), tuple(y for _, y in one)) for one in points.values())
    return Curves(name=folder.path.as_posix(), text=plan.text, train=train, val=val)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def draw_text(plot: Plot, width: int = 80, height: int = 20) -> str:
    """The curves in characters: of one run both losses, of several the validation loss, each by its letter."""
    if len(plot.runs) == 1:
        run = plot.runs[0]
        series = [Series("·", "training", *_xy(run.train)), Series("o", "validation", *_xy(run.val))]
        title = f"{plot.title} ({run.name})"
    else:
        series = [Series(chr(65 + number), run.name, *_xy(run.val)) for number, run in enumerate(plot.runs)]
        title = plot.title if plot.title.startswith("Validation") else f"Validation l{plot.title[1:]}"
    shown = [one for one in series if one.x]
    if not shown:
        raise UserError("none of these runs has been evaluated yet: wait for their first evaluation")
    limits = loss_range(plot)
    return plot_text(
        shown, title=title, unit=plot.unit, axis=AXES[plot.axis], limits=limits, width=width, height=height
    )


def _xy(curve: Curve) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return curve.x, curve.y


def draw_picture(plot: Plot) -> "Figure":
    """The curves as a matplotlib figure. Raises UserError where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(
            "pictures are drawn by matplotlib, which is not installed: pip install 'nanogpt[plot]', or leave --out out "
            "to see the curves here"
        ) from None
    from matplotlib.ticker import EngFormatter, MaxNLocator, StrMethodFormatter

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    alone = len(plot.runs) == 1
    for number, run in enumerate(plot.runs):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        axes.plot(*_xy(run.train), color=colour, **TRAINING)
        label = "validation" if alone else _label(run.name)
        axes.plot(
            *_xy(run.val), color=colour, linewidth=1.8, linestyle=dash, marker=MARKERS[number % len(MARKERS)],
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
    """A name as matplotlib shows it: its dollars begin no formula, and it is not left out for its underscore."""
    return ("./" if name.startswith("_") else "") + name.replace("$", r"\$")


def loss_range(plot: Plot) -> tuple[float, float]:
    """What of the losses to show: not the one before the first step, which would flatten all that follows."""
    low = min(y for run in plot.runs for curve in (run.train, run.val) for y in curve.y)
    highs = []
    for run in plot.runs:
        points = list(zip(*_xy(run.val))) or list(zip(*_xy(run.train)))
        # A run that has no other point is shown by this one.
        highs += [y for x, y in points if x > 0] or [y for _, y in points]
    high = max(highs)
    room = 0.05 * (high - low) or 0.1
    return low - room, high + 2 * room


def check_picture(path: str) -> Path:
    """Raise UserError where a picture cannot be written: its name says no known format, or is taken."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UserError(f"{path!r} names no kind of picture; {nearest(Path(path).suffix, SUFFIXES)}")
    if Path(path).exists():
        raise UserError(f"{path!r} exists already and is not overwritten: choose another --out, or delete it")
    return Path(path)


def write_picture(plot: Plot, path: str) -> None:
    """Draw into a new `.png` or `.svg` file."""
    where = check_picture(path)
    data = io.BytesIO()
    draw_picture(plot).savefig(data, format=where.suffix[1:].lower())
    check_picture(path)
    write_atomically(where, data.getvalue())
