"""The pictures of README and docs: drawn from the records, or from the library's own functions (extra `plot`).

    python -m benchmarks.pictures

Lines and points differ by shape, dashes and filling as well as by colour, so that they can be read in grey and by the
colour-blind (colours of Okabe and Ito 2008, "Color Universal Design").
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.record import RECORDS, new_parser, read_record
from benchmarks.tables import PICTURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS: dict[str, Any] = {"color": "#0072B2", "marker": "o", "label": "Nano-GPT"}
THEIRS: dict[str, Any] = {"color": "#D55E00", "marker": "s", "markerfacecolor": "white", "label": "nanoGPT"}
GREY = "#444444"
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "linestyle": "-"},
    {"color": "#D55E00", "linestyle": "--"},
    {"color": "#009E73", "linestyle": "-."},
    {"color": "black", "linestyle": ":"},
)
TIMES = {5: "5 s", 60: "1 min", 600: "10 min", 3600: "1 h", 36_000: "10 h"}
THEIR_LOSSES = {"nanoGPT's CPU recipe": 1.901, "nanoGPT's GPU recipe, published, random batches": 1.4697}
_BESIDE: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "annotation_clip": False}
"""Places text next to the axes."""


def main() -> None:
    """Draw all pictures, those of records that exist."""
    new_parser(__doc__).parse_args()
    PICTURES.mkdir(exist_ok=True)
    for name in (*FROM_RECORDS, *FROM_THE_LIBRARY):
        if name in FROM_RECORDS and not (RECORDS / f"{name}.json").exists():
            print(f"{name}: no record yet; run python -m benchmarks.{name}")
        else:
            print(f"wrote {draw(name, PICTURES)}")


def draw(name: str, folder: Path) -> Path:
    """Draw `folder/NAME.svg`; the same record and library always give the same bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    path = folder / f"{name}.svg"
    plain: Any = {"svg.hashsalt": "nanogpt", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False}
    with matplotlib.rc_context(plain | {"axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25}):
        if name in FROM_RECORDS:
            figure = Figure(figsize=(7, 4), layout="constrained")
            FROM_RECORDS[name](read_record(name), figure)
        else:
            figure = Figure(figsize=(7, 3.2), layout="constrained")
            FROM_THE_LIBRARY[name](figure)
        figure.savefig(path, metadata={"Date": None})
    return path


def _ladder(record: dict[str, Any], figure: "Figure") -> None:
    rungs = [
        (f"{int(row['section'][1:3])}  {row['idea']}", row["val_loss"], row["sample"])
        for row in record["sections"]
        if not row["variant"]
    ]
    library = read_record("losses")["rows"][-1]
    rungs.append((f"nanogpt train, {library['step']:,} steps", library["loss"], library["sample"]))
    figure.set_size_inches(10, 0.34 * len(rungs) + 1.1)
    axes = figure.subplots()
    names, losses, samples = zip(*rungs)
    heights = list(range(len(rungs)))
    axes.plot(losses, heights, color=OURS["color"], marker="o", linewidth=1.2)
    for height, loss, sample in zip(heights, losses, samples):
        axes.annotate(f"{loss:.2f}", (loss, height), (8, 0), textcoords="offset points", va="center", color=GREY)
        axes.annotate(first_characters(sample), (1.03, height), va="center", family="monospace", **_BESIDE)
    axes.annotate("what its model writes", (1.03, -0.9), va="center", color=GREY, **_BESIDE)
    axes.set_yticks(heights, names)
    axes.set(ylim=(len(rungs) - 0.5, -0.6), xlim=(1.4, 3.1), xlabel="validation loss (nats per character)")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def first_characters(text: str, count: int = 44) -> str:
    r"""Return the first characters from the first visible one on, on one line.

    >>> first_characters("\nKING:\nBe gone", 9)
    'KING:⏎Be '
    """
    return text.lstrip()[:count].replace("\n", "⏎")


def _minutes(record: dict[str, Any], figure: "Figure") -> None:
    axes, rows = figure.subplots(), record["rows"]
    minutes = [row["minutes"] for row in rows]
    _points(axes, minutes, [row["loss"] for row in rows], OURS, "none")
    for name, loss in THEIR_LOSSES.items():
        axes.axhline(loss, color=THEIRS["color"], linestyle="--", linewidth=1)
        axes.annotate(f"{name}: {loss}", (minutes[-1], loss), ha="right", va="bottom", color=GREY, fontsize=9)
    axes.set(xscale="log", xlabel="minutes from Enter", ylabel="validation loss, whole-split (nats/token)")
    _ticks(axes, minutes)
    axes.set_title(f"nanogpt train {record['text']} --minutes M, {record['hardware']['cores']} cores", loc="left")


def _goals(record: dict[str, Any], figure: "Figure") -> None:
    axes, goals = figure.subplots(), list(record["goals"].values())
    heights = list(range(len(goals)))[::-1]
    for side, style in (("ours", OURS), ("theirs", THEIRS)):
        _points(axes, [goal[side]["seconds"] for goal in goals], heights, style, "none")
    for height, goal in zip(heights, goals):
        ends = [goal[side]["seconds"]["median"] for side in ("ours", "theirs")]
        axes.plot(ends, [height, height], color=GREY, linewidth=0.8, zorder=0)
        text = f"{1 / goal['ratios']['seconds']['median']:,.0f} times as fast"
        if goal["share"] >= 1:  # about the same time: both losses
            text = " beside ".join(f"{goal[side]['loss']['median']:.2f}" for side in ("ours", "theirs"))
        text += " (extrapolated)" if goal["extrapolated"] else ""
        middle = ((ends[0] * ends[1]) ** 0.5, height)
        axes.annotate(text, middle, xytext=(0, 5), textcoords="offset points", ha="center")
    axes.set_yticks(heights, [goal["title"] for goal in goals])
    axes.set(xscale="log", xlabel="from Enter to the last training step", ylim=(-0.6, len(goals) - 0.4))
    axes.set_xticks(list(TIMES), list(TIMES.values()))
    axes.minorticks_off()
    axes.legend(loc="upper right", frameon=False)


def _throughput(record: dict[str, Any], figure: "Figure") -> None:
    axes, rows = figure.subplots(), record["rows"]
    heights = list(range(len(rows)))[::-1]
    for side, style in (("ours", OURS), ("theirs", THEIRS)):
        _points(axes, [row[side]["tokens_per_second"] for row in rows], heights, style, "none")
    axes.set_yticks(heights, [f"{row['name']} size\nours in {row['precision']}" for row in rows])
    axes.set(xlabel="tokens a second in training on a CPU", ylim=(-0.6, len(rows) - 0.4))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="best", frameon=False)


def _scaling(record: dict[str, Any], figure: "Figure") -> None:
    axes = figure.subplots(1, len(record["series"]), sharey=True, squeeze=False)[0]
    for part, (name, series) in zip(axes, record["series"].items()):
        points, across = series["points"], series["across"]
        costs = [point["microseconds_per_token"] for point in points]
        _points(part, [point[across] for point in points], costs, OURS, "-")
        exponent = "" if series["exponent"] is None else f", exponent {series['exponent']:z.2f}"
        part.set(xscale="log", yscale="log", xlabel=across.replace("_", " "))
        part.set_title(name + exponent, loc="left", fontsize=10)
    axes[0].set_ylabel("µs a token")


def _ablation(record: dict[str, Any], figure: "Figure") -> None:
    texts = record["texts"]
    most = max(len(rows) for rows in texts.values())
    figure.set_size_inches(7, 1.2 + 0.3 * most * len(texts))
    for axes, (text, rows) in zip(figure.subplots(len(texts), 1, squeeze=False)[:, 0], texts.items()):
        kept = [row for row in rows if row["effect"] is not None and row["settings"]][::-1]
        for height, row in enumerate(kept):
            for over, width, color in (("text", 5, "#56B4E9"), ("seeds", 1.5, "black")):
                if row[over]:
                    axes.plot(row[over], [height, height], color=color, linewidth=width)
            axes.plot(row["effect"], height, "o", color="black", markersize=4)
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.set_yticks(range(len(kept)), [row["name"] for row in kept])
        axes.set_xlabel("loss above the recipe's at equal time\n(thin: 95 % over seeds, broad: over text)")
        axes.set_title(text, loc="left")


def _points(axes: "Axes", x: list[Any], y: list[Any], style: dict[str, Any], line: str) -> None:
    """Draw points at numbers, or at medians with a bar from the lowest to the highest."""

    def bars(numbers: list[Any]) -> list[list[float]] | None:
        if not isinstance(numbers[0], dict):
            return None
        return [[one["median"] - one["low"] for one in numbers], [one["high"] - one["median"] for one in numbers]]

    errors: dict[str, Any] = {"xerr": bars(x), "yerr": bars(y)}
    x, y = ([one["median"] if isinstance(one, dict) else one for one in numbers] for numbers in (x, y))
    axes.errorbar(x, y, linestyle=line, capsize=3, **errors, **style)


def _ticks(axes: "Axes", places: Sequence[float]) -> None:
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()


def _rope(figure: "Figure") -> None:
    import torch

    from nanogpt.model.gpt import rotate, rotations

    turned, products = figure.subplots(1, 2, width_ratios=(1, 1.6))
    pair = torch.tensor([1.0, 0.0]).expand(1, 1, 5, 2)
    for position, (x, y) in enumerate(rotate(pair, rotations(5, 2, 10_000.0))[0, 0].tolist()):
        turned.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "->", "color": STYLES[0]["color"]})
        turned.text(1.14 * x, 1.14 * y, str(position), ha="center", va="center", color=GREY)
    turned.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xlabel="channel i", ylabel="channel i + D/2")
    turned.set_title("the pair (1, 0) at places 0 to 4", loc="left", fontsize=10)
    distances = 64
    for (size, theta), style in zip(((2, 1e4), (16, 1e4), (64, 1e4)), STYLES):
        same = rotate(torch.ones(1, 1, distances, size), rotations(distances, size, theta))[0, 0] / size**0.5  # (T, D)
        products.plot(range(distances), (same @ same[0]).tolist(), label=f"D = {size}", **style)
    products.set(xlabel="distance between the two places", ylabel="product")
    products.set_title("two equal vectors, of length 1", loc="left", fontsize=10)
    products.legend(framealpha=1, loc="lower right")


