"""How fast each size is, and how the time of a training is divided between updates, evaluations and compiling."""

import os
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import torch

from nanogpt.config import Config
from nanogpt.data.tokenize import Dataset
from nanogpt.model.parameters import count_parameters
from nanogpt.runs.plan import EVALUATIONS

ON_THE_WAY_SHARE = 0.06
"""Share of the time for all evaluations on the way."""
SAMPLES_SHARE = 0.03
FINAL_SHARE = 0.05
FEWEST_STEPS = 10
"""Planned even for a machine that seems too slow: the first steps show how fast it really is."""
FEWEST_TOKENS = 2048
"""Tokens that an evaluation on the way reads at least."""
COMPILE_SECONDS = 60.0
"""Time that `torch.compile` takes on a CPU. Measured on two busy cores: 40 for three layers, 96 for six large ones."""
COMPILE_SAVES = 0.05
"""Share of a step that compiling saves on a CPU. Measured: 0.04 to 0.08 of steps of 0.2 s, and 0.06 of 3 s."""
COMPILE_GAIN = 2.0
"""Compiling has to save this many times the time it takes, because both estimates are rough."""
GPU_SECONDS = 600.0
"""Shortest training that is compiled on a GPU."""
COMPILERS = ("c++", "g++", "clang++", "cl")
DROPOUT_COST = 1.1
"""Time of a step with dropout over one without, where attention has none. Measured on a CPU: 1.05 to 1.15."""
MOST_SECONDS = 6.0
"""Time for measuring all sizes, and never more than `MOST_SHARE` of the training."""
MOST_SHARE = 0.1


@dataclass(frozen=True)
class Speed:
    """Seconds that a machine takes with one size."""

    step: float
    """for an update"""
    read: float
    """for a token of an evaluation"""
    written: float
    """for a token of a sample"""

    def scaled(self, ratio: float) -> "Speed":
        """Multiply each time by `ratio`."""
        return Speed(self.step * ratio, self.read * ratio, self.written * ratio)


class Speeds:
    """The speed of each size, measured once (`nanogpt.training.speed`) and only while there is time.

    Then it is estimated from the last one measured, by operations: ask for sizes from small to large.
    """

    def __init__(self, measure: Callable[[Config], Speed]) -> None:
        self.measure = measure
        self.spent = 0.0
        """seconds that all measurements took"""
        self._known: dict[str, Speed] = {}
        self._last: tuple[float, Speed] | None = None  # operations of a step, and its speed

    def __call__(self, config: Config, seconds: float) -> Speed:
        """Return the speed of a size, for a training of `seconds`; dropout outside attention costs `DROPOUT_COST`."""
        if config.model.dropout and config.model.attention_dropout == 0.0:
            without = self(config.override(dropout=0.0), seconds)
            return replace(without, step=DROPOUT_COST * without.step)
        key = repr((config.model, config.train.batch_sequences, config.train.batch_size, config.train.precision))
        operations = step_operations(config)
        if key in self._known:
            return self._known[key]
        left = min(MOST_SECONDS, MOST_SHARE * seconds) - self.spent
        if self._last is not None:
            expected = self._last[1].scaled(operations / self._last[0])
            if 2 * expected.step > left:
                return expected
        began = time.perf_counter()
        self._known[key] = self.measure(config)
        self._last = operations, self._known[key]
        self.spent += time.perf_counter() - began
        return self._known[key]


def step_operations(config: Config) -> float:
    """Return the floating-point operations of an update: six per weight and token, and those of attention.

    Kaplan et al. 2020, "Scaling laws for neural language models", table 1. The embedding is a look-up.
    """
    model, count = config.model, count_parameters(config.model)
    head = model.vocab_size * model.n_embd
    attention = model.n_layer * model.block_size * model.n_head * model.head_channels  # causal: half of T x T
    return 6.0 * (count.matrices + head + attention) * config.tokens_per_step


def with_evaluations(config: Config, data: Dataset, seconds: float, speed: Speed, named: Collection[str]) -> Config:
    """Limit evaluations and samples to their share of the time; settings in `named` stay as they are."""
    on_the_way = int(ON_THE_WAY_SHARE * seconds / (EVALUATIONS + 1) / speed.read)
    written = max(0, int(SAMPLES_SHARE * seconds / EVALUATIONS / speed.written))  # reading may have taken all the time
    wanted = {
        "eval_tokens": min(config.train.eval_tokens, max(FEWEST_TOKENS, on_the_way)),
        "sample_tokens": min(config.train.sample_tokens, written),
    }
    limited = config.override(**{name: value for name, value in wanted.items() if name not in named})
    final = max(limited.train.eval_tokens, int(FINAL_SHARE * seconds / speed.read))
    if "final_eval_tokens" in named or final >= final_tokens(config, data):
        return limited
    return limited.override(final_eval_tokens=final)


def steps_within(config: Config, data: Dataset, seconds: float, speed: Speed) -> int:
    """Return how many steps fit, after all evaluations and samples; at least `FEWEST_STEPS`."""
    read = (EVALUATIONS + 1) * min(len(data.val), config.train.eval_tokens) + final_tokens(config, data)
    others = read * speed.read + EVALUATIONS * config.train.sample_tokens * speed.written
    return max(FEWEST_STEPS, int((seconds - others) / speed.step))


def final_tokens(config: Config, data: Dataset) -> int:
    """Return how many validation tokens the last evaluation reads."""
    return min(len(data.val), config.train.final_eval_tokens or len(data.val))


def with_compile(config: Config, seconds: float, speed: Speed, device: torch.device) -> tuple[Config, float, Speed]:
    """Decide `compile` where it is `auto`; return the config, the seconds that compiling takes, and the new speed."""
    if config.train.compile != "auto":
        return config, COMPILE_SECONDS if config.train.compile == "on" else 0.0, speed
    if device.type == "cuda":
        if seconds >= GPU_SECONDS:
            return config, COMPILE_SECONDS, speed
        return config.override(compile="off"), 0.0, speed
    saved = COMPILE_SAVES * (seconds - COMPILE_SECONDS)
    if device.type == "cpu" and saved > COMPILE_GAIN * COMPILE_SECONDS and has_compiler():
        return config.override(compile="on"), COMPILE_SECONDS, replace(speed, step=speed.step * (1 - COMPILE_SAVES))
    return config.override(compile="off"), 0.0, speed


def has_compiler() -> bool:
    """Return whether this machine has the C++ compiler that `torch.compile` needs on a CPU."""
    return bool(os.environ.get("CXX")) or any(shutil.which(name) for name in COMPILERS)
