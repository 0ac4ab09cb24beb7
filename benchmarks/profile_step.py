"""Where the time of a training step goes, and how much of it its matrix products alone would take.

    python -m benchmarks.profile_step --size nanogpt

A step's operations are timed by torch's profiler and grouped by what they are for: of three steps, the one that took
neither longest nor shortest. Then each matrix product of the
step is computed alone, over and over, on tensors of the same shapes and number format that lie in the cache: the rate
that this machine reaches for exactly those shapes. All products at that rate, over the time of a step without the
profiler, is the share that is told; the rest is the price of everything else. Steps and products are measured in turn.
"""

import argparse
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.record import circumstances, write_record
from nanogpt.config import Config, load_preset
from nanogpt.data.dataset import Dataset
from nanogpt.parallel.process import keep_freed_memory
from nanogpt.training.step import Stepper, build_model

VOCABULARY = 66
NANOGPT = {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "batch_size": 64, "dropout": 0.2}
SIZES: dict[str, dict[str, Any]] = {
    # nanoGPT's own recipe for a GPU; its GELU is the exact one
    "nanogpt": {"preset": "gpt2", **NANOGPT, "bias": False, "qkv_bias": False, "activation": "gelu"},
    "lecture": {"preset": "lecture"},
    "small": {"n_layer": 3, "n_head": 5, "n_embd": 160, "block_size": 64, "batch_size": 16},
    "small-dropout": {"n_layer": 3, "n_head": 5, "n_embd": 160, "block_size": 64, "batch_size": 16, "dropout": 0.1},
    "middle": {"n_layer": 5, "n_head": 6, "n_embd": 192, "block_size": 128, "batch_size": 32, "dropout": 0.1},
}
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
GROUPS = (  # an operation belongs to the first whose word begins its name, or that of what called it
    ("optimizer", ("Optimizer.step", "aten::_foreach", "aten::_fused_adam")),
    ("attention", ("_Attend", "autograd::engine::evaluate_function: _Attend", "aten::scaled_dot_product")),
    ("matrix products", PRODUCTS),
    ("dropout", ("_Drop",)),
    ("norms", ("_Normalise", "aten::native_layer_norm", "aten::rms_norm")),
    ("activation", ("aten::gelu", "aten::silu", "aten::relu", "aten::threshold_backward")),
    ("loss", ("aten::cross_entropy", "aten::_log_softmax", "aten::nll_loss", "NllLoss", "LogSoftmax")),
    ("casts and copies", ("aten::copy_", "aten::cat", "aten::clone", "aten::_to_copy")),
)
SECONDS_A_PRODUCT = 0.05
PROFILED_STEPS = 3


class Product(NamedTuple):
    """A matrix product: its operation, and the shapes of the two matrices or batches of them."""

    operation: str
    left: tuple[int, ...]
    right: tuple[int, ...]
    half: bool
    """in bfloat16"""

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        *batch, rows, inner = self.left
        return 2 * int(np.prod(batch, dtype=np.int64)) * rows * inner * self.right[-1]


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="nanogpt")
    parser.add_argument("--steps", type=int, default=5, help="steps that are timed")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--dry", action="store_true", help="record nothing")
    options = parser.parse_args()
    keep_freed_memory()
    measured_in = circumstances()
    preset = SIZES[options.size].get("preset", "modern")
    settings = {name: value for name, value in SIZES[options.size].items() if name != "preset"}
    settings |= {"precision": options.precision, "compile": "on" if options.compile else "off"}
    result = measure(load_preset(preset).override(**settings, vocab_size=VOCABULARY), options.steps)
    show(result)
    if not options.dry:
        name = f"profile_step_{options.size}" + (f"_{options.precision}" if options.precision != "auto" else "")
        name += "_compiled" if options.compile else ""
        print(f"wrote {write_record(name, measured_in, {'size': options.size, **result})}")


