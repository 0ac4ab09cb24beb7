"""Text from a model: prompts in, tokens or text out as they are generated, several at once.

Three rules define a text, however it is generated (cached or not, alone or in a batch):

- The model reads a window of the newest tokens. It grows to `block_size`; then its newest half is read again in one
  pass and it grows on. Its start is a function of the position alone (`kv_cache.window_start`).
- The token at a position is drawn with one uniform number, a function of (seed, sample, position).
- An empty prompt starts after a newline, or in a vocabulary without one after its first token.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nanogpt.config import ModelConfig, SampleConfig
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT
from nanogpt.sampling.batch import Batch, Row
from nanogpt.text.tokenizer import Tokenizer

MOST_ROWS = 64
CACHE_BYTES = 1 << 30
"""Most memory of keys and values, unless a number of rows is named"""

Unknown = Literal["error", "skip"]


def generate_text(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str | Sequence[str] = "",
    config: SampleConfig | None = None,
    unknown: Unknown = "error",
) -> list[str]:
    """Return the continuation of each prompt, one text for each sample; arguments as for `stream_text`."""
    pieces = stream_text(model, tokenizer, prompt, config, unknown)
    return reduce(lambda texts, new: [text + piece for text, piece in zip(texts, new)], pieces)


def stream_text(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str | Sequence[str] = "",
    config: SampleConfig | None = None,
    unknown: Unknown = "error",
) -> Iterator[list[str]]:
    """Yield new text of all samples, without the prompts; "" where a sample has no complete character yet.

    With several prompts the samples of the first come first. A sample ends at its end-of-document token, before a stop
    string, or after `config.tokens`; text that could become a stop string is held back.

    Raises:
        UserError: A prompt has unknown characters, and `unknown` is not "skip".
    """
    config = config or SampleConfig()
    prompts = [encode_prompt(tokenizer, one, unknown) for one in ([prompt] if isinstance(prompt, str) else prompt)]
    texts = [TextStream(tokenizer, config.stop) for _ in range(len(prompts) * config.samples)]
    size = default_batch_size(model.config)
    for tokens in _steps(model, prompts, config, size, ended=lambda number: texts[number].ended):
        yield [text.feed(tokens[number]) if number in tokens else "" for number, text in enumerate(texts)]
    if not all(text.ended for text in texts):
        yield [text.flush() for text in texts]


def generate_ids(
    model: GPT, prompts: Tensor | Sequence[Tensor], config: SampleConfig, cached: bool = True
) -> Iterator[list[int]]:
    """Yield the next token of each row that continues prompt ids, (T,), T at least 1, or several such prompts.

    The rows are the samples of the first prompt, then of the next. The model is in evaluation mode until the last token
    was taken or the generator closed.

    Args:
        model: The model.
        prompts: Token ids of a prompt, or of several of different lengths.
        config: How to draw.
        cached: Whether to use a key-value cache; without one the same tokens take longer.

    Raises:
        UserError: There is no prompt.
    """
    prompts = [prompts] if isinstance(prompts, Tensor) else prompts
    rows = range(len(prompts) * config.samples)
    for tokens in _steps(model, prompts, config, len(rows), cached=cached):
        yield [tokens[number] for number in rows]


def _steps(
    model: GPT,
    prompts: Sequence[Tensor],
    config: SampleConfig,
    size: int,
    *,
    ended: Callable[[int], bool] = lambda number: False,
    cached: bool = True,
) -> Iterator[dict[int, int]]:
    """Yield the next token of each row in a batch of at most `size`, by the row's number among all.

    A row that has `config.tokens`, or has `ended`, makes way for the next one.
    """
    if not prompts:
        raise UserError("there is no prompt to continue: give at least one, it may be empty")
    if config.precision != "float32":
        from nanogpt.sampling.precision import lower_precision

        model = lower_precision(model, config.precision)
    waiting = deque((prompt, sample) for prompt in prompts for sample in range(config.samples))
    with _evaluation_mode(model):
        batch = Batch(model, min(size, len(waiting)), cached)
        numbers = dict[Row, int]()
        while waiting or batch.rows:
            while waiting and len(batch.rows) < batch.size:
                prompt, sample = waiting.popleft()
                numbers[batch.join(prompt, config, sample)] = len(numbers)
            rows = list(batch.rows)
            yield {numbers[row]: token for row, token in zip(rows, batch.step())}
            for row in reversed(rows):  # the last first: a row that leaves gets the last one's keys and values
                prompt = prompts[numbers[row] // config.samples]
                if row.position == len(prompt) + config.tokens or ended(numbers[row]):
                    batch.leave(row)


@contextlib.contextmanager
def _evaluation_mode(model: GPT) -> Iterator[None]:
    """Set the model to evaluation, and each module back to its mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def cache_bytes(config: ModelConfig, rows: int) -> int:
    """Return the bytes of the keys and values of some rows, in float32.

    >>> cache_bytes(ModelConfig(n_layer=2, n_head=3, n_embd=12, block_size=5), rows=7)
    6720
    """
    return 2 * config.n_layer * rows * config.kv_heads * config.block_size * config.head_channels * 4


def default_batch_size(config: ModelConfig) -> int:
    """Return how many texts are generated at once: 64, or fewer, whose keys and values take up to 1 GiB."""
    return max(1, min(MOST_ROWS, CACHE_BYTES // cache_bytes(config, 1)))


def encode_prompt(tokenizer: Tokenizer, prompt: str, unknown: Unknown = "error") -> Tensor:
    """Return the ids, (T,), that generation starts from: at least one, also for an empty prompt."""
    ids = tokenizer.encode(prompt, unknown)
    if not len(ids):
        ids = tokenizer.encode("\n", "skip")
    if not len(ids):
        ids = np.zeros(1, dtype=np.int32)
    return torch.from_numpy(ids.astype(np.int64))


class TextStream:
    """The text of one sample as its tokens arrive: whole characters, and nothing of a stop string."""

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...] = ()) -> None:
        self._end_of_document, self._stop = tokenizer.end_of_document, stop
        self._decoder = tokenizer.decoder()
        self._held = ""
        self.ended = False

    def feed(self, token: int) -> str:
        """Take one more token; return the text that is certain now."""
        if self.ended:
            return ""
        if token == self._end_of_document:
            return self.flush()
        self._held += self._decoder.feed(token)
        found = [at for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            self.ended = True
            return self._release(min(found))
        return self._release(len(self._held) - self._undecided())

    def flush(self) -> str:
        """End the sample; return what was held back, unless a stop string ended it."""
        if self.ended:
            return ""
        self.ended = True
        self._held += self._decoder.flush()
        return self._release(len(self._held))

    def _undecided(self) -> int:
        """Return how many of the last characters may be the beginning of a stop string."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stop):
                return size
        return 0

    def _release(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text
