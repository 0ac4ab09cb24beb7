"""What a short text asks for: a shorter context, and a word on how little it can teach."""

from collections.abc import Collection

from nanogpt.config import Config
from nanogpt.data.dataset import Dataset

FEWEST_WINDOWS = 4
"""In an epoch of a text so short that the context is made to fit it."""
FEW_TOKENS = 20_000
"""Of a training part. With 18,000 characters a minute's training passed its lowest validation loss after a third."""


def fit_block(config: Config, data: Dataset, named: Collection[str]) -> Config:
    """The config with a context that is short enough for `FEWEST_WINDOWS` in an epoch, unless its length was named."""
    longest = max(1, (len(data.train) - 1) // (FEWEST_WINDOWS + 1))  # one more: an epoch starts at its own offset
    if "block_size" in named or config.model.block_size <= longest:
        return config
    return config.override(block_size=longest)


def short_text_notes(config: Config, data: Dataset, wanted: int) -> tuple[str, ...]:
    """What to say of a short text: a context that was made to fit, where `wanted` was longer, and what it can teach."""
    tokens, block = len(data.train), config.model.block_size
    notes = []
    if block < wanted:
        notes.append(f"the text is short: block_size is {block}, not {wanted}, so that an epoch has several windows")
    if tokens < FEW_TOKENS:
        notes.append(
            f"{tokens:,} tokens are soon known by heart, and then the validation loss rises: add text (some hundred "
            f"thousand characters are a good start), or stop early with --patience 3; the best checkpoint is kept"
        )
    return tuple(notes)
