"""Learning rate and momentum, as functions of progress and step.

The learning rate follows progress, not steps: a run whose length changes keeps the shape of its schedule.
"""

import math
from collections.abc import Iterable

import torch

from nanogpt.config import TrainConfig

WARMUP_MOMENTUM, WARMUP_STEPS = 0.85, 300


def learning_rate(before: float, after: float, config: TrainConfig) -> float:
    """Return the learning rate of the step that takes the run's progress from `before` to `after`, both in [0, 1].

    It rises linearly over the first `warmup` of the run, stays, and falls over the last `decay` of it towards
    `final_lr` of its peak: along a line, or half a cosine (with `decay` = 1 - `warmup` nanoGPT's schedule).

    >>> config = TrainConfig(learning_rate=1.0, warmup=0.25, decay=0.5)
    >>> [learning_rate(step / 8, (step + 1) / 8, config) for step in range(8)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    rise = min(1.0, after / config.warmup) if config.warmup else 1.0
    fall = min(1.0, (1 - before) / config.decay) if config.decay else 1.0
    fall = (1 - math.cos(math.pi * fall)) / 2 if config.schedule == "cosine" else fall
    return config.learning_rate * min(rise, config.final_lr + (1 - config.final_lr) * fall)


def muon_momentum(step: int, peak: float) -> float:
    """Return Muon's momentum at a step: it rises linearly over the first steps, while gradients change quickly.

    >>> [round(muon_momentum(step, 0.95), 2) for step in (0, 150, 300, 1000)]
    [0.85, 0.9, 0.95, 0.95]
    """
    first = min(WARMUP_MOMENTUM, peak)
    return first + (peak - first) * min(1.0, step / WARMUP_STEPS)


def apply_schedule(optimizers: Iterable[torch.optim.Optimizer], step: int, lr: float) -> None:
    """Set the learning rate, and Muon's momentum, of all parameter groups for a step.

    A group's `lr_scale` multiplies the learning rate; a group of an optimizer of your own needs none.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
            if "peak_momentum" in group:
                group["momentum"] = muon_momentum(step, group["peak_momentum"])
