"""From logits to a token: filters that are pure functions of a row, and the draw."""

import numpy as np
import torch
from torch import Tensor

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError

COLDEST = 1e-20
"""A lower temperature takes the likeliest token, as 0 does. Divided by one that float32 does not hold, predictions are
no numbers, and a step of the whole batch fails.
"""


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """All but each row's k largest become -inf, (B, V); of equal ones exactly k are kept."""
    kept, where = logits.topk(min(k, logits.size(-1)))
    return torch.full_like(logits, -torch.inf).scatter(-1, where, kept)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the likeliest tokens up to and with the one at which their probability reaches p, (B, V)."""
    ordered, where = logits.sort(descending=True, dim=-1, stable=True)
    probability = ordered.softmax(-1)
    before = probability.cumsum(-1) - probability  # what the likelier ones have together
    # The first is always kept: its `before` is 0, but rounding may leave a trace.
    cut = before >= p
    cut[:, 0] = False
    return logits.scatter(-1, where, ordered.masked_fill(cut, -torch.inf))


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Keep tokens at least p times as likely as the likeliest, (B, V)."""
    floor = logits.amax(-1, keepdim=True) + float(np.log(p))  # (B, 1)
    return logits.masked_fill(logits < floor, -torch.inf)


def penalise_repetition(logits: Tensor, context: Tensor, penalty: float) -> Tensor:
    """Shrink the logits of tokens that occur in the context (B, T): positive ones divided, negative multiplied."""
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, context, True)
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def filter_logits(logits: Tensor, context: Tensor, config: SampleConfig) -> Tensor:
    """All that a SampleConfig asks for, in this order: repetition, temperature, top-k, top-p, min-p, (B, V)."""
    if config.repetition_penalty != 1.0:
        logits = penalise_repetition(logits, context, config.repetition_penalty)
    if config.temperature >= COLDEST:
        logits = logits / config.temperature
    if config.top_k is not None:
        logits = keep_top_k(logits, config.top_k)
    if config.top_p is not None:
        logits = keep_top_p(logits, config.top_p)
    if config.min_p is not None:
        logits = keep_min_p(logits, config.min_p)
    return logits


def likeliest(logits: Tensor) -> Tensor:
    """The likeliest token of each row, (B, V) -> (B,). Raises UserError where the logits are not numbers."""
    largest, found = logits.max(-1)  # what is no number counts as the largest
    _check_numbers(largest)
    return found


def draw(logits: Tensor, numbers: list[float]) -> Tensor:
    """One token a row: where the running sum of probabilities passes the row's uniform number, (B, V) -> (B,).

    One number a token rather than torch's generator: any token of any sample can be drawn again by itself, and a
    CPU and a GPU draw alike. Raises UserError where the logits are not numbers.
    """
    running = logits.cpu().double().softmax(-1).cumsum(-1)  # (B, V); Apple's GPUs have no float64
    _check_numbers(running[:, -1])
    # Scaled by the sum as rounded, so that the last likely token, never one beyond it, takes the rest.
    aims = torch.tensor(numbers, dtype=torch.float64)[:, None] * running[:, -1:]
    return torch.searchsorted(running, aims, right=True).squeeze(-1).to(logits.device)  # (B,)


def _check_numbers(values: Tensor) -> None:
    if values.isnan().any():
        raise UserError("the model's predictions are not numbers: its training diverged; train it again")
