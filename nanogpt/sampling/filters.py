"""From logits to a token: filters, which are pure functions of rows of logits, and the draw."""

import math

import torch
from torch import Tensor

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError

COLDEST = 1e-20
"""Lower temperatures count as 0: logits divided by them are not float32 numbers."""


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Set all but each row's k largest logits to -inf, (B, V); of equal ones exactly k stay."""
    largest, tokens = logits.topk(min(k, logits.size(-1)))
    return torch.full_like(logits, -torch.inf).scatter(-1, tokens, largest)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the likeliest tokens up to the one with which their probability reaches p, (B, V)."""
    ordered, tokens = logits.sort(descending=True, dim=-1, stable=True)
    probability = ordered.softmax(-1)
    cut = probability.cumsum(-1) - probability >= p  # likelier tokens already reach p
    cut[:, 0] = False  # the likeliest always stays, whatever rounding leaves before it
    return logits.scatter(-1, tokens, ordered.masked_fill(cut, -torch.inf))


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Keep tokens at least p times as likely as the likeliest, (B, V)."""
    floor = logits.amax(-1, keepdim=True) + math.log(p)  # (B, 1)
    return logits.masked_fill(logits < floor, -torch.inf)


def penalise_repetition(logits: Tensor, context: Tensor, penalty: float) -> Tensor:
    """Lower the logits of tokens in the context, (B, T): positive ones are divided, negative ones multiplied."""
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, context, True)
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def filter_logits(logits: Tensor, context: Tensor, config: SampleConfig) -> Tensor:
    """Apply a config's filters in order: repetition penalty, temperature, top-k, top-p, min-p, (B, V)."""
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
    """Return the likeliest token of each row, (B, V) -> (B,); raise UserError where logits are not numbers."""
    largest, tokens = logits.max(-1)  # NaN counts as the largest
    _check_numbers(largest)
    return tokens


def draw(logits: Tensor, uniforms: list[float]) -> Tensor:
    """Draw a token of each row: where the running sum of probabilities passes the row's uniform number, (B, V) -> (B,).

    One number per token rather than torch's generator: any token of any sample can be drawn again by itself, and CPU
    and GPU draw alike. Raises UserError where logits are not numbers.
    """
    running = logits.cpu().double().softmax(-1).cumsum(-1)  # (B, V); Apple's GPUs have no float64
    _check_numbers(running[:, -1])
    # Scaled by the rounded sum, so that the last likely token takes the remainder, never one after it.
    targets = torch.tensor(uniforms, dtype=torch.float64)[:, None] * running[:, -1:]
    return torch.searchsorted(running, targets, right=True).squeeze(-1).to(logits.device)  # (B,)


def _check_numbers(values: Tensor) -> None:
    if values.isnan().any():
        raise UserError("the model's predictions are not numbers: its training diverged; train it again")
