"""Text from a model: prompts in, tokens or text out as they are generated, several rows at once.

Three rules define a text, however it is generated (alone or in a batch):

- The model reads a window of the newest tokens. It grows to `block_size`; then its newest half is read again in one
  pass and it grows on. Its start is a function of the position alone (`window_start`).
- The token at a position is drawn with one uniform number, a function of (seed, sample, position).
- An empty prompt starts a document if the model was trained on several, else after a newline (or token 0).

Shapes: B rows, T tokens of a prompt, V vocabulary.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from nanogpt.config import ModelConfig, SampleConfig
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT, evaluation_mode
from nanogpt.model.kv_cache import KVCache
from nanogpt.random_streams import uniform
from nanogpt.sampling.decoder import Decoder, can_decode
from nanogpt.sampling.filters import COLDEST, draw, filter_logits, likeliest
from nanogpt.text.tokenizer import TextStream, Tokenizer, Unknown

MOST_ROWS = 64
CACHE_BYTES = 1 << 30
"""Most memory of keys and values, unless a number of rows is named"""


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
    string, or after `config.tokens`. Raises UserError for unknown characters in a prompt, unless `unknown` is "skip".
    """
    config = config or SampleConfig()
    prompts = [encode_prompt(tokenizer, one, unknown) for one in ([prompt] if isinstance(prompt, str) else prompt)]
    texts = [TextStream(tokenizer, config.stop) for _ in range(len(prompts) * config.samples)]
    most = default_batch_size(model.config)
    for tokens in generate_ids(model, prompts, config, most, ended=lambda number: texts[number].ended):
        yield [text.feed(tokens[number]) if number in tokens else "" for number, text in enumerate(texts)]
    if not all(text.ended for text in texts):
        yield [text.flush() for text in texts]


def generate_ids(
    model: GPT,
    prompts: Tensor | Sequence[Tensor],
    config: SampleConfig,
    size: int | None = None,
    ended: Callable[[int], bool] = lambda number: False,
) -> Iterator[dict[int, int]]:
    """Yield the next token of each row that continues prompt ids, (T,), T at least 1, or several such prompts.

    The rows are the samples of the first prompt, then of the next; a token is yielded by its row's number. At most
    `size` rows are generated at once. One that has `config.tokens`, or has `ended`, makes way for the next. The model
    is in evaluation mode until the last token was taken or the generator closed.
    """
    prompts = [prompts] if isinstance(prompts, Tensor) else prompts
    if not prompts:
        raise UserError("there is no prompt to continue: give at least one, it may be empty")
    waiting = deque((prompt, sample) for prompt in prompts for sample in range(config.samples))
    with evaluation_mode(model):
        if config.precision != "float32":
            from nanogpt.sampling.precision import lower_precision

            model = lower_precision(model, config.precision)
        batch = Batch(model, min(size or len(waiting), len(waiting)))
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


