"""What the figures of a text mean for training: how it fits a model, which tokenizer suits it, what to fix first."""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nanogpt.config import Config, ModelConfig
from nanogpt.text.bpe import BpeTokenizer
from nanogpt.text.inspection import RARE, Inspection
from nanogpt.text.scan import FEW_TOKENS

MANY_CHARACTERS = 512
"""An alphabet above this is large for a small model."""
BPE_BYTES = 1_000_000
"""Length of text from which merged tokens are worth their vocabulary. Bits per byte after 800 steps of the default
model on Tiny Shakespeare, 1.1 MB: characters 2.63, 4,096 tokens 2.32."""
MUCH_REPEATED = 0.1
MUCH_SORTED = 0.95
MUCH_SHARED = 0.02
MUCH_RARE = 0.2
MUCH_MOJIBAKE = 1e-4


@dataclass(frozen=True)
class Fit:
    """A text's training part in the tokens of one tokenizer, compared with a preset's model."""

    tokenizer: str
    vocab_size: int
    bytes_per_token: float
    tokens: int
    """of the training part; with bpe estimated from a sample"""
    parameters: int
    vocabulary_share: float
    """share of the parameters in the embedding and the output layer"""
    steps_per_epoch: int


def fit_tokenizers(
    found: Inspection, config: Config, sample: Iterable[str], count_parameters: Callable[[ModelConfig], int]
) -> tuple[Fit, ...]:
    """Return how the text fits a preset's model with each tokenizer; BPE merges are learned from the sample."""
    texts = list(sample)
    bpe = BpeTokenizer.train(texts, seed=config.train.seed)
    bpe_tokens, sampled = (sum(map(len, some)) for some in (map(bpe.encode, texts), map(str.encode, texts)))
    sizes = {
        "char": (found.distinct + 1, found.bytes / found.characters),
        "byte": (257, 1.0),
        "bpe": (bpe.vocab_size, sampled / max(bpe_tokens, 1)),
    }
    fits = []
    for name, (vocab_size, bytes_per_token) in sizes.items():
        model = config.override(vocab_size=vocab_size).model
        parameters = count_parameters(model)
        tokens = round(found.bytes * found.train_characters / found.characters / bytes_per_token)
        share = vocab_size * model.n_embd * (1 if model.tie_embeddings else 2) / parameters
        steps = max(1, tokens // (model.block_size * config.train.batch_sequences))
        fits.append(Fit(name, vocab_size, bytes_per_token, tokens, parameters, share, steps))
    return tuple(fits)


def recommend_tokenizer(size_bytes: int, distinct: int, rare: int) -> tuple[str, str]:
    """Return the tokenizer that suits a text, and why, from its UTF-8 length, distinct characters, and rare ones."""
    if size_bytes >= BPE_BYTES:
        return "bpe", (
            f"{size_bytes / 1e6:,.1f} MB are enough to learn 4,096 tokens; each stands for several bytes, so the same "
            f"context covers several times as much text"
        )
    if distinct > MANY_CHARACTERS:
        return "byte", (
            f"{distinct:,} distinct characters are a large vocabulary for a text of this length, and {rare:,} of them "
            f"occur fewer than {RARE} times; 256 bytes write them all, and each occurs often"
        )
    return "char", (
        f"{distinct} distinct characters are a small vocabulary; in less than {BPE_BYTES / 1e6:.0f} MB the merged "
        f"tokens of bpe are rare, and soon memorized"
    )


def interpret_overlap(found: Inspection) -> str:
    """Return what the share of the validation part that is also in the training part means for the loss."""
    if not found.overlap.windows:
        return "unknown: the validation part is too short"
    if found.overlap.share < MUCH_SHARED:
        return "little: the validation loss measures text that the model has not seen"
    return "much: the validation loss partly measures memorized text"


def find_faults(found: Inspection, tokenizer: str = "char", held_out: str = "end") -> list[str]:
    """Return what to fix before training with the recommended tokenizer, each with what to do.

    `held_out` is what the validation part is (`Scan.held_out`).
    """
    documents, lines, overlap = found.repeated_documents, found.repeated_lines, found.overlap
    few = found.train_characters < FEW_TOKENS
    faults = {
        f"{found.replaced:,} replacement characters U+FFFD: the text was decoded wrongly; get it in its original "
        f"encoding": found.replaced > 0,
        f"{found.mojibake:,} letters look like UTF-8 read in another encoding (Ã© for é): save the text again, or "
        f"leave out --encoding": found.mojibake > MUCH_MOJIBAKE * found.characters,
        f"{found.rare:,} of {found.distinct:,} characters occur fewer than {RARE} times, too rarely to be learned: "
        f"replace or delete them": tokenizer == "char" and found.rare > MUCH_RARE * found.distinct and not few,
        f"copies of other documents: about {documents.copies:,}; --clean all keeps one of each": documents.copies > 0,
        f"{lines.share:.0%} of the text are repeated lines, such as {lines.example!r}: --clean all leaves out headers "
        f"and page numbers; delete menus and licenses that repeat": lines.share > MUCH_REPEATED,
        f"{overlap.share:.1%} of the validation part is also in the training part: delete what repeats, or give "
        f"another text for validation by --val": overlap.share >= MUCH_SHARED,
        "the lines are sorted, so the end of the text is unlike the rest, and the validation loss misleads: train with "
        "--documents lines if each is a document, else shuffle them": held_out == "end"
        and found.sorted_lines > MUCH_SORTED,
        f"{found.train_characters:,} characters of training text are soon memorized: add text (a few hundred thousand "
        f"are a good start), or train with --patience 3": few,
    }
    return [fault for fault, holds in faults.items() if holds]


def name_character(character: str) -> str:
    r"""Return a character with its code point and Unicode name.

    >>> name_character("é"), name_character("\x07")
    ("'é' U+00E9 LATIN SMALL LETTER E WITH ACUTE", "'\\x07' U+0007")
    """
    return f"{character!r} U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
