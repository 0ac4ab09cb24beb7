"""What a text's figures mean for a training: how it fits a model, which tokenizer suits it, what to mend first."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from nanogpt.config import Config
from nanogpt.model.gpt import GPT
from nanogpt.text.bpe import BpeTokenizer
from nanogpt.text.inspection import RARE, Inspection
from nanogpt.text.short_texts import FEW_TOKENS

MANY_CHARACTERS = 512
"""Beyond this an alphabet is no longer small beside a small model."""
BPE_BYTES = 1_000_000
"""Text from which merged tokens are worth their vocabulary. Bits per byte after 800 steps of the default model on Tiny
Shakespeare, 1.1 MB: characters 2.63, bytes 2.66, 512 tokens 2.43, 4,096 tokens 2.32."""
MUCH_REPEATED = 0.1
MUCH_SHARED = 0.02
MUCH_RARE = 0.2
MUCH_MOJIBAKE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A text's training part in one tokenizer's tokens, beside a preset's model."""

    tokenizer: str
    vocab_size: int
    bytes_per_token: float
    tokens: int
    """of the training part; with bpe estimated from a sample"""
    parameters: int
    vocabulary_share: float
    """of the parameters, what the embedding and the output layer have"""
    steps_per_epoch: int


def fit_tokenizers(found: Inspection, config: Config, sample: Iterable[str]) -> tuple[Fit, ...]:
    """How the text fits a preset's model with each tokenizer; merges are learned from the sample."""
    texts = list(sample)
    merges = BpeTokenizer.train(texts, seed=config.train.seed)
    merged = sum(len(merges.encode(text)) for text in texts)
    sampled = sum(len(text.encode("utf-8", "replace")) for text in texts)
    sizes = {
        "char": (found.distinct + 1, found.bytes / found.characters),
        "byte": (257, 1.0),
        "bpe": (merges.vocab_size, sampled / max(merged, 1)),
    }
    return tuple(_fit(found, config, name, *size) for name, size in sizes.items())


def _fit(found: Inspection, config: Config, tokenizer: str, vocab_size: int, bytes_per_token: float) -> Fit:
    model, train = config.override(vocab_size=vocab_size).model, config.train
    with torch.device("meta"):  # shapes alone
        parameters = GPT(model).parameter_count
    tables = vocab_size * model.n_embd * (1 if model.tie_embeddings else 2)
    tokens = round(found.bytes * found.train_characters / found.characters / bytes_per_token)
    return Fit(
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        bytes_per_token=bytes_per_token,
        tokens=tokens,
        parameters=parameters,
        vocabulary_share=tables / parameters,
        steps_per_epoch=max(1, tokens // (model.block_size * train.batch_sequences)),
    )


def advise_tokenizer(size_bytes: int, distinct: int, rare: int) -> tuple[str, str]:
    """Which tokenizer suits a text, and why: its length in UTF-8, its different characters, how many are rare."""
    if size_bytes >= BPE_BYTES:
        return "bpe", (
            f"{size_bytes / 1e6:,.1f} MB are enough to learn 4,096 tokens; each stands for several bytes, so that the "
            f"same context reaches several times as far"
        )
    if distinct > MANY_CHARACTERS:
        return "byte", (
            f"{distinct:,} different characters are a large vocabulary for a text of this length, {rare:,} of them "
            f"occur fewer than {RARE} times; 256 bytes write them all, and each is seen often"
        )
    return "char", (
        f"{distinct} different characters are a small vocabulary; in less than "
        f"{BPE_BYTES / 1e6:.0f} MB the merged tokens of bpe are seen seldom, and soon known by heart"
    )


def meaning_of_overlap(found: Inspection) -> str:
    """What the share of the validation part that stands in the training part says about a loss."""
    if not found.overlap.windows:
        return "nothing: the validation part is too short to tell"
    if found.overlap.share < MUCH_SHARED:
        return "little: the validation loss measures text that the model has not seen"
    return "much: the validation loss measures in part what was learned by heart"


def find_faults(found: Inspection) -> list[str]:
    """What to mend before training, each with what to do."""
    documents, lines, overlap = found.repeated_documents, found.repeated_lines, found.overlap
    few = found.train_characters < FEW_TOKENS
    faults = {
        f"{found.replaced:,} replacement characters U+FFFD: the text was decoded wrongly before it came here; get it "
        f"in its first encoding": found.replaced > 0,
        f"{found.mojibake:,} letters look like UTF-8 that was read as another encoding (Ã© for é): save the text anew, "
        f"or leave --encoding out": found.mojibake > MUCH_MOJIBAKE * found.characters,
        f"{found.rare:,} of {found.distinct:,} characters occur fewer than {RARE} times, too rarely to be learned: "
        f"replace or delete them, or train with --tokenizer bpe or byte": found.rare > MUCH_RARE * found.distinct
        and not few,
        f"about {documents.copies:,} documents are copies of others: keep one of each": documents.copies > 0,
        f"{lines.share:.0%} of the text are lines that stood there before, such as {lines.example!r}: delete headers, "
        f"menus and licences that repeat": lines.share > MUCH_REPEATED,
        f"{overlap.share:.1%} of the validation part stands in the training part: delete what repeats, or give another "
        f"text to validate on by --val": overlap.share >= MUCH_SHARED,
        f"{found.train_characters:,} characters to train on are soon known by heart: add text (some hundred thousand "
        f"are a good start), or train with --patience 3": few,
    }
    return [fault for fault, holds in faults.items() if holds]


def name_character(character: str) -> str:
    """A character as a person can look it up.

    >>> name_character("é"), name_character("\\x07")
    ("'é' U+00E9 LATIN SMALL LETTER E WITH ACUTE", "'\\\\x07' U+0007")
    """
    return f"{character!r} U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
