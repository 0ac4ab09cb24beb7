"""What changes the weights: AdamW over parameter groups, and the learning rate as a function of progress."""

import torch
from torch import nn

from nanogpt.config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019): matrices and embeddings decay, biases and norms do not.

    Every trained parameter is in exactly one group; a weight that two modules share is there once.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (float(config.beta1), float(config.beta2))  # torch refuses a whole number beside a fraction
    # One kernel for all parameters: on a CPU a third of the step of a small model otherwise goes to this loop.
    fused = {p.device.type for p in parameters} <= {"cpu", "cuda"}
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=fused)


def learning_rate(before: float, after: float, config: TrainConfig) -> float:
    """The learning rate of the step that takes the run's progress from `before` to `after`, both in [0, 1].

    It rises in a line over the first `warmup` of the run, holds, and falls in a line to `final_lr` of itself over
    the last `decay`. In progress, not steps, so that a run whose length is changed on the way keeps its shape.

    >>> config = TrainConfig(learning_rate=1.0, warmup=0.25, decay=0.5)
    >>> [learning_rate(step / 8, (step + 1) / 8, config) for step in range(8)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    rise = min(1.0, after / config.warmup) if config.warmup else 1.0
    fall = min(1.0, (1 - before) / config.decay) if config.decay else 1.0
    return config.learning_rate * min(rise, config.final_lr + (1 - config.final_lr) * fall)
