"""Text from a model: prompts in, tokens or text out as they come, several at once.

Three rules define a text, however it is generated (cached or not, alone or in a batch):

- The model reads a window of the newest tokens. It grows to `block_size`; then its newest half is read again in
  one pass and it grows on. Where it starts is a function of the position alone (`generation.cache.window_start`).
- The token at a position is drawn with one uniform number, a function of (seed, sample, position).
- An empty prompt starts after a newline, or, in a vocabulary without one, after its first token.

What does it is in `nanogpt.generation`: `batch` (rows in step), `cache`, `decoder`, `filters`, `precision`, `text`.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from torch import Tensor

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError
from nanogpt.generation.batch import Batch
from nanogpt.generation.precision import lower_precision
from nanogpt.generation.text import SampleText, encode_prompt
from nanogpt.model import GPT
from nanogpt.tokenizer import Tokenizer


def generate_ids(
    model: GPT, prompts: Tensor | Sequence[Tensor], config: SampleConfig, cached: bool = True
) -> Iterator[list[int]]:
    """Continue prompt ids (T,), T at least 1, or several of different lengths: yields the next token of each row.

    A row is one of the `config.samples` of a prompt; those of the first prompt come first. Each is what it would be
    alone. Without `cached` the whole window is read anew for each token: slower, the same text. Raises UserError where
    there is no prompt.
    """
    model = lower_precision(model.eval(), config.precision)
    prompts = [prompts] if isinstance(prompts, Tensor) else prompts
    if not prompts:
        raise UserError("there is no prompt to continue: give one at least, it may be empty")
    batch = Batch(model, len(prompts) * config.samples, cached)
    for prompt in prompts:
        for number in range(config.samples):
            batch.join(prompt, config, number)
    for _ in range(config.tokens):
        yield batch.step()


def stream_text(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str | Sequence[str] = "",
    config: SampleConfig | None = None,
    unknown: Literal["error", "skip"] = "error",
) -> Iterator[list[str]]:
    """Pieces of text as they come, one for each sample (empty while nothing is complete), without the prompt.

    With several prompts, the samples of the first come first. A sample ends at its end-of-document token, before a
    stop string, or after `config.tokens`; what could still become a stop string is held back. Raises UserError for a
    prompt with unknown characters.
    """
    config = config or SampleConfig()
    prompts = [encode_prompt(tokenizer, one, unknown) for one in ([prompt] if isinstance(prompt, str) else prompt)]
    texts = [SampleText(tokenizer, config.stop) for _ in range(len(prompts) * config.samples)]
    for row in generate_ids(model, prompts, config):
        yield [text.feed(token) for text, token in zip(texts, row)]
        if all(text.ended for text in texts):
            return
    yield [text.flush() for text in texts]


def generate_text(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str | Sequence[str] = "",
    config: SampleConfig | None = None,
    unknown: Literal["error", "skip"] = "error",
) -> list[str]:
    """What `stream_text` streams, whole: the continuation of the prompt, or of each, one text for each sample."""
    return ["".join(pieces) for pieces in zip(*stream_text(model, tokenizer, prompt, config, unknown))]
