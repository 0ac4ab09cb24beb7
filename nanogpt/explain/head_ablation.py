"""Head ablation: what changes when attention heads are switched off.

Zero ablation (Michel et al. 2019, "Are sixteen heads really better than one?"): the head's output is zero before the
projection; everything else stays as trained. It does not show what another head could take over.

Shapes: L layers, T time, H heads, V vocabulary.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt.errors import UserError, counted
from nanogpt.explain.hooks import Head, ablate_heads, as_input, evaluating, library_blocks, output_layer_inputs
from nanogpt.explain.predictions import MAX_LOGITS, log_probabilities
from nanogpt.model.gpt import GPT

MAX_OPERATIONS = 2 * 10**12
"""Work limit of `head_importance`: minutes on a small machine."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The change of one token's probability."""

    token: int
    before: float
    """probability in the whole model"""
    after: float
    """probability with the heads switched off"""

    @property
    def change(self) -> float:
        """The difference, positive where the token became likelier."""
        return self.after - self.before


def ablation_effects(
    model: GPT, ids: Sequence[int], off: Collection[Head], position: int = -1, count: int = 10
) -> list[Effect]:
    """Return how switching heads off changes the prediction at a position of ids (T,): the `count` largest changes."""
    library_blocks(model)
    as_input(model, ids)
    if not -len(ids) <= position < len(ids):
        raise UserError(f"there is no position {position} in {len(ids)} tokens: give 0 to {len(ids) - 1}")
    if count < 1:
        raise UserError(f"count is {count}; choose 1 or more")
    ids = ids[: position % len(ids) + 1]  # attention is causal: later tokens have no effect
    with evaluating(model):
        before = _next_probabilities(model, ids)
        with ablate_heads(model, off):
            after = _next_probabilities(model, ids)
    tokens = (after - before).abs().sort(descending=True, stable=True).indices[:count].tolist()
    return [Effect(token=token, before=float(before[token]), after=float(after[token])) for token in tokens]


def head_importance(model: GPT, ids: Sequence[int], watch: Callable[[int], object] = lambda passes: None) -> Tensor:
    """Return how much the mean loss over ids (T,) rises when each head alone is off, in nats per token, shape (L, H).

    `watch` gets the number of finished forward passes. Raises UserError above `MAX_OPERATIONS`.
    """
    L, H = len(library_blocks(model)), model.config.n_head
    as_input(model, ids)
    if len(ids) < 2:
        raise UserError(f"nothing to predict in {counted(len(ids), 'token')}; give a longer text")
    longest = MAX_OPERATIONS // (2 * model.parameter_count * (L * H + 1))  # two operations per weight and token
    if len(ids) > max(2, longest):
        raise UserError(f"{L * H + 1} passes of {len(ids):,} tokens take too long: give at most {max(2, longest):,}")
    rises = torch.zeros(L, H, dtype=torch.float64)
    with evaluating(model):
        whole = _mean_loss(model, ids)
        for number, (layer, head) in enumerate((layer, head) for layer in range(L) for head in range(H)):
            watch(number + 1)
            with ablate_heads(model, [(layer, head)]):
                rises[layer, head] = _mean_loss(model, ids) - whole
    watch(L * H + 1)
    return rises.float()


def _next_probabilities(model: GPT, ids: Sequence[int]) -> Tensor:
    """Return the probabilities of the token after ids (T,), shape (V,), float64."""
    return log_probabilities(model.lm_head(output_layer_inputs(model, ids)[-1:]))[0].exp()


def _mean_loss(model: GPT, ids: Sequence[int]) -> float:
    """Return the mean loss in nats over all tokens but the first."""
    rows, targets = output_layer_inputs(model, ids[:-1]), torch.tensor([int(token) for token in ids[1:]])
    size, total = max(1, MAX_LOGITS // model.config.vocab_size), 0.0
    for some, wanted in zip(rows.split(size), targets.split(size)):
        total += float(F.nll_loss(log_probabilities(model.lm_head(some)), wanted, reduction="sum"))
    return total / len(targets)
