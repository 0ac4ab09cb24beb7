"""Tokens a second in training and peak memory, by size and block, ours and nanoGPT's in turn.

    python -m benchmarks.throughput --nanogpt PATH --pairs 5
    python -m benchmarks.throughput --nanogpt PATH --sizes cpu --steps 12 --pairs 1 --trial

Both sides train the same network, nanoGPT's: our preset `gpt2` without biases and with the exact GELU, AdamW, the same
batch and dropout. Ours computes in the number format that it takes by itself, `auto`, or in float32, as nanoGPT does
on a CPU: `--precisions`. Tokens a second follow from the median of the warm steps; evaluations are no part of them.
Memory is the largest resident set of the same processes. That a step of ours is worth a step of theirs is shown by the
losses of the first steps from equal weights on equal batches, without dropout, of which no two programs draw the same
(`benchmarks.peers.first_steps`). Pairs are kept one by one: an interrupted command goes on.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.pairs import ratios, told, values
from benchmarks.peers.checkout import Checkout, Recipe
from benchmarks.peers.first_steps import SAME, compare_first_steps
from benchmarks.record import Parts
from benchmarks.side_by_side import add_common
from benchmarks.sides import measure_pairs, nanogpt_side, our_side, summary
from nanogpt.parallel.process import prepare_process

_GPU: dict[str, Any] = {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "batch_size": 64, "dropout": 0.2}
SIZES: dict[str, dict[str, Any]] = {
    "cpu": {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "batch_size": 12, "dropout": 0.0},
    "medium": {"n_layer": 4, "n_head": 6, "n_embd": 192, "block_size": 128, "batch_size": 32, "dropout": 0.0},
    "gpu with block 64": _GPU | {"block_size": 64},
    "gpu without dropout": _GPU | {"dropout": 0.0},
    "gpu": _GPU,
}
"""nanoGPT's recipes for a CPU and a GPU, and what lies between."""
FORMATS = ("auto", "float32")


def main() -> None:
    """Measure what is missing, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--precisions", nargs="+", choices=FORMATS, default=list(FORMATS), help="of ours")
    parser.add_argument("--steps", type=int, default=8, help="of each training")
    parser.add_argument("--loss-steps", type=int, default=20, help="whose losses are compared, at the size `cpu`")
    add_common(parser)
    options = parser.parse_args()
    prepare_process()
    parts = Parts("throughput", keep=options.keep, trial=options.trial)
    rows = [measure(parts, name, one, options) for name in options.sizes for one in options.precisions]
    first = {}
    for precision in FORMATS:
        key = {"losses": SIZES["cpu"], "steps": options.loss_steps, "precision": precision}
        measure_losses = partial(first_steps, options.nanogpt, options.loss_steps, precision)
        first[precision] = parts.measure(key, measure_losses)
        apart = first[precision]["largest_difference"]
        print(f"losses of {options.loss_steps} steps from equal weights, {precision}: at most {apart:.1e} apart")
    parts.write({"steps": options.steps, "rows": rows, "first_steps": first})


def measure(parts: Parts, name: str, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """One size, both sides, ours in a number format."""
    size, where = SIZES[name], {"threads": options.threads, "device": options.device}
    words, recipe = our_words(size, precision), their_recipe(size)
    key = {"ours": words, "theirs": recipe.words, "steps": options.steps, **where}
    ours = our_side(words, options.steps, losses=False, **where)
    theirs = nanogpt_side(options.nanogpt, recipe, options.steps, losses=False, **where)
    about = {"name": name, "size": size, "precision": precision, "steps": options.steps, **where}
    found = about | summary(measure_pairs(parts, key, options.pairs, ours, theirs))
    add_rates(found, size["batch_size"] * size["block_size"])
    print(f"{name}, {precision}")
    print(f"    tokens/s ours   {told(found['ours']['tokens_per_second'], 0)}")
    print(f"             theirs {told(found['theirs']['tokens_per_second'], 0)}")
    print(f"    ours / theirs   {told(found['ratios']['tokens_per_second'])}")
    print(f"    memory, ours / theirs {told(found['ratios']['peak_megabytes'])}", flush=True)
    return found


def add_rates(found: dict[str, Any], tokens: int) -> None:
    """Add to a `summary` the tokens a second of both sides, and their ratio, of steps of so many tokens."""
    rates = {side: [tokens / row[side]["step_seconds"] for row in found["rows"]] for side in ("ours", "theirs")}
    for side, measured in rates.items():
        found[side]["tokens_per_second"] = values(measured)
    found["ratios"]["tokens_per_second"] = ratios(rates["ours"], rates["theirs"])


def our_words(size: dict[str, Any], precision: str = "auto") -> list[str]:
    """nanoGPT's network and optimizer at this size, as words of our command.

    >>> our_words({"n_layer": 2, "dropout": 0.5})[:6]
    ['--preset', 'gpt2', '--activation', 'gelu', '--bias', 'False']
    """
    settings = SAME | size | {"log_every": 1, "history": "off"}
    settings |= {} if precision == "auto" else {"precision": precision}
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def their_recipe(size: dict[str, Any]) -> Recipe:
    """nanoGPT's config for this text, at this size."""
    words = tuple(f"--{name}={value}" for name, value in size.items())
    return Recipe(words=words, steps=5000, block_size=size["block_size"], batch_size=size["batch_size"])


def first_steps(source: Path, steps: int, precision: str) -> dict[str, Any]:
    """The losses of both sides' first steps."""
    sizes = {name: value for name, value in SIZES["cpu"].items() if name != "dropout"}
    with tempfile.TemporaryDirectory(prefix="first-steps-") as folder:
        return compare_first_steps(Checkout(source, Path(folder) / "theirs"), sizes, steps, precision)


if __name__ == "__main__":
    main()
