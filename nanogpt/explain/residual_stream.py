"""The residual stream layer by layer: its size, each block's update, and the logit lens.

Logit lens (nostalgebraist 2020, "interpreting GPT: the logit lens"): the final norm and the output layer read every
layer's stream. They were trained for the last layer only, so what they read at an early layer is no more than a hint.

Shapes: L layers, T time, C channels, V vocabulary.
"""

import torch
from torch import Tensor

from nanogpt.errors import UserError
from nanogpt.explain.hooks import evaluating
from nanogpt.explain.trace import MAX_NUMBERS, Trace
from nanogpt.model.gpt import GPT

TINY = 1e-30
"""Keeps the update of an all-zero stream finite: no change counts as 0, any change is huge."""


def stream_rms(trace: Trace) -> Tensor:
    """Return the root mean square over channels after the embeddings and after each block, shape (L + 1, T)."""
    return _rms(trace.stream)


def relative_updates(trace: Trace) -> Tensor:
    """Return how much each block changes the stream, |x after - x before| / |x before|, shape (L, T).

    In a post-norm model this includes the effect of the norms.
    """
    before = trace.stream[:-1]  # (L, T, C)
    return _rms(trace.stream.diff(dim=0)) / _rms(before).clamp_min(TINY)


def logit_lens(model: GPT, trace: Trace) -> Tensor:
    """Return the logits read after the embeddings and after each block, shape (L + 1, T, V).

    The last ones are the trace's logits. A post-norm model has no final norm: its blocks leave the stream normalised,
    and its embeddings are read unnormalised.

    Raises:
        UserError: The result would be too large; use `logit_lens_at` for single positions.
    """
    layers, T, V = len(trace.stream), len(trace.ids), model.config.vocab_size
    if layers * T * V > MAX_NUMBERS:
        raise UserError(
            f"the logit lens of {layers} layers, {T:,} tokens and a vocabulary of {V:,} has {layers * T * V:,} "
            f"numbers, more than {MAX_NUMBERS:,}: call logit_lens_at for single positions, or give a shorter text"
        )
    # Layer by layer, as the model does it: another batch shape changes floating-point rounding.
    return torch.stack([_read(model, one[None])[0] for one in trace.stream])  # (L + 1, T, V)


def logit_lens_at(model: GPT, trace: Trace, position: int) -> Tensor:
    """Return the logits read after the embeddings and after each block at one position (-1: the last), (L + 1, V).

    Raises:
        UserError: The position is outside the trace.
    """
    T = len(trace.ids)
    if not -T <= position < T:
        raise UserError(f"there is no position {position} in {T} tokens: give 0 to {T - 1}")
    return _read(model, trace.stream[:, position])


def _read(model: GPT, x: Tensor) -> Tensor:
    """Apply the final norm and the output layer to a stream: (..., C) -> (..., V)."""
    with evaluating(model):
        return model.lm_head(model.final_norm(x.to(model.token_embedding.weight))).float().cpu()


def _rms(x: Tensor) -> Tensor:
    """Return the root mean square over channels: (..., C) -> (...)."""
    return x.square().mean(-1).sqrt()