def _swiglu(figure: "Figure") -> None:
    import torch
    from torch.nn import functional as F

    activations, gated = figure.subplots(1, 2)
    x = torch.linspace(-4, 4, 161)
    for (name, y), style in zip({"ReLU": F.relu(x), "GELU": F.gelu(x), "SiLU": F.silu(x)}.items(), STYLES):
        activations.plot(x.tolist(), y.tolist(), label=name, **style)
    activations.set(xlabel="x", ylim=(-0.6, 3))
    activations.legend(frameon=False)
    for value, style in zip((1.0, 0.5, 0.0, -1.0), STYLES):
        gated.plot(x.tolist(), (F.silu(x) * value).tolist(), label=f"value {value:g}", **style)
    gated.set(xlabel="gate", ylim=(-3, 3))
    gated.set_title("SiLU(gate) × value", loc="left", fontsize=10)
    gated.legend(frameon=False)


def _muon(figure: "Figure") -> None:
    import torch

    from nanogpt.optim.muon import orthogonalise

    axes = figure.subplots()
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(24, 24)).Q for _ in range(2))
    gradient = left @ torch.diag(10.0 ** -torch.linspace(0, 2, 24)) @ right
    for count, style, marker in zip((0, 1, 3, 5), STYLES, "os^D"):
        values = torch.linalg.svdvals(orthogonalise(gradient[None], count)[0])
        label = f"after {count} iteration{'s' if count > 1 else ''}" if count else "the gradient, of norm 1"
        axes.plot(range(1, 25), values.tolist(), marker=marker, markersize=4, label=label, **style)
    axes.set(yscale="log", xlabel="direction, the largest first", ylabel="singular value")
    axes.legend(frameon=False, loc="lower left")


