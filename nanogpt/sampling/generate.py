"""Text from a model: prompts in, tokens or text out as they come, several at once.

Three rules define a text, however it is generated (cached or not, alone or in a batch):

- The model reads a window of the newest tokens. It grows to `block_size`; then its newest half is read again in
  one pass and it grows on. Where it starts is a function of the position alone (`generation.cache.window_start`).
- The token at a position is drawn with one uniform number, a function of (seed, sample, position).
- An empty prompt starts after a newline, or, in a vocabulary without one, after its first token.

What does it is in `nanogpt.generation`: `batch` (rows in step), `cache`, `decoder`, `filters`, `precision`, `room` (how
many rows), `text`.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Literal

from torch import Tensor

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT
from nanogpt.sampling.batch import Batch, Row
from nanogpt.sampling.precision import lower_precision
from nanogpt.sampling.room import rows_that_fit
from nanogpt.sampling.text import SampleText, encode_prompt
from nanogpt.text.tokenizer import Tokenizer


def generate_ids(
    model: GPT, prompts: Tensor | Sequence[Tensor], config: SampleConfig, cached: bool = True
) -> Iterator[list[int]]:
    """Continue prompt ids (T,), T at least 1, or several of different lengths: yields the next token of each row.

    A row is one of the `config.samples` of a prompt; those of the first prompt come first. Each is what it would be
    alone. Without `cached` the whole window is read anew for each token: slower, the same text. The model is in
    evaluation mode until the last token was taken, or the generator closed. Raises UserError where there is no prompt.
    """
    prompts = [prompts] if isinstance(prompts, Tensor) else prompts
    rows = range(len(prompts) * config.samples)
    for tokens in _steps(model, prompts, config, len(rows), cached=cached):
        yield [tokens[number] for number in rows]


def _steps(
    model: GPT,
    prompts: Sequence[Tensor],
    config: SampleConfig,
    room: int,
    *,
    ended: Callable[[int], bool] = lambda number: False,
    cached: bool = True,
) -> Iterator[dict[int, int]]:
    """The next token of each row that has one of `room` places, by its number among all rows.

    A row that has `config.tokens`, or has `ended`, gives its place to the next one.
    """
    if not prompts:
        raise UserError("there is no prompt to continue: give one at least, it may be empty")
    coming = deque((prompt, sample) for prompt in prompts for sample in range(config.samples))
    with _in_evaluation(model):
        batch = Batch(lower_precision(model, config.precision), min(room, len(coming)), cached)
        numbers = dict[Row, int]()
        while coming or batch.rows:
            while coming and len(batch.rows) < batch.room:
                prompt, sample = coming.popleft()
                numbers[batch.join(prompt, config, sample)] = len(numbers)
            rows = list(batch.rows)
            yield {numbers[row]: token for row, token in zip(rows, batch.step())}
            for row in reversed(rows):  # the last one first: whoever leaves gets the last one's keys and values
                prompt = prompts[numbers[row] // config.samples]
                if row.position == len(prompt) + config.tokens or ended(numbers[row]):
                    batch.leave(row)


@contextlib.contextmanager
def _in_evaluation(model: GPT) -> Iterator[None]:
    """Without dropout; afterwards each module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def stream_text(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str | Sequence[str] = "",
    config: SampleConfig | None = None,
    unknown: Literal["error", "skip"] = "error",
) -> Iterator[list[str]]:
    """Pieces of text as they come, one for each sample (empty while nothing is complete), without the prompt.

    With several prompts, the samples of the first come first; of very many some begin when others have ended. A sample
    ends at its end-of-document token, before a stop string, or after `config.tokens`; what could still become a stop
    string is held back. Raises UserError for a prompt with unknown characters.
    """
    config = config or SampleConfig()
    prompts = [encode_prompt(tokenizer, one, unknown) for one in ([prompt] if isinstance(prompt, str) else prompt)]
    texts = [SampleText(tokenizer, config.stop) for _ in range(len(prompts) * config.samples)]
    room = rows_that_fit(model.config)
    for tokens in _steps(model, prompts, config, room, ended=lambda number: texts[number].ended):
        yield [text.feed(tokens[number]) if number in tokens else "" for number, text in enumerate(texts)]
    if not all(text.ended for text in texts):
        yield [text.flush() for text in texts]


def generate_text(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str | Sequence[str] = "",
    config: SampleConfig | None = None,
    unknown: Literal["error", "skip"] = "error",
) -> list[str]:
    """What `stream_text` streams, whole: the continuation of the prompt, or of each, one text for each sample."""
    pieces = stream_text(model, tokenizer, prompt, config, unknown)
    return reduce(lambda texts, following: [text + piece for text, piece in zip(texts, following)], pieces)
