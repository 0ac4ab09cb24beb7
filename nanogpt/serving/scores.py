"""Log-probabilities of tokens under the model itself: natural logarithms, before temperature and filters.

Shapes: N positions, T tokens of a prompt, W tokens of a window, V vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT
from nanogpt.sampling.cache import window_start


@dataclass(frozen=True)
class Score:
    """How likely a token was, and which were the likeliest in its place."""

    value: float
    top: tuple[tuple[int, float], ...]
    """ids and their log-probabilities, the likeliest first"""


def score_tokens(logits: Tensor, chosen: Sequence[int], count: int) -> list[Score]:
    """For each row of logits (N, V) the score of the token that was chosen, and the `count` likeliest.

    Raises UserError where the logits are not numbers.

    >>> [score] = score_tokens(torch.tensor([[0.0, 0.0, -torch.inf]]).log_softmax(-1), [1], 1)
    >>> round(score.value, 3), score.top[0][0]
    (-0.693, 0)
    """
    found = logits.float().log_softmax(-1)  # (N, V)
    values = found.gather(1, torch.tensor(chosen, device=found.device)[:, None])[:, 0].tolist()
    likeliest, where = found.topk(min(count, found.size(-1)))
    if any(map(math.isnan, values)):
        raise UserError("the model's predictions are not numbers: its training diverged; train it again")
    tops = zip(where.tolist(), likeliest.tolist())
    return [Score(value, tuple(zip(ids, each))) for value, (ids, each) in zip(values, tops)]


def score_prompt(model: GPT, ids: Tensor, count: int) -> Iterator[list[Score]]:
    """Scores of the tokens of a prompt (T,) from its second on, window by window, as generation would predict them.

    Each step reads one window, at most `block_size` tokens, so that others can be served between two of them.
    """
    block_size = model.config.block_size
    for start, group in groupby(range(1, len(ids)), lambda position: window_start(position, block_size)):
        positions = list(group)
        with torch.no_grad():
            logits = model(ids[None, start : positions[-1]])[0]  # (W, V)
        wanted = logits[positions[0] - 1 - start :]  # (N, V)
        yield score_tokens(wanted, ids[positions].tolist(), count)
