"""One way to run a model held against another: its logits, its text, its ids.

Three questions, each on what the model itself writes:
- logits: the largest difference, over every position of a full context that the model drew and one of tokens drawn at
  random. What is allowed depends on the number format, and is a share of the logits' spread.
- text: the likeliest tokens, one after another. Two programs that round otherwise may part where two tokens are as
  likely as each other; where the two differ by more than that, they must not.
- ids: of the text that the model drew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nanogpt.config import SampleConfig
from nanogpt.interop.opened import allowed_difference
from nanogpt.model.gpt import GPT
from nanogpt.sampling.generate import generate_ids
from nanogpt.sampling.text import encode_prompt
from nanogpt.text.tokenizer import Tokenizer

FLOAT32 = 5e-5
"""Of float32 on both sides, which add up in another order: the allowed difference as a share of the logits' standard
deviation. The largest seen were 8e-6."""
TIE = 1e-4
"""Logits nearer to each other than this are taken as equal."""
GREEDY_TOKENS = 200
LONGEST = 1024
MOST_LOGITS = 1 << 26
"""Of one context: a context of a large vocabulary is cut to so many numbers."""
SEED = 1337


@dataclass(frozen=True, kw_only=True)
class Contexts:
    """What a model is asked."""

    drawn: list[int]
    """tokens that the model wrote: a full context, or the beginning of a very long one"""
    random: list[int]
    """as many tokens drawn alike"""
    prompt: list[int]
    """what the likeliest tokens are to follow"""
    tokens: int
    """how many of them: all inside the context"""
    text: str
    """of the drawn tokens"""

    @property
    def longest(self) -> int:
        """Tokens of the longest context that is asked."""
        return max(len(self.drawn), len(self.prompt) + self.tokens)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one way to run the model answered."""

    name: str
    difference: float | None = None
    """the largest, of all logits"""
    allowed: float | None = None
    text: str = ""
    """how far the likeliest tokens agree"""
    ids: str = ""
    """whether the text's ids agree"""
    weights: float | None = None
    """the largest difference of a weight, as a share of the largest in its row"""
    problems: tuple[str, ...] = ()
    """what failed"""
    not_run: str | None = None
    """why it could not be run: that is no pass"""

    @property
    def passed(self) -> bool:
        """Whether it was run, and agreed in all."""
        return self.not_run is None and not self.problems


class Answers(Protocol):
    """Whatever runs a model."""

    def logits(self, ids: Sequence[int]) -> Tensor: ...

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]: ...


class Ours:
    """A model in plain torch, every context read anew: what all others are held against."""

    def __init__(self, model: GPT) -> None:
        self.model = model.eval()

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Logits (T, V) of the tokens after each of ids."""
        return self.model(torch.tensor([list(ids)]))[0].float()

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """The likeliest tokens after ids."""
        config = SampleConfig(temperature=0, tokens=tokens)
        return [row[0] for row in generate_ids(self.model, torch.tensor(list(ids)), config, cached=False)]


def make_contexts(model: GPT, tokenizer: Tokenizer) -> Contexts:
    """What to ask of a model, always the same of the same one."""
    prompt = encode_prompt(tokenizer, "")
    size = min(model.config.block_size, LONGEST, max(16, MOST_LOGITS // model.config.vocab_size))
    if size > 1:
        config = SampleConfig(temperature=1.0, tokens=size - 1, seed=SEED)
        drawn = [*prompt[:1].tolist(), *(row[0] for row in generate_ids(model, prompt[:1], config))]
    else:
        drawn = prompt[:1].tolist()
    generator = torch.Generator().manual_seed(SEED)
    random: list[int] = torch.randint(model.config.vocab_size, (size,), generator=generator).tolist()
    start = drawn[: max(1, min(8, size // 2))]
    tokens = max(1, min(GREEDY_TOKENS, size - len(start)))
    return Contexts(drawn=drawn, random=random, prompt=start, tokens=tokens, text=tokenizer.decode(drawn))


def compare(name: str, reference: GPT, other: Answers, contexts: Contexts, share: float = FLOAT32) -> Row:
    """Logits and text of another way to run the reference. `share` is of the logits' standard deviation."""
    ours = Ours(reference)
    pairs = [(ours.logits(ids), other.logits(ids)) for ids in (contexts.drawn, contexts.random)]
    difference = torch.stack([(one - two).abs().max() for one, two in pairs]).max().item()  # also where it is no number
    allowed = allowed_difference(share, torch.cat([one for one, _ in pairs]))
    problems = []
    if not difference <= allowed:
        problems.append(f"logits differ by {difference:.2g}, allowed are {allowed:.2g}")
    text, apart = _compare_text(ours, other, contexts, max(TIE, 2 * allowed))
    if apart:
        problems.append(text)
    return Row(name=name, difference=difference, allowed=allowed, text=text, problems=tuple(problems))


def _compare_text(ours: Ours, other: Answers, contexts: Contexts, tie: float) -> tuple[str, bool]:
    """How far the likeliest tokens agree, and whether they part where they must not."""
    one, two = (each.greedy(contexts.prompt, contexts.tokens) for each in (ours, other))
    if one == two:
        return f"{len(one)} of {len(one)} tokens", False
    place = next((n for n, (a, b) in enumerate(zip(one, two)) if a != b), min(len(one), len(two)))
    if len(one) != len(two):
        return f"{len(two)} tokens, not {len(one)}", True
    logits = ours.logits([*contexts.prompt, *one[:place]])[-1]
    apart = (logits[one[place]] - logits[two[place]]).item()
    if apart <= tie:
        return f"{place} of {len(one)} tokens, then a tie ({apart:.1g})", False
    return f"{place} of {len(one)} tokens, then another though it is {apart:.2g} less likely (in logits)", True
