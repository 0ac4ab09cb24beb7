"""A model as another program runs it: what is asked of each of them, to hold its answers against ours."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from nanogpt.errors import UserError


def allowed_difference(share: float, logits: Tensor) -> float:
    """The largest |difference| of a logit that another program's arithmetic explains: a share of their spread.

    Logits that hardly differ are taken for ones of a standard deviation of 1: what is small on that scale changes no
    probability.
    """
    return share * max(1.0, logits.std().item())


class CannotRun(UserError):
    """The other program is not here. The message says which one, and how to get it."""


class Opened(Protocol):
    """An exported model, opened by the program that it was made for."""

    def logits(self, ids: Sequence[int]) -> Tensor:
        """Logits (T, V), float32, of the tokens after each of ids; T from 1 to block_size."""
        ...

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """So many of the likeliest tokens after ids, one after another; all of it inside block_size."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids (T,) of a text, in which nothing is taken for a special token."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...
