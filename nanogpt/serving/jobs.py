"""What an engine works on: a job is one request, with a text for each sample of each of its prompts.

The engine's thread writes, the event loop that asked reads. What has come since the reader last looked is handed over
together: a reader that is slower than the model gets larger pieces, and nothing is lost.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from nanogpt.config import SampleConfig
from nanogpt.sampling.text import SampleText
from nanogpt.serving.scores import Score
from nanogpt.text.tokenizer import Tokenizer

Finish = Literal["stop", "length"]


@dataclass(frozen=True, eq=False)
class Prompt:
    """What is continued."""

    text: str
    ids: Tensor
    """(T,), those of the text; may be none"""
    start: Tensor
    """(T,), at least one: what the model continues"""


@dataclass(frozen=True)
class News:
    """What a step gave to one text."""

    index: int
    """of the text, in its job"""
    piece: str
    """text that is certain now"""
    token: int | None = None
    """the token that was drawn; None where the text only ends"""
    score: Score | None = None
    finish: Finish | None = None


@dataclass(eq=False)
class Text:
    """One text on its way."""

    job: "Job"
    index: int
    prompt: Prompt
    number: int
    """which sample of its prompt it is"""
    out: SampleText
    made: int = 0
    """tokens so far"""

    def feed(self, token: int, score: Score | None) -> News:
        """What one more token gives."""
        self.made += 1
        piece = self.out.feed(token)
        finish: Finish | None = "stop" if self.out.ended else None
        if finish is None and self.made >= self.job.tokens:
            piece, finish = piece + self.out.flush(), "length"
        return News(self.index, piece, token, score, finish)


@dataclass(eq=False)
class Job:
    """One request: prompts, how each is continued, and where its news goes. Made in the event loop that reads it."""

    prompts: list[Prompt]
    config: SampleConfig
    tokens: int
    """of each text, at most; with 0 only the prompts are scored"""
    tokenizer: Tokenizer
    logprobs: int | None = None
    """how many of the likeliest tokens to tell in the place of each token; None for no scores"""
    score_prompts: bool = False
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.left = False
        """the reader went away"""
        self.size = self.open = len(self.prompts) * self.config.samples
        """texts that are asked for; those of them that have not ended"""
        self.unread = self._texts()
        """texts that have no place in the batch yet"""
        self.begun = 0
        self.to_score = list(range(len(self.prompts))) if self.score_prompts else []
        """places of prompts that are to be scored before the first text begins"""
        self.scoring: Iterator[list[Score]] | None = None
        self.prompt_scores: list[list[Score]] = [[] for _ in self.prompts]
        self.on_first: Callable[[], None] | None = None
        """called when the first token comes"""
        self._inbox: list[News] = []
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    def _texts(self) -> Iterator[Text]:
        samples = self.config.samples
        for place, prompt in enumerate(self.prompts):
            for number in range(samples):
                out = SampleText(self.tokenizer, self.config.stop)
                yield Text(self, place * samples + number, prompt, number, out)

    def take(self, news: list[News], error: Exception | None = None) -> None:
        """New tokens, or what went wrong; called in the reader's event loop."""
        if self.on_first is not None and news:
            self.on_first()
            self.on_first = None
        self._inbox.extend(news)
        self._error = self._error or error
        self._changed.set()

    async def news(self) -> AsyncIterator[list[News]]:
        """All that came since the last time, until every text has ended. Raises what went wrong in the engine."""
        unfinished = self.size
        while unfinished:
            await self._changed.wait()
            self._changed.clear()
            found, self._inbox = self._inbox, []
            unfinished -= sum(one.finish is not None for one in found)
            if found:
                yield found
            if self._error and unfinished:
                raise self._error
