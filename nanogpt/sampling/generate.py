"""Text from a model: prompts in, tokens or text out as they are generated, several rows at once.

Three rules define a text, however it is generated (cached or not, alone or in a batch):

- The model reads a window of the newest tokens. It grows to `block_size`; then its newest half is read again in one
  pass and it grows on. Its start is a function of the position alone (`kv_cache.window_start`).
- The token at a position is drawn with one uniform number, a function of (seed, sample, position).
- An empty prompt starts after a newline, or in a vocabulary without one after its first token.

Shapes: B rows, W tokens of the window that a row's next token is predicted from, V vocabulary.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from nanogpt.config import ModelConfig, SampleConfig
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT
from nanogpt.random_streams import uniform
from nanogpt.sampling.decoder import Decoder, can_decode
from nanogpt.sampling.filters import COLDEST, draw, filter_logits, likeliest
from nanogpt.sampling.kv_cache import KVCache, index_of, window_start
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
    size = default_batch_size(model.config)
    for tokens in _steps(model, prompts, config, size, ended=lambda number: texts[number].ended):
        yield [text.feed(tokens[number]) if number in tokens else "" for number, text in enumerate(texts)]
    if not all(text.ended for text in texts):
        yield [text.flush() for text in texts]


def generate_ids(
    model: GPT, prompts: Tensor | Sequence[Tensor], config: SampleConfig, cached: bool = True
) -> Iterator[list[int]]:
    """Yield the next token of each row that continues prompt ids, (T,), T at least 1, or several such prompts.

    The rows are the samples of the first prompt, then of the next. Without `cached` the same tokens take longer. The
    model is in evaluation mode until the last token was taken or the generator closed.
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
    waiting = deque((prompt, sample) for prompt in prompts for sample in range(config.samples))
    with _evaluation_mode(model):
        if config.precision != "float32":
            from nanogpt.sampling.precision import lower_precision

            model = lower_precision(model, config.precision)
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


@dataclass(eq=False)
class Row:
    """A text that is being generated."""

    config: SampleConfig
    number: int
    """which of the samples of its config; with seed and position it decides what is drawn"""
    position: int
    """of the next token, in the whole text"""
    start: int
    """first position of its window"""

    @property
    def width(self) -> int:
        """Tokens in the window."""
        return self.position - self.start

    @property
    def filters(self) -> tuple[float | None, ...]:
        """Settings of its filters: rows with the same ones are filtered together."""
        c = self.config
        return (c.repetition_penalty, c.temperature, c.top_k, c.top_p, c.min_p)