def _qk_norm(figure: "Figure") -> None:
    import torch

    from nanogpt.model.norm import RMSNorm

    axes, D = figure.subplots(), 16
    torch.manual_seed(0)
    q, k = torch.randn(2000, 1, D), torch.randn(2000, 8, D)
    factors = [2**exponent for exponent in range(-2, 5)]
    norms: dict[str, torch.nn.Module] = {"as they are": torch.nn.Identity(), "normalised": RMSNorm(D)}
    for (name, norm), style, marker in zip(norms.items(), STYLES, "os"):
        with torch.no_grad():
            scores = [norm(factor * q) @ norm(factor * k).mT / D**0.5 for factor in factors]  # each (N, 1, 8)
        largest = [score.softmax(-1).amax(-1).mean().item() for score in scores]
        axes.plot(factors, largest, marker=marker, label=f"queries and keys {name}", **style)
    axes.set(xscale="log", xlabel="factor on queries and keys", ylabel="largest weight of eight", ylim=(0, 1.05))
    _ticks(axes, factors)
    axes.legend(frameon=False, loc="center right")


def _kv_cache(figure: "Figure") -> None:
    from nanogpt.sampling.generate import window_start

    axes, block = figure.subplots(), 256
    tokens = range(1, 1001)
    starts = [window_start(position, block) for position in range(1001)]
    without = [position - starts[position] for position in tokens]
    cached = [1 if starts[position] == starts[position - 1] else position - starts[position] for position in tokens]
    for (name, numbers), style in zip((("without a cache", without), ("with it", cached)), STYLES):
        axes.plot(tokens, numbers, label=f"{name}: {sum(numbers):,} in all", **style)
    axes.set(xlabel="tokens that the text has", ylabel="positions read for the next one")
    axes.legend(framealpha=1, loc="lower right", bbox_to_anchor=(1, 0.05))
    axes.set_title(f"block {block}: when it is full, its newest half is read again", loc="left", fontsize=10)


