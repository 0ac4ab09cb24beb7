"""Muon (Jordan et al. 2024): momentum whose direction is made orthogonal, for the matrices inside the blocks.

A gradient's matrix is mostly a few large directions; its nearest orthogonal matrix moves all directions alike. It is
found by Newton-Schulz iterations, which are matrix products alone; all matrices of one shape go through them together,
because a matrix at a time would cost more than the model's own step at small sizes.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nanogpt.parallel import share_of, whole
from nanogpt.updaters import Updater

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic a s + b s^3 + c s^5 (Jordan et al. 2024): steep at 0, and it takes singular values to about 1."""
ITERATIONS = 5


def orthogonalise(matrices: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """About the nearest semi-orthogonal matrices: (N, rows, columns) -> the same, singular values within 0.7 to 1.2.

    Newton-Schulz: X <- a X + (b A + c A^2) X with A = X X'. Wide matrices are cheaper: give rows <= columns.
    """
    a, b, c = COEFFICIENTS
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)  # no singular value above 1
    for _ in range(iterations):
        square = x @ x.mT  # (N, rows, rows)
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)  # (N, rows, rows)
        x = torch.baddbmm(x, polynomial, x, beta=a)  # (N, rows, columns)
    return x


class Muon(Updater):
    """Nesterov's momentum, made orthogonal, and decoupled weight decay.

    A parameter that holds several matrices, one below the other, gives their rows in its group's `parts`: each is a
    matrix of its own. An update's spectral norm is `lr` sqrt(max(1, rows / columns)), so that one learning rate serves
    every width (Yang et al. 2023, "A spectral condition for feature learning").
    """

    def __init__(
        self,
        parameters: Sequence[tuple[Tensor, tuple[int, ...]]],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        precision: torch.dtype = torch.float32,
    ) -> None:
        """`parameters` with the rows of their matrices; `precision` is the number format of the iterations."""
        groups = [
            {"params": [p for p, rows in parameters if rows == parts], "parts": parts}
            for parts in dict.fromkeys(rows for _, rows in parameters)
        ]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.precision = precision

    @torch.no_grad()
    def step(self) -> None:
        """One update of every parameter that has a gradient."""
        updates: dict[Tensor, Tensor] = {}
        parts: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    updates[p] = whole(self._advance(p, p.grad, group["momentum"]))
                    for part in updates[p].split(group["parts"]):
                        wide = part if part.size(0) <= part.size(1) else part.mT
                        parts[tuple(wide.shape)].append(wide)
        for alike in parts.values():
            for part, direction in zip(alike, orthogonalise(torch.stack(alike).to(self.precision))):
                part.copy_(direction)  # the parts are views of the updates
        for group, p in self._with_groups():
            if p in updates:
                self._apply(p, updates[p], group)

    def _advance(self, p: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        """The running mean of the gradient, and a look ahead of it."""
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        mean: Tensor = state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum)

    def _with_groups(self) -> Iterator[tuple[dict[str, Any], Tensor]]:
        for group in self.param_groups:
            for p in group["params"]:
                yield group, p

    @staticmethod
    def _apply(p: Tensor, update: Tensor, group: dict[str, Any]) -> None:
        for part in update.split(group["parts"]):
            part.mul_(max(1, part.size(0) / part.size(1)) ** 0.5)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(share_of(update, p), alpha=-group["lr"])