class Batch:
    """Up to `size` rows that are generated together, one token each per step.

    Rows have their own lengths and settings, may join or leave between two steps, and don't depend on each other: so
    several prompts, or the requests to a server, share forward passes. Without `cached` every token's window is read
    anew: slower, the same tokens.
    """

    def __init__(self, model: GPT, size: int, cached: bool = True) -> None:
        self.model, self.rows, self.size = model, list[Row](), size
        self.block_size = model.config.block_size
        weight = model.token_embedding.weight
        self.cache = KVCache(model.config, size, weight) if cached else None
        self.decoder = Decoder(model) if can_decode(model) else None
        self.ids = torch.zeros(
            size, self.block_size + 1, dtype=torch.long, device=weight.device
        )  # windows, next tokens

    def join(self, prompt: Tensor, config: SampleConfig, number: int = 0) -> Row:
        """Add a row, last in `rows`, that continues prompt ids, (T,), T at least 1; UserError where all are taken."""
        if len(self.rows) == self.size:
            raise UserError(f"all {self.size} rows are taken: let one leave first")
        row = Row(config, number, len(prompt), window_start(len(prompt), self.block_size))
        self.ids[len(self.rows), : row.width] = prompt[row.start :]
        if self.cache:
            self.cache.forget(len(self.rows))
        self.rows.append(row)
        return row

    def leave(self, row: Row) -> None:
        """Remove a row; the last one takes its index in `rows`."""
        index, last = self.rows.index(row), self.rows.pop()
        if last is not row:
            self.rows[index] = last
            self.ids[index] = self.ids[len(self.rows)]
            if self.cache:
                self.cache.move(len(self.rows), index)

    @torch.no_grad()
    def step(self) -> list[int]:
        """Generate the next token of each row, in the order of `rows`; raise UserError where logits are not numbers."""
        self._move_windows()
        widths = torch.tensor([row.width for row in self.rows], device=self.ids.device)  # (B,)
        logits = self._read_windows() if self.cache is None else self._read_new_tokens(self.cache, widths)  # (B, V)
        tokens = self._in_groups(lambda row: row.filters, lambda rows: self._draw(logits, rows, widths))  # (B,)
        self.ids[: len(tokens)].scatter_(1, widths[:, None], tokens[:, None])
        for row in self.rows:
            row.position += 1
        return tokens.tolist()

    def _move_windows(self) -> None:
        """Let rows with a full window go on with its newest half."""
        for index, row in enumerate(self.rows):
            start = window_start(row.position, self.block_size)
            if start != row.start:
                newest = self.ids[index, start - row.start : row.width].clone()
                self.ids[index, : len(newest)] = newest
                row.start = start
                if self.cache:
                    self.cache.forget(index)

    def _read_windows(self) -> Tensor:
        """Return the logits of each row's next token, (B, V), from its whole window."""
        return self._in_groups(
            lambda row: row.width,
            lambda rows: self.model(self.ids[index_of(rows), : self.rows[rows[0]].width])[:, -1],
        )

    def _read_new_tokens(self, cache: KVCache, widths: Tensor) -> Tensor:
        """Return the logits of each row's next token, (B, V), from the cache and the row's newest tokens."""
        unread = [index for index, row in enumerate(self.rows) if row.width > 1 and not cache.lengths[index]]
        for rows in _groups(unread, lambda index: self.rows[index].width):
            self.model(self.ids[index_of(rows), : self.rows[rows[0]].width - 1], cache.select(rows))
        newest = self.ids[: len(self.rows)].gather(1, widths[:, None] - 1)  # (B, 1)
        if not self.model.config.mask_documents:
            cache.select(list(range(len(self.rows))))
            return self.decoder(newest, cache) if self.decoder else self.model(newest, cache)[:, -1]
        # The cache knows documents only for rows of one length.
        return self._in_groups(
            lambda row: row.width, lambda rows: self.model(newest[index_of(rows)], cache.select(rows))[:, -1]
        )

    def _draw(self, logits: Tensor, indices: list[int], widths: Tensor) -> Tensor:
        """Draw tokens for rows with the same filters from all rows' logits, (B, V)."""
        rows = [self.rows[index] for index in indices]
        config, context = rows[0].config, self.ids[:0]
        if config.repetition_penalty != 1.0:  # a shorter window is padded with its own first token
            context, width = self.ids[index_of(indices)], widths[index_of(indices), None]
            context = torch.where(torch.arange(context.size(1), device=width.device) < width, context, context[:, :1])
        logits = filter_logits(logits[index_of(indices)].float(), context, config)
        if config.temperature < COLDEST:
            return likeliest(logits)
        return draw(logits, [uniform(row.config.seed, "sample", row.number, row.position) for row in rows])

    def _in_groups(self, key: Callable[[Row], Hashable], call: Callable[[list[int]], Tensor]) -> Tensor:
        """Call a function for the rows of each key; return its results in the order of `rows`."""
        groups = _groups(range(len(self.rows)), lambda index: key(self.rows[index]))
        results = [call(rows) for rows in groups]
        if len(results) == 1:
            return results[0]
        order = torch.tensor([index for rows in groups for index in rows], device=self.ids.device)
        return torch.cat(results)[order.argsort()]


def _groups(indices: Iterable[int], key: Callable[[int], Hashable]) -> list[list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for index in indices:
        groups.setdefault(key(index), []).append(index)
    return list(groups.values())


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
    """Return the bytes of some rows' keys and values, in float32.

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
