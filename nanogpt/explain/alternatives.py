"""What else could have come: how likely a model found tokens, beside those that it found likelier.

Probabilities are the model's own: those before temperature and the other filters of sampling.

Shapes: T time, C channels, V vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nanogpt.errors import UserError
from nanogpt.explain.passes import at_rest, before_output, check_ids
from nanogpt.explain.visible import visible
from nanogpt.model.gpt import GPT
from nanogpt.sampling.cache import window_start
from nanogpt.text.tokenizer import Tokenizer

LOGITS_AT_ONCE = 1 << 22
"""When a text is scored: 32 MB in float64."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A token, and how likely it was to come next."""

    token: int
    text: str
    """as `visible` shows it"""
    probability: float
    bits: float
    """surprise, -log2 of the probability: 0 for what is certain, 1 more for each halving (Shannon 1948)"""
    rank: int
    """1 for the likeliest; of equally likely tokens the one with the lower id comes first"""


def alternatives(logits: Tensor, tokenizer: Tokenizer, count: int = 10) -> list[Choice]:
    """The likeliest next tokens by logits (V,), the likeliest first; all of them where there are no more than `count`.

    Raises UserError for a count below 1, and where the logits are not numbers.
    """
    if count < 1:
        raise UserError(f"count is {count}; choose 1 or more")
    nats = log_shares(logits[None])[0]  # (V,)
    tokens = nats.sort(descending=True, stable=True).indices[:count].tolist()
    return [_choice(tokenizer, token, float(nats[token]), rank) for rank, token in enumerate(tokens, start=1)]


def choice(logits: Tensor, tokenizer: Tokenizer, token: int) -> Choice:
    """How likely a token was to come next by logits (V,). Raises UserError where there is no such token."""
    if not 0 <= token < len(logits):
        raise UserError(f"there is no token {token}: the vocabulary has ids 0 to {len(logits) - 1}")
    return _choices(logits[None], tokenizer, [token])[0]


def score(model: GPT, tokenizer: Tokenizer, ids: Sequence[int], start: int = 1) -> list[Choice]:
    """How likely each token of a text (T,) was, from `start` on, given those before it: T - start choices.

    Each is predicted from the window that generation predicts it from (`generation.cache.window_start`), so that a
    generated text gets the probabilities that it was drawn by. The text may be longer than block_size. Raises UserError
    for ids that there are not, and for a start of 0: before the first token there is nothing to predict it from.

    >>> run = nanogpt.load(folder)
    >>> found = score(run.model, run.tokenizer, run.tokenizer.encode("the cat").tolist(), start=4)
    >>> [one.text for one in found], all(0 < one.probability < 1 for one in found)
    (['c', 'a', 't'], True)
    """
    ids = [int(token) for token in ids]
    if not 1 <= start <= max(1, len(ids)):
        raise UserError(
            f"start is {start}: of {len(ids)} tokens those from 1 on can be scored, up to {len(ids)}; the first one is "
            f"predicted from nothing"
        )
    check_ids(model, ids)
    found: list[Choice] = []
    with at_rest(model):
        for first, begin, end in _windows(start, len(ids), model.config.block_size):
            # The window's last token predicts what comes after: it is in the next one, or beyond the text.
            rows = before_output(model, ids[first : end - 1])[begin - first - 1 :]  # (end - begin, C)
            wanted = ids[begin:end]
            size = max(1, LOGITS_AT_ONCE // model.config.vocab_size)
            for at in range(0, len(rows), size):
                found += _choices(model.lm_head(rows[at : at + size]), tokenizer, wanted[at : at + size])
    return found


def log_shares(logits: Tensor) -> Tensor:
    """Logarithms of probabilities in nats, float64 on the CPU: (T, V) -> same. UserError where they are not numbers."""
    nats = logits.detach().cpu().double().log_softmax(-1)  # Apple's GPUs have no float64
    if nats.isnan().any():
        raise UserError("the model's predictions are not numbers: its training diverged; train it again")
    return nats


def _windows(start: int, length: int, block_size: int) -> Iterator[tuple[int, int, int]]:
    """The windows that predict the tokens from `start` to `length`: (first token, first predicted, end of those)."""
    begin = start
    while begin < length:
        first = window_start(begin, block_size)
        # A window serves until it has predicted the token after its block_size-th.
        end = min(length, first + block_size + 1)
        yield first, begin, end
        begin = end


def _choices(logits: Tensor, tokenizer: Tokenizer, tokens: Sequence[int]) -> list[Choice]:
    """A choice for each of some tokens (T,) by its own logits (T, V)."""
    nats = log_shares(logits)  # (T, V)
    wanted = torch.tensor(tokens)[:, None]  # (T, 1)
    of_token = nats.gather(1, wanted)  # (T, 1)
    ids = torch.arange(nats.size(1))
    before = (nats > of_token) | ((nats == of_token) & (ids < wanted))  # (T, V)
    return [
        _choice(tokenizer, token, value, rank + 1)
        for token, value, rank in zip(tokens, of_token[:, 0].tolist(), before.sum(1).tolist())
    ]


def _choice(tokenizer: Tokenizer, token: int, nats: float, rank: int) -> Choice:
    return Choice(
        token=token,
        text=visible(tokenizer, token),
        probability=math.exp(nats),
        bits=abs(nats) / math.log(2),  # never -0.0
        rank=rank,
    )
