"""What changes the weights: Muon and AdamW over parameter groups, and the learning rate as a function of progress."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nanogpt.config import TrainConfig
from nanogpt.model import GPT, Attention, FeedForward
from nanogpt.muon import Muon
from nanogpt.updaters import AdamW, Updater


class Optimizer:
    """Several optimizers as one, each with its own parameters."""

    def __init__(self, parts: Sequence[Updater]) -> None:
        self.parts = list(parts)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    def owner(self, p: Tensor) -> Updater:
        """The part that updates a parameter."""
        return next(part for part in self.parts for group in part.param_groups if any(p is q for q in group["params"]))

    def clear(self) -> None:
        """Forget what was gathered from earlier steps."""
        for part in self.parts:
            part.state.clear()

    def step(self, rate: float) -> None:
        """Update the weights, with this learning rate for the groups whose own `rate` is 1."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate * group["rate"]
            part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad()


def state_names(part: Updater) -> tuple[str, ...]:
    """What a part keeps for each of its parameters."""
    return ("momentum",) if isinstance(part, Muon) else ("exp_avg", "exp_avg_sq", "step")


def make_optimizer(model: nn.Module, config: TrainConfig, precision: str = "float32") -> Optimizer:
    """Every trained parameter in exactly one group; a weight that two modules share is there once.

    With `muon` the matrices inside the blocks are Muon's, its iterations in `precision`; all else is AdamW's
    (Loshchilov and Hutter 2019). Matrices and embeddings decay, biases and norms do not.
    """
    matrices = matrices_of(model) if config.optimizer == "muon" else {}
    rest: list[Tensor] = [p for p in model.parameters() if p.requires_grad and p not in matrices]
    parts: list[Updater] = []
    if matrices:
        muon = Muon(
            list(matrices.items()),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            precision=getattr(torch, precision),
        )
        for group in muon.param_groups:
            group["rate"] = 1.0
        parts.append(muon)
    if rest:
        parts.append(_adamw(model, rest, config))
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


def _adamw(model: nn.Module, parameters: list[Tensor], config: TrainConfig) -> AdamW:
    """AdamW for these parameters, with the learning rate of each kind."""
    embeddings = {p for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    head = set(model.lm_head.parameters()) - embeddings if isinstance(model, GPT) else set()
    kinds: dict[tuple[float, float], list[Tensor]] = {}
    for p in parameters:
        rate = config.embedding_rate if p in embeddings else config.head_rate if p in head else config.vector_rate
        if p.ndim >= 2 and p not in embeddings and p not in head:
            rate = 1.0
        kinds.setdefault((rate, config.weight_decay if p.ndim >= 2 else 0.0), []).append(p)
    groups = [{"params": params, "rate": rate, "weight_decay": decay} for (rate, decay), params in kinds.items()]
    betas = (float(config.beta1), float(config.beta2))  # torch refuses a whole number beside a fraction
    return AdamW(groups, lr=config.learning_rate, betas=betas)


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