def measure(config: Config, steps: int) -> dict[str, Any]:
    """The profile of a config's step: seconds of all of it, milliseconds by group, and the products alone."""
    ids = np.random.default_rng(1).integers(0, config.model.vocab_size - 1, 200_000).astype(np.uint16)
    stepper = Stepper(build_model(config), config.train, Dataset(train=ids, val=ids[:2], key=""))
    numbers = iter(range(2 + PROFILED_STEPS + steps))

    def step() -> float:
        begin = time.perf_counter()
        stepper.step(next(numbers), 1e-4).tolist()
        return time.perf_counter() - begin

    step(), step()  # the optimizer's state, and whatever is made once
    profiles = [profile(step, half=stepper.precision == "bfloat16") for _ in range(PROFILED_STEPS)]
    groups, products = sorted(profiles, key=lambda one: sum(one[0].values()))[PROFILED_STEPS // 2]
    steps_took, rates = [], defaultdict(list)
    for _ in range(steps):
        steps_took.append(step())
        for product in products:
            rates[product].append(seconds_of(product, SECONDS_A_PRODUCT / steps))
    alone = {product: statistics.median(rates[product]) for product in products}
    seconds, product_seconds = statistics.median(steps_took), sum(alone[p] * n for p, n in products.items())
    operations = sum(p.operations * n for p, n in products.items())
    return {
        "config": {"model": config.to_dict()["model"], "batch_sequences": config.train.batch_sequences},
        "precision": stepper.precision,
        "compiled": stepper.note is None and config.train.compile == "on",
        "sequences_at_once": stepper.micro_batch,
        "step_seconds": {"median": seconds, "all": steps_took},
        "tokens_per_second": stepper.tokens_per_step / seconds,
        "products": {
            "seconds": product_seconds,
            "share": product_seconds / seconds,
            "operations": operations,
            "operations_per_second": operations / product_seconds,
            "kinds": len(products),
        },
        "milliseconds_by_group": groups,
    }


def profile(step: Callable[[], float], half: bool) -> tuple[dict[str, float], Counter[Product]]:
    """One step under torch's profiler: milliseconds of each group, and how often each matrix product is computed."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as seen:
        step()
    groups: dict[str, float] = defaultdict(float)
    products: Counter[Product] = Counter()
    for event in seen.events():
        groups[group_of(callers(event))] += event.self_cpu_time_total / 1e3
        if event.name in PRODUCTS:
            left, right = [tuple(shape) for shape in event.input_shapes if len(shape) > 1][-2:]
            products[Product(event.name, left, right, half)] += 1
    return dict(sorted(groups.items(), key=lambda item: -item[1])), products


def callers(event: Any) -> Iterable[str]:
    """The names of an operation and of what called it, the innermost first."""
    while event is not None:
        yield event.name
        event = event.cpu_parent


def group_of(names: Iterable[str]) -> str:
    """The group of an operation that has, with its callers, these names.

    >>> group_of(["aten::bmm", "_AttendBackward"]), group_of(["aten::exp"])
    ('attention products', 'other')
    """
    names = list(names)
    found = next((group for group, words in GROUPS if any(name.startswith(words) for name in names)), "other")
    return f"{found} products" if found in ("attention", "optimizer") and names[0] in PRODUCTS else found


def seconds_of(product: Product, at_least: float) -> float:
    """Median time of a product alone, repeated for so long."""
    dtype = torch.bfloat16 if product.half else torch.float32
    left, right = torch.randn(product.left).to(dtype), torch.randn(product.right).to(dtype)
    multiply = torch.mm if left.ndim == 2 else torch.bmm
    took: list[float] = []
    while len(took) < 3 or sum(took) < at_least:
        begin = time.perf_counter()
        multiply(left, right)
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def show(result: dict[str, Any]) -> None:
    """The profile as a table."""
    groups, products = result["milliseconds_by_group"], result["products"]
    total = sum(groups.values())
    for group, milliseconds in groups.items():
        print(f"{group:<22}{milliseconds:>10.1f} ms  {milliseconds / total:>6.1%}")
    print(f"{'profiled':<22}{total:>10.1f} ms")
    seconds = result["step_seconds"]["median"]
    print(f"\na step without the profiler {seconds * 1e3:,.1f} ms, {result['tokens_per_second']:,.0f} tokens/s")
    rate = products["operations_per_second"] / 1e9
    print(
        f"its matrix products alone {products['seconds'] * 1e3:,.1f} ms at {rate:.0f} GFLOP/s in "
        f"{result['precision']}: {products['share']:.1%} of it"
    )


if __name__ == "__main__":
    main()
