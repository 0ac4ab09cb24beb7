"""The pictures of README and docs/speed.md, drawn from the records that there are (extra `plot`).

    python -m benchmarks.pictures

Ours and others' are told apart by shape and filling as well as by colour, so that they can be read in grey and by the
colour-blind (colours of Okabe and Ito 2008, "Color Universal Design").
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.record import RECORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURES = RECORDS.parent.parent / "docs" / "pictures"
OURS: dict[str, Any] = {"color": "#0072B2", "marker": "o", "label": "Nano-GPT"}
THEIRS: dict[str, Any] = {"color": "#D55E00", "marker": "s", "markerfacecolor": "white", "label": "nanoGPT"}
INK = "#444444"
TIMES = {5: "5 s", 60: "1 min", 600: "10 min", 3600: "1 h", 36_000: "10 h"}
THEIR_LOSSES = {"nanoGPT's CPU recipe": 1.901, "nanoGPT's GPU recipe, published, random batches": 1.4697}


def main() -> None:
    """Draw what has a record."""
    PICTURES.mkdir(exist_ok=True)
    for name in DRAWN:
        if (RECORDS / f"{name}.json").exists():
            print(f"wrote {draw(name, PICTURES)}")
        else:
            print(f"{name}: no record yet; python -m benchmarks.{name}")


def draw(name: str, folder: Path) -> Path:
    """One record's picture, `folder/NAME.svg`; the same record always gives the same bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    record = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    path = folder / f"{name}.svg"
    plain: Any = {"svg.hashsalt": "nanogpt", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False}
    with matplotlib.rc_context(plain | {"axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        DRAWN[name](record, figure)
        figure.savefig(path, metadata={"Date": None})
    return path


def draw_ladder(record: dict[str, Any], figure: "Figure") -> None:
    """The ten sections from top to bottom, and the library: the loss that each reaches, and what its model writes."""
    rungs = [
        (f"{int(row['section'][1:3])}  {row['idea']}", row["val_loss"], row["sample"])
        for row in record["sections"]
        if not row["variant"]
    ]
    library = json.loads((RECORDS / "losses.json").read_text(encoding="utf-8"))["rows"][-1]
    rungs.append((f"nanogpt train, {library['step']:,} steps", library["loss"], library["sample"]))
    figure.set_size_inches(10, 0.34 * len(rungs) + 1.1)
    axes = figure.subplots()
    names, losses, samples = zip(*rungs)
    places = list(range(len(rungs)))
    axes.plot(losses, places, color=OURS["color"], marker="o", linewidth=1.2)
    for place, loss, sample in zip(places, losses, samples):
        axes.annotate(f"{loss:.2f}", (loss, place), (8, 0), textcoords="offset points", va="center", color=INK)
        axes.annotate(_first_letters(sample), (1.03, place), va="center", family="monospace", **_BESIDE)
    axes.annotate("what its model writes", (1.03, -0.9), va="center", color=INK, **_BESIDE)
    axes.set_yticks(places, names)
    axes.set(ylim=(len(rungs) - 0.5, -0.6), xlim=(1.4, 3.1), xlabel="validation loss (nats per character)")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _first_letters(text: str, count: int = 44) -> str:
    """So many characters from the first that is seen on, on one line.

    >>> _first_letters("\\nKING:\\nBe gone", 9)
    'KING:⏎Be '
    """
    return text.lstrip()[:count].replace("\n", "⏎")


def draw_minutes(record: dict[str, Any], figure: "Figure") -> None:
    """Loss over minutes, with nanoGPT's losses as lines."""
    axes = figure.subplots()
    rows = record["rows"]
    _points(axes, [row["minutes"] for row in rows], [row["loss"] for row in rows], OURS, "none")
    for name, loss in THEIR_LOSSES.items():
        axes.axhline(loss, color=THEIRS["color"], linestyle="--", linewidth=1)
        axes.annotate(f"{name}: {loss}", (rows[-1]["minutes"], loss), ha="right", va="bottom", color=INK, fontsize=9)
    axes.set(xscale="log", xlabel="minutes from Enter", ylabel="validation loss, whole-split (nats/token)")
    _plain_numbers(axes, [row["minutes"] for row in rows])
    axes.set_title(f"nanogpt train {record['text']} --minutes M, {record['hardware']['cores']} cores", loc="left")


def draw_goals(record: dict[str, Any], figure: "Figure") -> None:
    """Seconds to each goal, both sides, on one line each."""
    axes = figure.subplots()
    goals = list(record["goals"].values())
    places = list(range(len(goals)))[::-1]
    for side, style in (("ours", OURS), ("theirs", THEIRS)):
        _points(axes, [goal[side]["seconds"] for goal in goals], places, style, "none")
    for place, goal in zip(places, goals):
        ends = [goal[side]["seconds"]["median"] for side in ("ours", "theirs")]
        axes.plot(ends, [place, place], color=INK, linewidth=0.8, zorder=0)
        told = _what_was_won(goal) + (" (extrapolated)" if goal["extrapolated"] else "")
        axes.annotate(told, ((ends[0] * ends[1]) ** 0.5, place), xytext=(0, 5), textcoords="offset points", ha="center")
    axes.set_yticks(places, [goal["title"] for goal in goals])
    axes.set(xscale="log", xlabel="from Enter to the last training step", ylim=(-0.6, len(goals) - 0.4))
    axes.set_xticks(list(TIMES), list(TIMES.values()))
    axes.minorticks_off()
    axes.legend(loc="upper right", frameon=False)


def _what_was_won(goal: dict[str, Any]) -> str:
    """How many times as fast; where the time is about the same, both losses."""
    if goal["share"] < 1:
        return f"{1 / goal['ratios']['seconds']['median']:,.0f} times as fast"
    ours, theirs = (goal[side]["loss"]["median"] for side in ("ours", "theirs"))
    return f"{ours:.2f} beside {theirs:.2f}"


def draw_throughput(record: dict[str, Any], figure: "Figure") -> None:
    """Tokens a second by size, both sides."""
    axes = figure.subplots()
    rows = record["rows"]
    places = list(range(len(rows)))[::-1]
    for side, style in (("ours", OURS), ("theirs", THEIRS)):
        _points(axes, [row[side]["tokens_per_second"] for row in rows], places, style, "none")
    axes.set_yticks(places, [f"{row['name']} size\nours in {row['precision']}" for row in rows])
    axes.set(xlabel="tokens a second in training on a CPU", ylim=(-0.6, len(rows) - 0.4))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="best", frameon=False)


def draw_scaling(record: dict[str, Any], figure: "Figure") -> None:
    """Cost of a token over parameters, block and text size."""
    axes = figure.subplots(1, len(record["series"]), sharey=True, squeeze=False)[0]
    for part, (name, series) in zip(axes, record["series"].items()):
        points = series["points"]
        across = [point[series["across"]] for point in points]
        _points(part, across, [point["microseconds_per_token"] for point in points], OURS, "-")
        exponent = "" if series["exponent"] is None else f", exponent {series['exponent']:z.2f}"
        part.set(xscale="log", yscale="log", xlabel=series["across"].replace("_", " "))
        part.set_title(name + exponent, loc="left", fontsize=10)
    axes[0].set_ylabel("µs a token")


def draw_ablation(record: dict[str, Any], figure: "Figure") -> None:
    """The effect of each exchange, with both intervals; a panel for each text."""
    texts = record["texts"]
    most = max(len(rows) for rows in texts.values())
    figure.set_size_inches(7, 1.2 + 0.3 * most * len(texts))
    for axes, (text, rows) in zip(figure.subplots(len(texts), 1, squeeze=False)[:, 0], texts.items()):
        shown = [row for row in rows if row["effect"] is not None and row["settings"]]
        for place, row in enumerate(reversed(shown)):
            for over, width in (("text", 5), ("seeds", 1.5)):
                if row[over]:
                    axes.plot(
                        row[over], [place, place], color="#56B4E9" if over == "text" else "black", linewidth=width
                    )
            axes.plot(row["effect"], place, "o", color="black", markersize=4)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(shown)), [row["name"] for row in reversed(shown)])
        axes.set_xlabel("loss above the recipe's at equal time\n(thin: 95 % over seeds, broad: over text)")
        axes.set_title(text, loc="left")


