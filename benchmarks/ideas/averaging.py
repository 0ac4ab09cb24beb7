"""An exponential moving average of the weights, which the run ends with in place of its last weights.

It takes the noise of single steps out (Polyak and Juditsky 1992; Izmailov et al. 2018), as a falling learning rate
does; so it is tried beside the fall and in its place (Hägele et al. 2024, "Scaling laws and compute-optimal training
beyond fixed training durations"). The model is the base's own kind.
"""

from functools import partial

import torch
from torch import Tensor

from benchmarks.ideas.idea import Idea, Update, wrap_update
from nanogpt.training.trainer import Trainer


def average_weights(trainer: Trainer, share: float | None = None, decay: float = 0.0) -> None:
    """Average with a memory of `share` of the run's steps, else with `decay`; the last step leaves the average."""
    steps = trainer.plan.total_steps
    if share is not None:
        decay = max(0.0, 1 - 1 / (share * steps))
    weights: list[Tensor] = [p for p in trainer.model.parameters() if p.requires_grad]
    averages: list[Tensor] = []

    def update(before: Update, step: int, rate: float) -> Tensor:
        found = before(step, rate)
        with torch.no_grad():
            if not averages:  # the first weights are random, and have no part in it
                averages.extend(p.clone() for p in weights)
            torch._foreach_lerp_(averages, weights, 1 - decay)
            if step == steps - 1:
                torch._foreach_copy_(weights, averages)
        return found

    wrap_update(trainer.stepper, update)


IDEAS = (
    Idea(name="average of weights, of 2 % of the run", in_qwen3=True, change=partial(average_weights, share=0.02)),
    Idea(name="average of weights, of 5 % of the run", in_qwen3=True, change=partial(average_weights, share=0.05)),
    Idea(
        name="average of weights, of 10 %, rate down to a third",
        in_qwen3=True,
        settings={"final_lr": 0.33},
        change=partial(average_weights, share=0.1),
    ),
)