def window_start(position: int, block_size: int) -> int:
    """Return the first position of the window from which the token at `position` is predicted.

    >>> [window_start(position, 4) for position in range(1, 12)]
    [0, 0, 0, 0, 3, 3, 3, 6, 6, 6, 9]
    """
    if position <= block_size:
        return 0
    stride = block_size + 1 - max(1, block_size // 2)
    return -(-(position - block_size) // stride) * stride


@dataclass(eq=False)
class Row:
    """A text that is being generated."""

    config: SampleConfig
    number: int
    """which of the samples of its config; with seed and position it decides what is drawn"""
    position: int
    """of the next token, in the whole text"""
    window: list[int]
    """the newest tokens, from which the next is predicted"""


class Batch:
    """Up to `size` rows that are generated together, one token each per step.

    Rows have their own lengths and settings, may join or leave between two steps, and don't depend on each other: so
    several prompts, or the requests to a server, share forward passes.
    """

    logits: Tensor
    """of the last step, (B, V), before filters, in the order of `rows`"""

    def __init__(self, model: GPT, size: int) -> None:
        self.model, self.rows, self.size = model, list[Row](), size
        weight = model.token_embedding.weight
        self.cache, self.device = KVCache(model.config, size, weight), weight.device
        self.decoder = Decoder(model) if can_decode(model) else None

    def join(self, prompt: Tensor, config: SampleConfig, number: int = 0) -> Row:
        """Add a row, last in `rows`, that continues prompt ids, (T,), T at least 1; UserError where all are taken."""
        if len(self.rows) == self.size:
            raise UserError(f"all {self.size} rows are taken: let one leave first")
        start = window_start(len(prompt), self.model.config.block_size)
        row = Row(config, number, len(prompt), prompt[start:].tolist())
        self.cache.lengths[len(self.rows)] = 0
        self.rows.append(row)
        return row

    def leave(self, row: Row) -> None:
        """Remove a row; the last one takes its index in `rows`."""
        index, last = self.rows.index(row), self.rows.pop()
        if last is not row:
            self.rows[index] = last
            self.cache.move(len(self.rows), index)

    @torch.no_grad()
    def step(self) -> list[int]:
        """Generate the next token of each row, in the order of `rows`; raise UserError where logits are not numbers."""
        self._read_windows()
        every = list(range(len(self.rows)))
        newest = torch.tensor([row.window[-1:] for row in self.rows], device=self.device)  # (B, 1)
        cache = self.cache.select(every)
        self.logits = self.decoder(newest, cache) if self.decoder else self.model(newest, cache)[:, -1]
        for rows in _groups(every, lambda index: self.rows[index].config.filters):
            for index, token in zip(rows, self._draw(rows).tolist()):
                self.rows[index].window.append(token)
                self.rows[index].position += 1
        return [row.window[-1] for row in self.rows]

    def _read_windows(self) -> None:
        """Read rows that are new, or whose window is full and goes on with its newest half, but for the last token."""
        for index, row in enumerate(self.rows):
            width = row.position - window_start(row.position, self.model.config.block_size)
            if width < len(row.window):
                row.window, self.cache.lengths[index] = row.window[-width:], 0
        unread = [index for index, row in enumerate(self.rows) if len(row.window) > 1 and not self.cache.lengths[index]]
        for rows in _groups(unread, lambda index: len(self.rows[index].window)):
            idx = torch.tensor([self.rows[index].window[:-1] for index in rows], device=self.device)
            self.model(idx, self.cache.select(rows))

    def _draw(self, indices: list[int]) -> Tensor:
        """Draw tokens for rows with the same filters, (B,)."""
        rows = [self.rows[index] for index in indices]
        config, context = rows[0].config, torch.empty(0)
        if config.repetition_penalty != 1.0:  # a shorter window is padded with its own first token
            widest = max(len(row.window) for row in rows)
            padded = [row.window + row.window[:1] * (widest - len(row.window)) for row in rows]
            context = torch.tensor(padded, device=self.device)
        logits = filter_logits(self.logits[indices].float(), context, config)
        if config.temperature < COLDEST:
            return likeliest(logits)
        return draw(logits, [uniform(row.config.seed, "sample", row.number, row.position) for row in rows])


def _groups(indices: Iterable[int], key: Callable[[int], Hashable]) -> list[list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for index in indices:
        groups.setdefault(key(index), []).append(index)
    return list(groups.values())


def default_batch_size(config: ModelConfig) -> int:
    """Return how many texts are generated at once: 64, or fewer, whose keys and values take up to 1 GiB in float32."""
    row = 2 * 4 * config.n_layer * config.kv_heads * config.block_size * config.head_channels  # bytes
    return max(1, min(MOST_ROWS, CACHE_BYTES // row))


def encode_prompt(tokenizer: Tokenizer, prompt: str, unknown: Unknown = "error") -> Tensor:
    """Return the ids, (T,), that generation starts from: at least one, also for an empty prompt."""
    return torch.tensor(tokenizer.encode(prompt, unknown).tolist() or tokenizer.start())
