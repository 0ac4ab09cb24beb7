"""The logit lens: what a model would say next if it ended after an earlier layer.

nostalgebraist 2020, "interpreting GPT: the logit lens": the residual stream of every layer, read by the final norm and
the output layer, which were trained for the last one alone. What an early layer seems to say is a hint, no more.

Shapes: L layers, T time, C channels, V vocabulary.
"""

import torch
from torch import Tensor

from nanogpt.errors import UserError
from nanogpt.explain.passes import at_rest
from nanogpt.explain.trace import MOST_NUMBERS, Trace
from nanogpt.model.gpt import GPT


def lens(model: GPT, trace: Trace) -> Tensor:
    """Logits after the embeddings and after each block, at every position: (L + 1, T, V). The last are the trace's.

    In a post-norm model blocks leave the stream normalised, and there is no final norm; what comes out of its
    embeddings is read as it is. Raises UserError where the table would be too large: `lens_at` is for one position.
    """
    layers, T, V = len(trace.stream), len(trace.ids), model.config.vocab_size
    if layers * T * V > MOST_NUMBERS:
        raise UserError(
            f"the lens of {layers} layers, {T:,} tokens and a vocabulary of {V:,} would hold {layers * T * V:,} "
            f"numbers, more than {MOST_NUMBERS:,}: ask for single positions by lens_at, or give a shorter text"
        )
    # Layer by layer, as the model does it: other shapes are rounded otherwise.
    return torch.stack([_read(model, one[None])[0] for one in trace.stream])  # (L + 1, T, V)


def lens_at(model: GPT, trace: Trace, position: int) -> Tensor:
    """Logits after the embeddings and after each block at one position, -1 for the last: (L + 1, V).

    Raises UserError for a position that the trace has not.
    """
    T = len(trace.ids)
    if not -T <= position < T:
        raise UserError(f"there is no position {position} in {T} tokens: give 0 to {T - 1}")
    return _read(model, trace.stream[:, position])


def _read(model: GPT, x: Tensor) -> Tensor:
    """The logits of a stream: (..., C) -> (..., V)."""
    with at_rest(model):
        return model.lm_head(model.final_norm(x.to(model.token_embedding.weight))).float().cpu()