def _planner(figure: "Figure") -> None:
    from nanogpt.config import load_preset
    from nanogpt.planning.forecast import TextFeatures, Training, load_forecast
    from nanogpt.planning.planner import SIZES

    axes, text = figure.subplots(), TextFeatures(**read_record("forecast")["texts"]["shakespeare"])
    for size, style, marker in zip(SIZES[:5], (*STYLES, {"color": GREY, "linestyle": "-"}), "os^Dv"):
        config = load_preset("modern").override(vocab_size=66, **size.settings())
        trainings = [Training.of(config, steps) for steps in (100, 200, 400, 800, 1600, 3200)]
        operations = [6 * training.matrices * training.tokens for training in trainings]
        losses = [load_forecast().predict(text, training).loss for training in trainings]
        label = f"{size.n_layer} layers of {size.n_embd}, block {size.block_size}"
        axes.plot(operations, losses, marker=marker, markersize=4, label=label, **style)
    axes.set(xscale="log", xlabel="operations: 6 × numbers in the matrices × tokens", ylabel="expected loss")
    axes.legend(frameon=False)


def _initialisation(figure: "Figure") -> None:
    axes = figure.subplots()
    labels = {"normal": "0.02 for all weights", "scaled": "scaled: a quarter of it into the stream"}
    labels |= {"zero": "zero: 0 into the stream"}
    for (init, label), style, marker in zip(labels.items(), STYLES, "s^o"):
        sizes = stream_sizes(init, n_layer=8)
        axes.plot(range(9), [size / sizes[0] for size in sizes], marker=marker, label=label, **style)
    axes.set(xlabel="block (0: the embeddings)", ylabel="size (embeddings: 1)", ylim=(0, None))
    axes.set_title("the stream in a model of eight blocks that has learned nothing", loc="left", fontsize=10)
    axes.legend(frameon=False)


def stream_sizes(init: str, n_layer: int) -> list[float]:
    """Return the root mean square of a new model's residual stream after the embeddings and after each block."""
    import torch

    from nanogpt.config import load_preset
    from nanogpt.model.gpt import GPT

    config = load_preset("modern").override(vocab_size=65, n_layer=n_layer, init=init).model
    model = GPT(config, torch.Generator().manual_seed(0))
    sizes: list[float] = []
    for part in (model.token_embedding, *model.blocks):
        part.register_forward_hook(lambda _part, _inputs, x: sizes.append(x.square().mean().sqrt().item()))
    with torch.no_grad():
        model(torch.randint(65, (16, 64), generator=torch.Generator().manual_seed(1)))  # (B, T)
    return sizes


def _rmsnorm(figure: "Figure") -> None:
    import torch
    from torch import nn

    from nanogpt.model.norm import RMSNorm

    x = torch.tensor([1.0, 2.0, 2.0, 4.0])
    norms = {"LayerNorm": nn.LayerNorm(4, eps=0.0), "RMSNorm": RMSNorm(4, eps=0.0)}
    for axes, (name, norm) in zip(figure.subplots(1, 2, sharey=True), norms.items()):
        for vector, label, side, hatch, style in zip((x, x + 10), ("x", "x + 10"), (-0.2, 0.2), ("", "///"), STYLES):
            fill = {"color": style["color"], "edgecolor": "white", "hatch": hatch}
            axes.bar([channel + side for channel in range(1, 5)], norm(vector).tolist(), 0.38, label=label, **fill)
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set(xlabel="channel", xticks=range(1, 5))
        axes.set_title(name, loc="left", fontsize=10)
    figure.axes[0].set_ylabel("after the norm")
    figure.axes[0].legend(frameon=False, loc="upper left")


FROM_RECORDS: Mapping[str, Callable[[dict[str, Any], "Figure"], None]] = {
    **{"ladder": _ladder, "time_to_loss": _goals, "loss_in_minutes": _minutes},
    **{"throughput": _throughput, "scaling": _scaling, "ablation": _ablation},
}
FROM_THE_LIBRARY: Mapping[str, Callable[["Figure"], None]] = {
    **{"rope": _rope, "swiglu": _swiglu, "muon": _muon, "qk_norm": _qk_norm, "kv_cache": _kv_cache},
    **{"planner": _planner, "initialisation": _initialisation, "rmsnorm": _rmsnorm},
}


if __name__ == "__main__":
    main()
