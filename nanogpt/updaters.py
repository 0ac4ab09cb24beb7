"""What every optimizer here has, and AdamW.

Not torch.optim: making the first of its optimizers imports torch's compiler, and with it a thousand modules, which
takes as long as everything else before the first step.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Updater:
    """Groups of parameters, each with its settings, and what is kept for a parameter from step to step."""

    fused = False
    """Whether one kernel updates all parameters, and counts the steps on their device."""

    def __init__(self, groups: Sequence[dict[str, Any]], defaults: dict[str, Any]) -> None:
        """`groups` have `params` and whatever of the settings differs from `defaults`."""
        self.param_groups = [defaults | group for group in groups]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    def step(self) -> None:
        """One update of every parameter that has a gradient."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None


class AdamW(Updater):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2), bit for bit as torch.optim.AdamW.

    One kernel for all parameters where torch has it: on a CPU a third of the step of a small model otherwise goes to
    the loop over them.
    """

    def __init__(
        self, groups: Sequence[dict[str, Any]], *, lr: float, betas: tuple[float, float], eps: float = 1e-8
    ) -> None:
        """Each group has `params` and `weight_decay`."""
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps})
        devices = {p.device.type for group in self.param_groups for p in group["params"]}
        self.fused = devices <= {"cpu", "cuda"}

    @torch.no_grad()
    def step(self) -> None:
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            for p in parameters:
                if not self.state[p]:
                    count = torch.zeros((), device=p.device if self.fused else "cpu")
                    self.state[p] = {"step": count, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
                self.state[p]["step"] += 1
            if not self.fused:
                for p in parameters:
                    self._update(p, group)
            elif parameters:
                self._update_together(parameters, group)

    def _update_together(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        states = [self.state[p] for p in parameters]
        gradients = [p.grad for p in parameters if p.grad is not None]
        beta1, beta2 = group["betas"]
        torch._fused_adamw_(
            parameters,
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _update(self, p: Tensor, group: dict[str, Any]) -> None:
        assert p.grad is not None
        state, rate, (beta1, beta2) = self.state[p], group["lr"], group["betas"]
        step = state["step"].item()
        state["exp_avg"].lerp_(p.grad, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
        spread = (state["exp_avg_sq"].sqrt() / (1 - beta2**step) ** 0.5).add_(group["eps"])
        p.mul_(1 - rate * group["weight_decay"])
        p.addcdiv_(state["exp_avg"], spread, value=-rate / (1 - beta1**step))
