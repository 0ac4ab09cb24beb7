"""How likely a token was for the model, and which tokens were likelier.

Probabilities are the model's own, before temperature and the other sampling filters.

Shapes: T time, C channels, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from nanogpt.errors import UserError
from nanogpt.explain.hooks import check_ids, evaluating, output_layer_inputs
from nanogpt.model.gpt import GPT
from nanogpt.sampling.generate import window_start
from nanogpt.text.tokenizer import CharTokenizer, Tokenizer

MAX_LOGITS = 1 << 22
"""Most logits computed at once when a text is scored: 32 MB in float64."""
SIGNS = {"\n": "↵", " ": "␣", "\t": "⇥", "\r": "␍"}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A token and how likely it was to come next."""

    token: int
    text: str
    """text of the token, as `visible_text` gives it"""
    probability: float
    bits: float
    """surprisal, -log2 of the probability (Shannon 1948): 0 for a certain token, 1 more each time it halves"""
    rank: int
    """1 for the likeliest token; of equally likely tokens the lower id comes first"""


def alternatives(logits: Tensor, tokenizer: Tokenizer, count: int = 10) -> list[Choice]:
    """Return the `count` likeliest next tokens by logits (V,), the likeliest first."""
    if count < 1:
        raise UserError(f"count is {count}; choose 1 or more")
    nats = log_probabilities(logits[None])[0]  # (V,)
    tokens = nats.sort(descending=True, stable=True).indices[:count].tolist()
    return [_choice(tokenizer, token, float(nats[token]), rank) for rank, token in enumerate(tokens, start=1)]


def choice(logits: Tensor, tokenizer: Tokenizer, token: int) -> Choice:
    """Return how likely a token was to come next by logits (V,); raise UserError for an unknown token."""
    if not 0 <= token < len(logits):
        raise UserError(f"there is no token {token}: the vocabulary has ids 0 to {len(logits) - 1}")
    return _choices(logits[None], tokenizer, [token])[0]


def score(model: GPT, tokenizer: Tokenizer, ids: Sequence[int], start: int = 1) -> list[Choice]:
    """Return how likely each token of a text (T,) was given those before it, from position `start` on.

    The text may be longer than block_size: each token is predicted from the same window as in generation, so a
    generated text gets the probabilities that it was drawn from.

    >>> run = nanogpt.load(folder)
    >>> found = score(run.model, run.tokenizer, run.tokenizer.encode("the cat").tolist(), start=4)
    >>> [one.text for one in found], all(0 < one.probability < 1 for one in found)
    (['c', 'a', 't'], True)
    """
    ids = [int(token) for token in ids]
    if not 1 <= start <= max(1, len(ids)):
        raise UserError(f"start is {start}; choose 1 to {len(ids)} for {len(ids)} tokens: nothing predicts the first")
    check_ids(model, ids)
    found: list[Choice] = []
    size = max(1, MAX_LOGITS // model.config.vocab_size)
    with evaluating(model):
        for first, window in groupby(range(start, len(ids)), lambda at: window_start(at, model.config.block_size)):
            positions = list(window)  # predicted by the window that begins at `first`
            rows = output_layer_inputs(model, ids[first : positions[-1]])[-len(positions) :]  # (N, C)
            targets = ids[positions[0] : positions[-1] + 1]
            for at in range(0, len(rows), size):
                found += _choices(model.lm_head(rows[at : at + size]), tokenizer, targets[at : at + size])
    return found


def log_probabilities(logits: Tensor) -> Tensor:
    """Return log-probabilities in nats, float64 on the CPU: (T, V) -> the same; raise UserError for NaN."""
    nats = logits.detach().cpu().double().log_softmax(-1)  # Apple's GPUs have no float64
    if nats.isnan().any():
        raise UserError("the model's predictions are not numbers: its training diverged; train it again")
    return nats


def visible_text(tokenizer: Tokenizer, token: int) -> str:
    """Return a token's text with signs for what cannot be seen, or the name of a token without text.

    A byte that is only part of a character is ‹C3›; a non-printable character ‹U+200B›.

    >>> from nanogpt.text.bpe import ByteTokenizer
    >>> [visible_text(ByteTokenizer(), token) for token in "n é".encode()], visible_text(ByteTokenizer(), 256)
    (['n', '␣', '‹C3›', '‹A9›'], '<|endoftext|>')
    """
    if not 0 <= token < tokenizer.vocab_size:
        raise UserError(f"there is no token {token}: the vocabulary has ids 0 to {tokenizer.vocab_size - 1}")
    partial = not isinstance(tokenizer, CharTokenizer)
    characters = tokenizer.bytes_by_id[token].decode("utf-8", "surrogateescape" if partial else "surrogatepass")
    if not characters:
        return tokenizer.special_token_names().get(token, f"‹{token}›")
    return "".join(_sign(one, partial) for one in characters)


def _choices(logits: Tensor, tokenizer: Tokenizer, tokens: Sequence[int]) -> list[Choice]:
    """Return a choice for each of the tokens (T,), each by its own row of logits (T, V)."""
    nats = log_probabilities(logits)  # (T, V)
    targets = torch.tensor(tokens)[:, None]  # (T, 1)
    of_target = nats.gather(1, targets)  # (T, 1)
    ids = torch.arange(nats.size(1))
    likelier = (nats > of_target) | ((nats == of_target) & (ids < targets))  # (T, V)
    return [
        _choice(tokenizer, token, value, rank + 1)
        for token, value, rank in zip(tokens, of_target[:, 0].tolist(), likelier.sum(1).tolist())
    ]


def _choice(tokenizer: Tokenizer, token: int, nats: float, rank: int) -> Choice:
    return Choice(
        token=token,
        text=visible_text(tokenizer, token),
        probability=math.exp(nats),
        bits=abs(nats) / math.log(2),  # abs: never -0.0
        rank=rank,
    )


def _sign(character: str, may_be_partial: bool) -> str:
    if may_be_partial and "\udc80" <= character <= "\udcff":  # a byte, as `surrogateescape` represents it
        return f"‹{ord(character) - 0xDC00:02X}›"
    return SIGNS.get(character, character if character.isprintable() else f"‹U+{ord(character):04X}›")
