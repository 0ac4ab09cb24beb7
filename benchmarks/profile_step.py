"""Where the time of a training step goes, and how much of it its matrix products alone would take.

    python -m benchmarks.profile_step --size nanogpt

torch's profiler times the operations of three steps; those of the median step are grouped by purpose. Then each matrix
product is computed alone, repeatedly, on tensors of the same shapes and number format that are in the cache. The
reported share is the time of all products at that speed over the time of a step without the profiler.
"""

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.record import new_parser, parse
from nanogpt.config import Config, load_preset
from nanogpt.data.tokenize import Dataset
from nanogpt.parallel.world import ALONE
from nanogpt.training.trainer import TrainStep, build_model

VOCABULARY = 66
SIZES: dict[str, dict[str, Any]] = {
    "nanogpt": {  # its own recipe for a GPU, with the exact GELU
        **{"preset": "gpt2", "n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "batch_size": 64},
        **{"dropout": 0.2, "bias": False, "qkv_bias": False, "activation": "gelu"},
    },
    "lecture": {"preset": "lecture"},
    "small": {"n_layer": 3, "n_head": 5, "n_embd": 160, "block_size": 64, "batch_size": 16},
}
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
GROUPS = (  # an operation belongs to the first group with a prefix of its name, or of its callers' names
    ("optimizer", ("Optimizer.step", "aten::_foreach", "aten::_fused_adam")),
    ("attention", ("_Attend", "autograd::engine::evaluate_function: _Attend", "aten::scaled_dot_product")),
    ("matrix products", PRODUCTS),
    ("dropout", ("_Drop",)),
    ("norms", ("_Normalise", "aten::native_layer_norm", "aten::rms_norm")),
    ("activation", ("aten::gelu", "aten::silu", "aten::relu", "aten::threshold_backward")),
    ("loss", ("aten::cross_entropy", "aten::_log_softmax", "aten::nll_loss", "NllLoss", "LogSoftmax")),
    ("casts and copies", ("aten::copy_", "aten::cat", "aten::clone", "aten::_to_copy")),
)
SECONDS_PER_PRODUCT = 0.05
PROFILED_STEPS = 3


class Product(NamedTuple):
    """A matrix product: its operation, and the shapes of its two matrices or batches of matrices."""

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
    parser = new_parser(__doc__, steps=5)
    parser.add_argument("--size", choices=SIZES, default="nanogpt")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--compile", action="store_true")
    options, parts = parse(parser, "profile_step", parts=False)
    parts.name += f"_{options.size}" + (f"_{options.precision}" if options.precision != "auto" else "")
    parts.name += "_compiled" if options.compile else ""
    settings = SIZES[options.size] | {"precision": options.precision, "compile": "on" if options.compile else "off"}
    config = load_preset(settings.pop("preset", "modern")).override(**settings, vocab_size=VOCABULARY)
    parts.write({"size": options.size, **measure(config, options.steps)})


def measure(config: Config, steps: int) -> dict[str, Any]:
    """Return a step's profile: its seconds, milliseconds by group, and the products alone."""
    ids = np.random.default_rng(1).integers(0, config.model.vocab_size - 1, 200_000).astype(np.uint16)
    train_step = TrainStep(build_model(config), config.train, Dataset(train=ids, val=ids[:2], key=""), ALONE)
    numbers = iter(range(2 + PROFILED_STEPS + steps))

    def step() -> float:
        begin = time.perf_counter()
        train_step(next(numbers), 1e-4).tolist()
        return time.perf_counter() - begin

    step(), step()  # the optimizers' state, and what else is made once
    profiles = [profile(step, half=train_step.precision == "bfloat16") for _ in range(PROFILED_STEPS)]
    groups, products = sorted(profiles, key=lambda one: sum(one[0].values()))[PROFILED_STEPS // 2]
    step_times, product_times = [], defaultdict(list)
    for _ in range(steps):
        step_times.append(step())
        for product in products:
            product_times[product].append(product_seconds(product, SECONDS_PER_PRODUCT / steps))
    seconds = statistics.median(step_times)
    alone = sum(statistics.median(product_times[product]) * count for product, count in products.items())
    operations = sum(product.operations * count for product, count in products.items())
    return {
        "config": {"model": config.to_dict()["model"], "batch_sequences": config.train.batch_sequences},
        "precision": train_step.precision,
        "compiled": train_step.note is None and config.train.compile == "on",
        "sequences_at_once": train_step.micro_batch,
        "step_seconds": {"median": seconds, "all": step_times},
        "tokens_per_second": config.tokens_per_step / seconds,
        "products": {
            "seconds": alone,
            "share": alone / seconds,
            "operations": operations,
            "operations_per_second": operations / alone,
            "kinds": len(products),
        },
        "milliseconds_by_group": groups,
    }


def profile(step: Callable[[], float], half: bool) -> tuple[dict[str, float], Counter[Product]]:
    """Return the milliseconds of each group in a step, and the count of each matrix product."""
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
    """Yield the names of an operation and its callers, the innermost first."""
    while event is not None:
        yield event.name
        event = event.cpu_parent


def group_of(names: Iterable[str]) -> str:
    """Return the group of an operation by its name and its callers'.

    >>> group_of(["aten::bmm", "_AttendBackward"]), group_of(["aten::exp"])
    ('attention products', 'other')
    """
    names = list(names)
    found = next((group for group, words in GROUPS if any(name.startswith(words) for name in names)), "other")
    return f"{found} products" if found in ("attention", "optimizer") and names[0] in PRODUCTS else found


def product_seconds(product: Product, at_least: float) -> float:
    """Return the median time of a product alone, repeated for at least this long."""
    dtype = torch.bfloat16 if product.half else torch.float32
    left, right = torch.randn(product.left).to(dtype), torch.randn(product.right).to(dtype)
    multiply = torch.mm if left.ndim == 2 else torch.bmm
    took: list[float] = []
    while len(took) < 3 or sum(took) < at_least:
        begin = time.perf_counter()
        multiply(left, right)
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


if __name__ == "__main__":
    main()
