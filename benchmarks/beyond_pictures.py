"""The pictures of docs/beyond/, drawn from the library's own functions (extra `plot`).

    python -m benchmarks.beyond_pictures

Lines are told apart by their dashes and markers as well as by colour, so that they can be read in grey and by the
colour-blind (colours of Okabe and Ito 2008, "Color Universal Design").
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pictures import INK, PICTURES
from benchmarks.record import RECORDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "linestyle": "-"},
    {"color": "#D55E00", "linestyle": "--"},
    {"color": "#009E73", "linestyle": "-."},
    {"color": "black", "linestyle": ":"},
)


def main() -> None:
    """Draw them all."""
    PICTURES.mkdir(exist_ok=True)
    for name in DRAWN:
        print(f"wrote {draw(name, PICTURES)}")


def draw(name: str, folder: Path) -> Path:
    """One picture, `folder/NAME.svg`; always the same bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    path = folder / f"{name}.svg"
    plain: Any = {"svg.hashsalt": "nanogpt", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False}
    with matplotlib.rc_context(plain | {"axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25}):
        figure = Figure(figsize=(7, 3.2), layout="constrained")
        DRAWN[name](figure)
        figure.savefig(path, metadata={"Date": None})
    return path


def draw_rope(figure: "Figure") -> None:
    """One channel pair turned by its position, and the product of a pair of vectors over their distance."""
    import torch

    from nanogpt.model.positions import rotate, rotations

    turned, products = figure.subplots(1, 2, width_ratios=(1, 1.6))
    pair = torch.tensor([1.0, 0.0]).expand(1, 1, 5, 2)
    for place, (x, y) in enumerate(rotate(pair, rotations(5, 2, 10_000.0))[0, 0].tolist()):
        turned.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "->", "color": STYLES[0]["color"]})
        turned.text(1.14 * x, 1.14 * y, str(place), ha="center", va="center", color=INK)
    turned.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xlabel="channel i", ylabel="channel i + D/2")
    turned.set_title("the pair (1, 0) at places 0 to 4", loc="left", fontsize=10)
    far = 64
    for (size, theta), style in zip(((2, 1e4), (16, 1e4), (64, 1e4)), STYLES):
        same = rotate(torch.ones(1, 1, far, size), rotations(far, size, theta))[0, 0] / size**0.5  # (T, D)
        products.plot(range(far), (same @ same[0]).tolist(), label=f"D = {size}", **style)
    products.set(xlabel="distance between the two places", ylabel="product")
    products.set_title("two equal vectors, of length 1", loc="left", fontsize=10)
    products.legend(framealpha=1, loc="lower right")


def draw_swiglu(figure: "Figure") -> None:
    """The bends, and a gate times a value."""
    import torch
    from torch.nn import functional as F

    bends, gated = figure.subplots(1, 2)
    x = torch.linspace(-4, 4, 161)
    for (name, y), style in zip({"ReLU": F.relu(x), "GELU": F.gelu(x), "SiLU": F.silu(x)}.items(), STYLES):
        bends.plot(x.tolist(), y.tolist(), label=name, **style)
    bends.set(xlabel="x", ylim=(-0.6, 3))
    bends.legend(frameon=False)
    for value, style in zip((1.0, 0.5, 0.0, -1.0), STYLES):
        gated.plot(x.tolist(), (F.silu(x) * value).tolist(), label=f"value {value:g}", **style)
    gated.set(xlabel="gate", ylim=(-3, 3))
    gated.set_title("SiLU(gate) × value", loc="left", fontsize=10)
    gated.legend(frameon=False)


def draw_muon(figure: "Figure") -> None:
    """Singular values before the iterations and after each few of them."""
    import torch

    from nanogpt.optim.muon import orthogonalise

    axes = figure.subplots()
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(24, 24)).Q for _ in range(2))
    sizes = 10.0 ** -torch.linspace(0, 2, 24)
    gradient = left @ torch.diag(sizes) @ right
    for count, style, marker in zip((0, 1, 3, 5), STYLES, "os^D"):
        values = torch.linalg.svdvals(orthogonalise(gradient[None], count)[0])
        told = "the gradient, of norm 1" if not count else f"after {count} iteration{'s' if count > 1 else ''}"
        axes.plot(range(1, 25), values.tolist(), marker=marker, markersize=4, label=told, **style)
    axes.set(yscale="log", xlabel="direction, the largest first", ylabel="singular value")
    axes.legend(frameon=False, loc="lower left")


def draw_qk_norm(figure: "Figure") -> None:
    """The largest attention weight as queries and keys grow, without the norm and with it."""
    import torch

    from nanogpt.model.norm import RMSNorm

    axes = figure.subplots()
    torch.manual_seed(0)
    D = 16
    q, k, norm = torch.randn(2000, 1, D), torch.randn(2000, 8, D), RMSNorm(D)
    factors = [2**exponent for exponent in range(-2, 5)]
    ways: dict[str, torch.nn.Module] = {"as they are": torch.nn.Identity(), "normalised": norm}
    for (name, way), style, marker in zip(ways.items(), STYLES, "os"):
        with torch.no_grad():
            scores = [way(factor * q) @ way(factor * k).mT / D**0.5 for factor in factors]  # each (N, 1, 8)
        largest = [score.softmax(-1).amax(-1).mean().item() for score in scores]
        axes.plot(factors, largest, marker=marker, label=f"queries and keys {name}", **style)
    axes.set(xscale="log", xlabel="factor on queries and keys", ylabel="largest weight of eight", ylim=(0, 1.05))
    axes.set_xticks(factors, [f"{factor:g}" for factor in factors])
    axes.minorticks_off()
    axes.legend(frameon=False, loc="center right")


