"""The speeds that a planner compares: which sizes are measured, how long, and which are estimated from another."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from nanogpt.config import Config
from nanogpt.model.parameters import count_parameters

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
        """Return the speed of a size, for a training of `seconds`.

        Dropout is not measured but costs `DROPOUT_COST`, except in attention, where it leaves the fused function.
        """
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
    return 6.0 * (count.matrices + head + attention) * config.train.batch_sequences * model.block_size
