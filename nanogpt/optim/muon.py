"""Muon (Jordan et al. 2024): momentum whose direction is made orthogonal, for the matrices inside the blocks.

A gradient's matrix is mostly a few large directions; its nearest orthogonal matrix moves all directions alike. It is
found by Newton-Schulz iterations, which are matrix products alone; all matrices of one shape go through them together,
because a matrix at a time would cost more than the model's own step at small sizes.
"""

from collections import defaultdict

import torch
from torch import Tensor

from nanogpt.optim.groups import Group
from nanogpt.parallel.sharding import share_of, whole

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic a s + b s^3 + c s^5 (Jordan et al. 2024): steep at 0, and it takes singular values to about 1."""
ITERATIONS = 5
FIRST_MOMENTUM = 0.85
RISE = 300


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


class Muon:
    """Nesterov's momentum, made orthogonal, and decoupled weight decay.

    A parameter that holds several matrices, one below the other, is in a group with their `rows`: each is a matrix of
    its own. An update's spectral norm is the learning rate times sqrt(max(1, rows / columns)), so that one learning
    rate serves every width (Yang et al. 2023, "A spectral condition for feature learning").
    """

    state_names = ("momentum",)

    def __init__(self, groups: list[Group], momentum: float, precision: torch.dtype = torch.float32) -> None:
        """`precision` is the number format of the iterations."""
        self.groups, self.momentum, self.precision = groups, momentum, precision
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, step: int, rate: float) -> None:
        """Update number `step` (from 0) of every parameter that has a gradient, by this learning rate."""
        momentum = momentum_at(step, self.momentum)
        updates: dict[Tensor, Tensor] = {}
        alike: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for group in self.groups:
            for p in group.parameters:
                if p.grad is not None:
                    updates[p] = whole(self._advance(p, p.grad, momentum))
                    for part in updates[p].split(group.rows):
                        wide = part if part.size(0) <= part.size(1) else part.mT
                        alike[tuple(wide.shape)].append(wide)
        for parts in alike.values():
            for part, direction in zip(parts, orthogonalise(torch.stack(parts).to(self.precision))):
                part.copy_(direction)  # the parts are views of the updates
        for group in self.groups:
            for p in group.parameters:
                if p in updates:
                    _apply(p, updates[p], group, rate * group.rate)

    def _advance(self, p: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        """The running mean of the gradient, and a look ahead of it."""
        if p not in self.state:
            self.state[p] = {"momentum": torch.zeros_like(p)}
        mean = self.state[p]["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum)


def momentum_at(step: int, momentum: float) -> float:
    """Momentum rises in a line to its value, over the first `RISE` steps: early gradients are soon out of date.

    >>> [round(momentum_at(step, 0.95), 2) for step in (0, 150, 300, 1000)]
    [0.85, 0.9, 0.95, 0.95]
    """
    first = min(FIRST_MOMENTUM, momentum)
    return first + (momentum - first) * min(1.0, step / RISE)


def _apply(p: Tensor, update: Tensor, group: Group, rate: float) -> None:
    for part in update.split(group.rows):
        part.mul_(max(1, part.size(0) / part.size(1)) ** 0.5)
    p.mul_(1 - rate * group.weight_decay)
    p.add_(share_of(update, p), alpha=-rate)
