"""Text into generation and out of it: prompts as ids, tokens as text that is certain."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nanogpt.text.tokenizer import Tokenizer


def encode_prompt(tokenizer: Tokenizer, prompt: str, unknown: Literal["error", "skip"] = "error") -> Tensor:
    """The ids (T,) that generation starts from; at least one, also for an empty prompt."""
    ids = tokenizer.encode(prompt, unknown)
    if not len(ids):
        ids = tokenizer.encode("\n", "skip")
    if not len(ids):
        ids = np.zeros(1, dtype=np.int32)
    return torch.from_numpy(ids.astype(np.int64))


class SampleText:
    """One sample's text on its way out: whole characters, and nothing of a stop string."""

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...] = ()) -> None:
        self._end, self._stop = tokenizer.end_of_document, stop
        self._decoder = tokenizer.decoder()
        self._held = ""
        self.ended = False

    def feed(self, token: int) -> str:
        """The text that is certain after one more token."""
        if self.ended:
            return ""
        if token == self._end:
            return self.flush()
        self._held += self._decoder.feed(token)
        found = [place for stop in self._stop if (place := self._held.find(stop)) >= 0]
        if found:
            self.ended = True
            return self._release(min(found))
        return self._release(len(self._held) - self._open())

    def flush(self) -> str:
        """What was held back, when the sample ends for another reason than a stop string."""
        if self.ended:
            return ""
        self.ended = True
        self._held += self._decoder.flush()
        return self._release(len(self._held))

    def _open(self) -> int:
        """How many of the last characters could be the beginning of a stop string."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stop):
                return size
        return 0

    def _release(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text
