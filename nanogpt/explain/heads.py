"""What a head of attention is good for: what changes when it is switched off.

Zero ablation (Michel et al. 2019, "Are sixteen heads really better than one?"): the head's output is zero before the
projection, everything else as trained. What another head could take over does not show.

Shapes: L layers, T time, H heads, V vocabulary.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt.errors import UserError
from nanogpt.explain.alternatives import LOGITS_AT_ONCE, log_shares
from nanogpt.explain.passes import Head, as_input, at_rest, before_output, blocks_of, switched_off
from nanogpt.model.gpt import GPT

Watch = Callable[[int], object]
"""Told after each pass how many passes there were."""

MOST_OPERATIONS = 2 * 10**12
"""In `importance`: minutes on a small machine."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What became of one token's probability."""

    token: int
    before: float
    """the model as it is"""
    after: float
    """without the heads that were switched off"""

    @property
    def change(self) -> float:
        """The difference: above 0 where the token became likelier."""
        return self.after - self.before


def effect_of(
    model: GPT, ids: Sequence[int], off: Collection[Head], position: int = -1, count: int = 10
) -> list[Effect]:
    """How the probabilities of the token after a position change without some heads: the largest changes first.

    Token ids (T,), T at most block_size; position -1 is the last. At most `count` tokens. Raises UserError for ids, a
    position or heads that there are not, and for a model with blocks that are not the library's own.
    """
    blocks_of(model)
    as_input(model, ids)
    if not -len(ids) <= position < len(ids):
        raise UserError(f"there is no position {position} in {len(ids)} tokens: give 0 to {len(ids) - 1}")
    if count < 1:
        raise UserError(f"count is {count}; choose 1 or more")
    ids = ids[: position % len(ids) + 1]  # what comes after it is not seen
    with at_rest(model):
        before = _shares_after(model, ids)
        with switched_off(model, off):
            after = _shares_after(model, ids)
    tokens = (after - before).abs().sort(descending=True, stable=True).indices[:count].tolist()
    return [Effect(token=token, before=float(before[token]), after=float(after[token])) for token in tokens]


def importance(model: GPT, ids: Sequence[int], watch: Watch = lambda passes: None) -> Tensor:
    """How much the mean loss over a text rises when each head is switched off alone, in nats a token: (L, H).

    Below 0 where the text is easier to predict without the head. Token ids (T,), T at most block_size; one pass for
    each head, and one more. Raises UserError for fewer than 2 tokens, for more work than is bearable, and as
    `effect_of`.
    """
    L, H = len(blocks_of(model)), model.config.n_head
    as_input(model, ids)
    if len(ids) < 2:
        raise UserError(f"{len(ids)} token(s) leave nothing to predict; give a longer text")
    most = MOST_OPERATIONS // (2 * model.parameter_count * (L * H + 1))  # two operations a weight and token
    if len(ids) > max(2, most):
        raise UserError(
            f"{L * H + 1} passes of {len(ids):,} tokens through {model.parameter_count:,} weights would take too long: "
            f"give a text of at most {max(2, most):,} tokens"
        )
    rises = torch.zeros(L, H, dtype=torch.float64)
    with at_rest(model):
        whole = _mean_loss(model, ids)
        for number, (layer, head) in enumerate((layer, head) for layer in range(L) for head in range(H)):
            watch(number + 1)
            with switched_off(model, [(layer, head)]):
                rises[layer, head] = _mean_loss(model, ids) - whole
    watch(L * H + 1)
    return rises.float()


def _shares_after(model: GPT, ids: Sequence[int]) -> Tensor:
    """Probabilities of the token after ids (T,): (V,) in float64."""
    return log_shares(model.lm_head(before_output(model, ids)[-1:]))[0].exp()


def _mean_loss(model: GPT, ids: Sequence[int]) -> float:
    """Mean loss in nats of each token but the first, from those before it."""
    rows, wanted = before_output(model, ids[:-1]), torch.tensor([int(token) for token in ids[1:]])
    size, total = max(1, LOGITS_AT_ONCE // model.config.vocab_size), 0.0
    for some, targets in zip(rows.split(size), wanted.split(size)):
        total += float(F.nll_loss(log_shares(model.lm_head(some)), targets, reduction="sum"))
    return total / len(wanted)
