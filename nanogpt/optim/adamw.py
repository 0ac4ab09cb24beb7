"""AdamW (Loshchilov and Hutter 2019), by torch's own kernels.

Not torch's class: making one imports torch's compiler, which takes as long as importing torch.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from nanogpt.optim.groups import Group

EPSILON = 1e-8


class AdamW:
    """Steps of equal size where a gradient keeps its sign, and decoupled weight decay."""

    state_names = ("exp_avg", "exp_avg_sq", "step")

    def __init__(self, groups: list[Group], betas: tuple[float, float]) -> None:
        self.groups, self.betas = groups, betas
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        # One kernel for all parameters: on a CPU a third of the step of a small model otherwise goes to this loop.
        self.fused = {p.device.type for group in groups for p in group.parameters} <= {"cpu", "cuda"}

    @torch.no_grad()
    def step(self, step: int, rate: float) -> None:
        """Update every parameter that has a gradient, by this learning rate."""
        beta1, beta2 = self.betas
        for group in self.groups:
            parameters, gradients = _with_gradients(group)
            states = [self._state(p) for p in parameters]
            means, squares, steps = ([state[name] for state in states] for name in self.state_names)
            options: dict[str, Any] = {"fused": True} if self.fused else {}
            adamw(
                parameters, gradients, means, squares, [], steps,
                lr=rate * group.rate, beta1=beta1, beta2=beta2, weight_decay=group.weight_decay, eps=EPSILON,
                amsgrad=False, maximize=False, **options,
            )  # fmt: skip

    def _state(self, p: Tensor) -> dict[str, Tensor]:
        if p not in self.state:
            count = torch.zeros((), device=p.device if self.fused else "cpu")  # the fused kernel reads it there
            self.state[p] = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p), "step": count}
        return self.state[p]


def _with_gradients(group: Group) -> tuple[list[Tensor], list[Tensor]]:
    pairs = [(p, p.grad) for p in group.parameters if p.grad is not None]
    return [p for p, _ in pairs], [gradient for _, gradient in pairs]