def draw_kv_cache(figure: "Figure") -> None:
    """Positions that pass through the model for each token, with a cache and without."""
    from nanogpt.sampling.cache import window_start

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


def draw_planner(figure: "Figure") -> None:
    """The forecast over arithmetic for some sizes: a larger one is worth it later."""
    from nanogpt.config import load_preset
    from nanogpt.planning.forecast import TextFeatures, Training, load_forecast
    from nanogpt.planning.planner import SIZES

    axes = figure.subplots()
    text = TextFeatures(**json.loads((RECORDS / "forecast.json").read_text(encoding="utf-8"))["texts"]["shakespeare"])
    for size, style, marker in zip(SIZES[:5], (*STYLES, {"color": INK, "linestyle": "-"}), "os^Dv"):
        config = load_preset("modern").override(vocab_size=66, **size.settings())
        trainings = [Training.of(config, steps) for steps in (100, 200, 400, 800, 1600, 3200)]
        spent = [6 * training.matrices * training.tokens for training in trainings]
        losses = [load_forecast().predict(text, training).loss for training in trainings]
        told = f"{size.n_layer} layers of {size.n_embd}, block {size.block_size}"
        axes.plot(spent, losses, marker=marker, markersize=4, label=told, **style)
    axes.set(xscale="log", xlabel="operations: 6 × numbers in the matrices × tokens", ylabel="expected loss")
    axes.legend(frameon=False)


def draw_initialisation(figure: "Figure") -> None:
    """The size of the residual stream from block to block, as the first weights leave it."""
    axes = figure.subplots()
    ways = {
        "normal": "0.02 for all weights",
        "scaled": "scaled: a quarter of it into the stream",
        "zero": "zero: 0 into the stream",
    }
    for (init, told), style, marker in zip(ways.items(), STYLES, "s^o"):
        sizes = stream_sizes(init, n_layer=8)
        axes.plot(range(9), [size / sizes[0] for size in sizes], marker=marker, label=told, **style)
    axes.set(xlabel="block (0: the embeddings)", ylabel="size (embeddings: 1)", ylim=(0, None))
    axes.set_title("the stream in a model of eight blocks that has learned nothing", loc="left", fontsize=10)
    axes.legend(frameon=False)


def stream_sizes(init: str, n_layer: int) -> list[float]:
    """Root mean square of what the embeddings of a new model put into the stream, then after each block."""
    import torch

    from nanogpt.config import load_preset
    from nanogpt.model.gpt import GPT

    config = load_preset("modern").override(vocab_size=65, n_layer=n_layer, init=init).model
    model = GPT(config, torch.Generator().manual_seed(0))
    sizes: list[float] = []
    for part in (model.token_embedding, *model.blocks):
        part.register_forward_hook(lambda _part, _given, x: sizes.append(x.square().mean().sqrt().item()))
    with torch.no_grad():
        model(torch.randint(65, (16, 64), generator=torch.Generator().manual_seed(1)))  # (B, T)
    return sizes


def draw_rmsnorm(figure: "Figure") -> None:
    """A vector, and the same plus 10, through LayerNorm and through RMSNorm."""
    import torch
    from torch import nn

    from nanogpt.model.norm import RMSNorm

    x = torch.tensor([1.0, 2.0, 2.0, 4.0])
    norms = {"LayerNorm": nn.LayerNorm(4, eps=0.0), "RMSNorm": RMSNorm(4, eps=0.0)}
    for axes, (name, norm) in zip(figure.subplots(1, 2, sharey=True), norms.items()):
        for vector, told, side, hatch, style in zip((x, x + 10), ("x", "x + 10"), (-0.2, 0.2), ("", "///"), STYLES):
            places = [channel + side for channel in range(1, 5)]
            look = {"color": style["color"], "edgecolor": "white", "hatch": hatch}
            axes.bar(places, norm(vector).tolist(), width=0.38, label=told, **look)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set(xlabel="channel", xticks=range(1, 5))
        axes.set_title(name, loc="left", fontsize=10)
    figure.axes[0].set_ylabel("after the norm")
    figure.axes[0].legend(frameon=False, loc="upper left")


DRAWN: dict[str, Callable[["Figure"], None]] = {
    "rope": draw_rope,
    "swiglu": draw_swiglu,
    "muon": draw_muon,
    "qk_norm": draw_qk_norm,
    "kv_cache": draw_kv_cache,
    "planner": draw_planner,
    "initialisation": draw_initialisation,
    "rmsnorm": draw_rmsnorm,
}


if __name__ == "__main__":
    main()
