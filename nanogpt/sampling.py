"""Text from a model: pure filters on logits, a key-value cache, streaming, several samples at once.

Three rules define a text, however it is generated (cached or not, alone or in a batch):

- The model reads a window of the newest tokens. It grows to `block_size`; then its newest half is read again in
  one pass and it grows on. Where it starts is a function of the position alone (`window_start`).
- The token at a position is drawn with one uniform number, a function of (seed, sample, position).
- An empty prompt starts after a newline, or, in a vocabulary without one, after its first token.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nanogpt.config import ModelConfig, SampleConfig
from nanogpt.errors import UserError
from nanogpt.model import GPT
from nanogpt.streams import uniform
from nanogpt.tokenizer import Tokenizer


class LayerKeysValues:
    """One layer's part of the cache: room for `block_size` keys and values, filled from the front."""

    def __init__(self, shape: tuple[int, int, int, int], like: Tensor) -> None:
        # Not `like.new_empty`: a weight that is divided among processes would give a divided tensor.
        self._k, self._v = (torch.empty(shape, dtype=like.dtype, device=like.device) for _ in range(2))
        self._length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        start, self._length = self._length, self._length + k.size(2)
        self._k[:, :, start : self._length] = k
        self._v[:, :, start : self._length] = v
        return self._k[:, :, : self._length], self._v[:, :, : self._length]  # each (B, K, S, D)


class KeyValueCache:
    """Keys and values of a context that was read already, so that each new token costs one position.

    It never rolls: dropping its oldest entries would leave what deeper layers computed from them, and the text
    would be no model's. When the context is full the newest half is read into a fresh cache instead.
    """

    def __init__(self, config: ModelConfig, batch: int, like: Tensor) -> None:
        shape = (batch, config.kv_heads, config.block_size, config.head_channels)
        self.layers = [LayerKeysValues(shape, like) for _ in range(config.n_layer)]
        self.length = 0
        self.documents: Tensor | None = None


def window_start(position: int, block_size: int) -> int:
    """Where the window that predicts the token at `position` begins.

    >>> [window_start(position, 4) for position in range(1, 12)]
    [0, 0, 0, 0, 3, 3, 3, 6, 6, 6, 9]
    """
    if position <= block_size:
        return 0
    stride = block_size + 1 - max(1, block_size // 2)
    return -(-(position - block_size) // stride) * stride


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """All but each row's k largest become -inf, (B, V); of equal ones exactly k are kept."""
    kept, where = logits.topk(min(k, logits.size(-1)))
    return torch.full_like(logits, -torch.inf).scatter(-1, where, kept)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the likeliest tokens up to and with the one at which their probability reaches p, (B, V)."""
    ordered, where = logits.sort(descending=True, dim=-1, stable=True)
    probability = ordered.softmax(-1)
    before = probability.cumsum(-1) - probability  # what the likelier ones have together
    # The first is always kept: its `before` is 0, but rounding may leave a trace.
    cut = before >= p
    cut[:, 0] = False
    return logits.scatter(-1, where, ordered.masked_fill(cut, -torch.inf))


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Keep tokens at least p times as likely as the likeliest, (B, V)."""
    floor = logits.amax(-1, keepdim=True) + float(np.log(p))  # (B, 1)
    return logits.masked_fill(logits < floor, -torch.inf)


def penalise_repetition(logits: Tensor, context: Tensor, penalty: float) -> Tensor:
    """Shrink the logits of tokens that occur in the context (B, T): positive ones divided, negative multiplied."""
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, context, True)
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def filter_logits(logits: Tensor, context: Tensor, config: SampleConfig) -> Tensor:
    """All that a SampleConfig asks for, in this order: repetition, temperature, top-k, top-p, min-p, (B, V)."""
    if config.repetition_penalty != 1.0:
        logits = penalise_repetition(logits, context, config.repetition_penalty)
    if config.temperature > 0:
        logits = logits / config.temperature
    if config.top_k is not None:
        logits = keep_top_k(logits, config.top_k)
    if config.top_p is not None:
        logits = keep_top_p(logits, config.top_p)
    if config.min_p is not None:
        logits = keep_min_p(logits, config.min_p)
    return logits


def draw(logits: Tensor, numbers: list[float]) -> Tensor:
    """One token a row: where the running sum of probabilities passes the row's uniform number, (B, V) -> (B,).

    One number a token rather than torch's generator: any token of any sample can be drawn again by itself, and a
    CPU and a GPU draw alike. Raises UserError where the logits are not numbers.
    """
    running = logits.cpu().double().softmax(-1).cumsum(-1)  # (B, V); Apple's GPUs have no float64
    if running[:, -1].isnan().any():
        raise UserError("the model's predictions are not numbers: its training diverged; train it again")
    # Scaled by the sum as rounded, so that the last likely token, never one beyond it, takes the rest.
    aims = torch.tensor(numbers, dtype=torch.float64)[:, None] * running[:, -1:]
    return torch.searchsorted(running, aims, right=True).squeeze(-1).to(logits.device)  # (B,)


@torch.no_grad()
def generate_ids(model: GPT, prompt: Tensor, config: SampleConfig, cached: bool = True) -> Iterator[list[int]]:
    """Continue prompt ids (T,), T at least 1: yields the next token of each of `config.samples`, one row at a time.

    Without `cached` the whole window is read anew for each token: slower, the same text.
    """
    model.eval()
    weight = model.lm_head.weight
    ids = prompt.to(weight.device).expand(config.samples, -1)  # (B, T)
    cache: KeyValueCache | None = None
    read_from = -1
    for position in range(ids.size(1), ids.size(1) + config.tokens):
        start = window_start(position, model.config.block_size)
        if cached and start == read_from:
            logits = model(ids[:, -1:], cache)[:, -1]  # (B, V)
        else:
            # A window of its own, or the first: read in one pass, into a fresh cache.
            cache = KeyValueCache(model.config, config.samples, weight) if cached else None
            logits = model(ids[:, start:], cache)[:, -1]  # (B, V)
            read_from = start
        logits = filter_logits(logits.float(), ids[:, start:], config)
        if config.temperature == 0:
            new = logits.argmax(-1)  # (B,)
        else:
            new = draw(logits, [uniform(config.seed, "sample", row, position) for row in range(config.samples)])
        ids = torch.cat([ids, new[:, None]], dim=1)  # (B, T + 1)
        yield new.tolist()


def stream_text(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str = "",
    config: SampleConfig | None = None,
    unknown: Literal["error", "skip"] = "error",
) -> Iterator[list[str]]:
    """Pieces of text as they come, one for each sample (empty while nothing is complete), without the prompt.

    A sample ends at its end-of-document token, before a stop string, or after `config.tokens`; what could still
    become a stop string is held back. Raises UserError for a prompt with unknown characters.
    """
    config = config or SampleConfig()
    texts = [SampleText(tokenizer, config.stop) for _ in range(config.samples)]
    for row in generate_ids(model, encode_prompt(tokenizer, prompt, unknown), config):
        yield [text.feed(token) for text, token in zip(texts, row)]
        if all(text.ended for text in texts):
            return
    yield [text.flush() for text in texts]


def generate_text(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str = "",
    config: SampleConfig | None = None,
    unknown: Literal["error", "skip"] = "error",
) -> list[str]:
    """What `stream_text` streams, whole: the continuation of the prompt, one text for each sample."""
    return ["".join(pieces) for pieces in zip(*stream_text(model, tokenizer, prompt, config, unknown))]


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
