"""What changes the weights: Muon and AdamW over parameter groups, and the learning rate as a function of progress."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nanogpt.config import TrainConfig
from nanogpt.model.gpt import GPT, Attention, FeedForward
from nanogpt.optim.adamw import AdamW
from nanogpt.optim.groups import Group
from nanogpt.optim.muon import Muon


class Optimizer:
    """Muon, AdamW, or both as one, each with its own parameters."""

    def __init__(self, parts: Sequence[Muon | AdamW]) -> None:
        self.parts = list(parts)

    @property
    def groups(self) -> list[Group]:
        """The groups of all parts."""
        return [group for part in self.parts for group in part.groups]

    def owner(self, p: Tensor) -> Muon | AdamW:
        """The part that updates a parameter."""
        return next(part for part in self.parts for group in part.groups if any(p is q for q in group.parameters))

    def clear(self) -> None:
        """Forget what was gathered from earlier steps."""
        for part in self.parts:
            part.state.clear()

    def step(self, step: int, rate: float) -> None:
        """Update number `step` (from 0), by this learning rate where a group's own `rate` is 1."""
        for part in self.parts:
            part.step(step, rate)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.groups:
            for p in group.parameters:
                p.grad = None


def make_optimizer(model: nn.Module, config: TrainConfig, precision: str = "float32") -> Optimizer:
    """Every trained parameter in exactly one group; a weight that two modules share is there once.

    With `muon` the matrices inside the blocks are Muon's, its iterations in `precision`; all else is AdamW's. Matrices
    and embeddings decay, biases and norms do not.
    """
    matrices = matrices_of(model) if config.optimizer == "muon" else {}
    rest: list[Tensor] = [p for p in model.parameters() if p.requires_grad and p not in matrices]
    parts: list[Muon | AdamW] = []
    if matrices:
        alike = {rows: [p for p in matrices if matrices[p] == rows] for rows in matrices.values()}
        groups = [Group(found, weight_decay=config.weight_decay, rows=rows) for rows, found in alike.items()]
        parts.append(Muon(groups, config.momentum, getattr(torch, precision)))
    if rest:
        parts.append(AdamW(_adamw_groups(model, rest, config), (config.beta1, config.beta2)))
    return Optimizer(parts)


def matrices_of(model: nn.Module) -> dict[Tensor, tuple[int, ...]]:
    """The trained matrices inside the blocks, and the rows of each one that a parameter is put together from."""
    found: dict[Tensor, tuple[int, ...]] = {}
    if not isinstance(model, GPT):
        return found
    for module in model.blocks.modules():
        if isinstance(module, Attention):
            queries, keys = module.n_head * module.size, module.kv_heads * module.size
            found[module.qkv.weight] = (queries, keys, keys)
        elif isinstance(module, FeedForward) and module.activation == "swiglu":
            found[module.up.weight] = (module.down.in_features,) * 2
    for p in model.blocks.parameters():
        if p.ndim == 2 and p not in found:  # also those of a block of one's own
            found[p] = (p.size(0),)
    return {p: rows for p, rows in found.items() if p.requires_grad}


def _adamw_groups(model: nn.Module, parameters: list[Tensor], config: TrainConfig) -> list[Group]:
    """Each kind of parameter with its learning rate and decay."""
    embeddings = {p for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    head = set(model.lm_head.parameters()) - embeddings if isinstance(model, GPT) else set()
    kinds: dict[tuple[float, float], list[Tensor]] = {}
    for p in parameters:
        matrix = p.ndim >= 2
        rate = 1.0 if matrix else config.vector_rate
        if p in embeddings:
            rate = config.embedding_rate
        elif p in head:
            rate = config.head_rate
        kinds.setdefault((rate, config.weight_decay if matrix else 0.0), []).append(p)
    return [Group(alike, rate=rate, weight_decay=decay) for (rate, decay), alike in kinds.items()]


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
