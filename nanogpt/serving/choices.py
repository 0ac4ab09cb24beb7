"""A text as an answer has it: pieces, and of each token its log-probability and where it begins.

A token is told together with the text that it is part of, so that a stream's pieces and their tokens belong together.
Tokens of which nothing is in the text, as those of a stop string and the end-of-document token, are not told.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from nanogpt.serving.jobs import Job, News
from nanogpt.serving.scores import Score
from nanogpt.text.bpe import BYTE_OF, BpeTokenizer
from nanogpt.text.tokenizer import Tokenizer

LOWEST = -9999.0
"""What is told for a token that cannot come: JSON has no infinity."""


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """A token's text; one that is no whole characters is written by its bytes, as OpenAI does.

    >>> from nanogpt.text.tokenizer import ByteTokenizer
    >>> token_text(ByteTokenizer(), 65), token_text(ByteTokenizer(), 195)
    ('A', 'bytes:\\\\xc3')
    """
    text = tokenizer.decode([token])
    if "\ufffd" not in text:
        return text
    if tokenizer.kind == "byte":
        content = bytes([token])
    elif isinstance(tokenizer, BpeTokenizer):
        content = bytes(BYTE_OF[letter] for letter in tokenizer.tokens[token] or "")
    else:
        return text
    if content.decode("utf-8", "replace") == text and "\ufffd".encode() in content:
        return text  # the replacement character itself
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)


class ChoiceWriter:
    """One choice of an answer, as it grows."""

    def __init__(self, job: Job, index: int, echo: bool) -> None:
        self._job, self._index, self._echo = job, index, echo
        self._place = index // job.config.samples
        """of its prompt"""
        self._decoder = job.tokenizer.decoder()
        self._known = self._sent = 0
        """characters that the tokens so far complete; characters that were told"""
        self._open: deque[tuple[int, int, Score | None]] = deque()
        """tokens that were not told yet: where each begins, its id, its score"""
        self._begun = False

    def add(self, news: Iterable[News]) -> dict[str, Any]:
        """The next piece of the choice, in OpenAI's form; the first has the prompt, if it was asked for."""
        text, finish = self._prompt(), None
        for one in news:
            text, finish = text + one.piece, one.finish
            if one.token is not None:
                self._note(one.token, one.score)
        self._sent += len(text)
        return {"index": self._index, "text": text, "logprobs": self._told(), "finish_reason": finish}

    def _prompt(self) -> str:
        if self._begun or not self._echo:
            return ""
        self._begun = True
        prompt = self._job.prompts[self._place]
        if self._job.logprobs is not None:
            for token, score in zip(prompt.ids.tolist(), [None, *self._job.prompt_scores[self._place]]):
                self._note(token, score)
        # The model's own text begins anew: a character that the prompt left open is not completed.
        self._decoder, self._known = self._job.tokenizer.decoder(), len(prompt.text)
        return prompt.text

    def _note(self, token: int, score: Score | None) -> None:
        if self._job.logprobs is not None:
            self._open.append((self._known, token, score))
            self._known += len(self._decoder.feed(token))

    def _told(self) -> dict[str, Any] | None:
        """Of the tokens whose text was told by now."""
        if self._job.logprobs is None:
            return None
        told: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        while self._open and self._open[0][0] < self._sent:
            offset, token, score = self._open.popleft()
            text = token_text(self._job.tokenizer, token)
            told["tokens"].append(text)
            told["text_offset"].append(offset)
            told["token_logprobs"].append(None if score is None else max(score.value, LOWEST))
            told["top_logprobs"].append(None if score is None else self._top(text, score))
        return told

    def _top(self, text: str, score: Score) -> dict[str, float]:
        """The likeliest tokens by their texts, and the token itself; of two with one text the likelier is told."""
        found: dict[str, float] = {}
        for token, value in score.top:
            found.setdefault(token_text(self._job.tokenizer, token), max(value, LOWEST))
        found.setdefault(text, max(score.value, LOWEST))
        return found
