"""The optimizers of a training and their parameter groups."""

from typing import Any

import torch
from torch import Tensor, nn

from nanogpt.config import TrainConfig
from nanogpt.model.gpt import GPT, Attention, FeedForward
from nanogpt.optim.adamw import AdamW
from nanogpt.optim.muon import Muon


def make_optimizers(model: nn.Module, config: TrainConfig, precision: str = "float32") -> list[torch.optim.Optimizer]:
    """Return the optimizers of a model, each trained parameter in exactly one group of one of them.

    With `optimizer = "muon"` Muon updates the matrices inside the blocks, its iterations in `precision`; AdamW updates
    the rest. Matrices and embeddings decay, biases and norm gains only with `weight_decay_on = "all"`.
    """
    matrices = block_matrices(model) if config.optimizer == "muon" else {}
    rest: list[Tensor] = [p for p in model.parameters() if p.requires_grad and p not in matrices]
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        groups = [
            {"params": [p for p in matrices if matrices[p] == rows], "rows": rows, "peak_momentum": config.momentum}
            for rows in dict.fromkeys(matrices.values())
        ]
        optimizers.append(Muon(groups, weight_decay=config.weight_decay, precision=getattr(torch, precision)))
    if rest:
        optimizers.append(AdamW(_adamw_groups(model, rest, config), betas=(config.beta1, config.beta2)))
    return optimizers


def block_matrices(model: nn.Module) -> dict[Tensor, tuple[int, ...]]:
    """Return the trained matrices inside the blocks, with the rows of each matrix that a parameter is made of."""
    found: dict[Tensor, tuple[int, ...]] = {}
    if not isinstance(model, GPT):
        return found
    for module in model.blocks.modules():
        if isinstance(module, Attention):
            queries, keys = module.n_head * module.head_size, module.n_kv_head * module.head_size
            found[module.qkv.weight] = (queries, keys, keys)
        elif isinstance(module, FeedForward) and module.activation == "swiglu":
            found[module.up.weight] = (module.down.in_features,) * 2
    for p in model.blocks.parameters():
        if p.ndim == 2 and p not in found:  # also those of a block of your own
            found[p] = (p.size(0),)
    return {p: rows for p, rows in found.items() if p.requires_grad}


def _adamw_groups(model: nn.Module, parameters: list[Tensor], config: TrainConfig) -> list[dict[str, Any]]:
    """Group parameters by learning rate and weight decay."""
    embeddings = {p for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    head = set(model.lm_head.parameters()) - embeddings if isinstance(model, GPT) else set()
    decays_all = config.weight_decay_on == "all" and not (isinstance(model, GPT) and model.config.format == 1)
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for p in parameters:
        scale = 1.0 if p.ndim >= 2 else config.vector_rate
        if p in embeddings:
            scale = config.embedding_rate
        elif p in head:
            scale = config.head_rate
        groups.setdefault((scale, config.weight_decay if p.ndim >= 2 or decays_all else 0.0), []).append(p)
    return [{"params": params, "lr_scale": scale, "weight_decay": decay} for (scale, decay), params in groups.items()]
