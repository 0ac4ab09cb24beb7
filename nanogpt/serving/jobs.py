"""What an engine works on: a job is one request, with a text for each sample of each of its prompts.

The engine's thread writes, the event loop of the request reads. Log-probabilities are natural logarithms of the model's
own predictions, before temperature and filters.

Shapes: N positions, T tokens of a prompt, W tokens of a window, V vocabulary.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT
from nanogpt.sampling.generate import window_start
from nanogpt.text.tokenizer import TextStream, Tokenizer

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Score:
    """The log-probability of a token, and the likeliest tokens at its position."""

    value: float
    top: tuple[tuple[int, float], ...]
    """ids and their log-probabilities, the likeliest first"""


@dataclass(frozen=True, eq=False)
class Prompt:
    """A text to continue."""

    text: str
    ids: Tensor
    """(T,), of the text; may be empty"""
    start: Tensor
    """(T,), at least one token: what the model continues"""


@dataclass(frozen=True)
class Update:
    """What a step added to one text."""

    index: int
    """of the text in its job"""
    piece: str
    """text that is final now"""
    token: int | None = None
    """the sampled token; None where the text only ends"""
    score: Score | None = None
    finish: Finish | None = None


@dataclass(eq=False)
class Text:
    """A text that is being generated."""

    job: "Job"
    index: int
    prompt: Prompt
    number: int
    """which sample of its prompt"""
    out: TextStream
    made: int = 0
    """tokens so far"""

    def feed(self, token: int, score: Score | None) -> Update:
        """Add a token."""
        self.made += 1
        piece = self.out.feed(token)
        finish: Finish | None = "stop" if self.out.ended else None
        if finish is None and self.made >= self.job.tokens:
            piece, finish = piece + self.out.flush(), "length"
        return Update(self.index, piece, token, score, finish)


@dataclass(eq=False)
class Job:
    """A request as the engine sees it. Create it in the event loop that reads its updates."""

    prompts: list[Prompt]
    config: SampleConfig
    tokens: int
    """most tokens of each text; 0 only scores the prompts"""
    tokenizer: Tokenizer
    logprobs: int | None = None
    """number of likeliest tokens to report per token; None for no log-probabilities"""
    score_prompts: bool = False
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.cancelled = False
        self.size = self.unfinished = len(self.prompts) * self.config.samples
        """number of texts; how many of them have not ended"""
        n = self.config.samples
        self.pending = (
            Text(self, index, self.prompts[index // n], index % n, TextStream(self.tokenizer, self.config.stop))
            for index in range(self.size)
        )
        """texts that have not joined the batch yet"""
        self.started = 0
        """number of texts that have"""
        self.to_score = list(range(len(self.prompts))) if self.score_prompts else []
        """indices of prompts to score before the first text starts"""
        self.scoring: Iterator[list[Score]] | None = None
        self.prompt_scores: list[list[Score]] = [[] for _ in self.prompts]
        self.on_first: Callable[[], None] | None = None
        """called at the first token"""
        self._inbox: list[Update] = []
        self._error: Exception | None = None
        self._received = asyncio.Event()

    def receive(self, updates: list[Update], error: Exception | None = None) -> None:
        """Take updates, or an error, from the engine. Called in the job's event loop."""
        if self.on_first is not None and updates:
            self.on_first()
            self.on_first = None
        self._inbox.extend(updates)
        self._error = self._error or error
        self._received.set()

    async def updates(self) -> AsyncIterator[list[Update]]:
        """Yield what has arrived since the last time, until every text has ended. Raises the engine's error."""
        unfinished = self.size
        while unfinished:
            await self._received.wait()
            self._received.clear()
            found, self._inbox = self._inbox, []
            unfinished -= sum(one.finish is not None for one in found)
            if found:
                yield found
            if self._error and unfinished:
                raise self._error


def score_tokens(logits: Tensor, chosen: Sequence[int], count: int) -> list[Score]:
    """Score the chosen token of each row of logits (N, V), with the `count` likeliest.

    Raises UserError where the logits are not numbers.

    >>> [score] = score_tokens(torch.tensor([[0.0, 0.0, -torch.inf]]).log_softmax(-1), [1], 1)
    >>> round(score.value, 3), score.top[0][0]
    (-0.693, 0)
    """
    found = logits.float().log_softmax(-1)  # (N, V)
    values = found.gather(1, torch.tensor(chosen, device=found.device)[:, None])[:, 0].tolist()
    likeliest, ids = found.topk(min(count, found.size(-1)))
    if any(map(math.isnan, values)):
        raise UserError("the model's predictions are not numbers: its training diverged, train it again")
    tops = zip(ids.tolist(), likeliest.tolist())
    return [Score(value, tuple(zip(*top))) for value, top in zip(values, tops)]


def score_prompt(model: GPT, ids: Tensor, count: int) -> Iterator[list[Score]]:
    """Score the tokens of a prompt (T,) after its first, window by window, as generation would predict them."""
    block_size = model.config.block_size
    for start, group in groupby(range(1, len(ids)), lambda position: window_start(position, block_size)):
        positions = list(group)
        with torch.no_grad():
            logits = model(ids[None, start : positions[-1]])[0]  # (W, V)
        wanted = logits[positions[0] - 1 - start :]  # (N, V)
        yield score_tokens(wanted, ids[positions].tolist(), count)