def _points(axes: "Axes", x: list[Any], y: list[Any], style: dict[str, Any], line: str) -> None:
    """Points at numbers, or at medians with a bar from the lowest to the highest."""
    errors: dict[str, Any] = {
        name: _bars(numbers) if isinstance(numbers[0], dict) else None for name, numbers in (("xerr", x), ("yerr", y))
    }
    x, y = ([one["median"] if isinstance(one, dict) else one for one in numbers] for numbers in (x, y))
    axes.errorbar(x, y, linestyle=line, capsize=3, **errors, **style)


def _bars(numbers: list[dict[str, Any]]) -> list[list[float]]:
    return [[one["median"] - one["low"] for one in numbers], [one["high"] - one["median"] for one in numbers]]


def _plain_numbers(axes: "Axes", places: list[float]) -> None:
    """Ticks at these places only, written as they are."""
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()


_BESIDE: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "annotation_clip": False}
"""How text is put beside the axes."""

DRAWN: dict[str, Callable[[dict[str, Any], "Figure"], None]] = {
    "ladder": draw_ladder,
    "time_to_loss": draw_goals,
    "loss_in_minutes": draw_minutes,
    "throughput": draw_throughput,
    "scaling": draw_scaling,
    "ablation": draw_ablation,
}
"""The records that have a picture."""


if __name__ == "__main__":
    main()
