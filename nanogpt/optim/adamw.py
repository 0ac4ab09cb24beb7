"""AdamW (Loshchilov and Hutter 2019, "Decoupled weight decay regularization"), on torch's own fused kernel."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class QuickOptimizer(torch.optim.Optimizer):
    """An optimizer that is constructed without importing torch's compiler.

    `torch.optim.Optimizer.add_param_group` is decorated to be left uncompiled, which imports torch._dynamo (800
    modules, 1.5 to 3 s on two cores). A short training should not wait for that: the undecorated method is called.
    """

    state_names: tuple[str, ...]
    """keys of a parameter's state"""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, as torch's method does."""
        add = torch.optim.Optimizer.add_param_group
        getattr(add, "__wrapped__", add)(self, param_group)


class AdamW(QuickOptimizer):
    """Adam with decoupled weight decay. torch's class does the same by the same kernel, and imports the compiler."""

    state_names = ("exp_avg", "exp_avg_sq", "step")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        # One kernel for all parameters: a Python loop over them takes a third of a small model's step on a CPU.
        self.fused = {p.device.type for group in self.param_groups for p in group["params"]} <= {"cpu", "cuda"}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            states = [self._state(p) for p in params]
            means, squares, steps = ([state[name] for state in states] for name in self.state_names)
            adamw(
                params, [p.grad for p in params], means, squares, [], steps,
                lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1], eps=group["eps"],
                weight_decay=group["weight_decay"], amsgrad=False, maximize=False, fused=self.fused or None,
            )  # fmt: skip

    def _state(self, p: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[p]
        if not state:
            steps = torch.zeros((), device=p.device if self.fused else "cpu")  # the fused kernel reads it on the device
            state.update(exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p), step=steps)
        return state
