"""Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"): orthogonalised momentum.

A gradient matrix has a few large singular values, so an update moves the weights along a few directions. Muon takes the
nearest semi-orthogonal matrix, which moves all directions alike; Newton-Schulz iterations find it by matrix products
alone. Matrices of one shape are iterated as a batch: one at a time would cost more than a small model's other work.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nanogpt.optim.adamw import QuickOptimizer
from nanogpt.parallel.world import full_tensor, shard_like

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic a s + b s^3 + c s^5 (Jordan et al. 2024): steep at 0, it brings singular values close to 1."""


def orthogonalise(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Return approximately the nearest semi-orthogonal matrices, (N, rows, columns), singular values from 0.7 to 1.2.

    Newton-Schulz: X <- a X + (b A + c A^2) X with A = X X'. Wide matrices are cheaper: give rows <= columns.
    """
    a, b, c = COEFFICIENTS
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)  # no singular value above 1
    for _ in range(iterations):
        square = x @ x.mT  # (N, rows, rows)
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)  # (N, rows, rows)
        x = torch.baddbmm(x, polynomial, x, beta=a)  # (N, rows, columns)
    return x


class Muon(QuickOptimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay.

    An update's spectral norm is the learning rate times sqrt(max(1, rows / columns)), so that one learning rate serves
    every width (Yang et al. 2023, "A spectral condition for feature learning").

    A group's `rows` are those of the matrices that lie below each other in each of its parameters (queries, keys and
    values, for example); each is orthogonalised by itself, in the number format `precision`.
    """

    state_names = ("momentum",)

    def __init__(
        self,
        params: list[dict[str, Any]],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.precision = precision

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        updates: dict[Tensor, Tensor] = {}
        same_shape: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    updates[p] = full_tensor(self._nesterov(p, group["momentum"]))
                    for matrix in updates[p].split(group["rows"]):
                        wide = matrix if matrix.size(0) <= matrix.size(1) else matrix.mT
                        same_shape[tuple(wide.shape)].append(wide)
        for matrices in same_shape.values():
            for matrix, orthogonal in zip(matrices, orthogonalise(torch.stack(matrices).to(self.precision))):
                matrix.copy_(orthogonal)  # into its update, of which `matrix` is a view
        for group in self.param_groups:
            for p in group["params"]:
                if p in updates:
                    for matrix in updates[p].split(group["rows"]):
                        matrix.mul_(max(1, matrix.size(0) / matrix.size(1)) ** 0.5)
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(shard_like(updates[p], p), alpha=-group["lr"])

    def _nesterov(self, p: Tensor, momentum: float) -> Tensor:
        """Update the running mean of the gradient; return the gradient moved towards it."""
        assert p.grad is not None
        if not self.state[p]:
            self.state[p] = {"momentum": torch.zeros_like(p)}
        mean = self.state[p]["momentum"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(mean, momentum)
