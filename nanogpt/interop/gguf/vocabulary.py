"""Our tokenizers as the kind that llama.cpp calls `gpt2`: a byte-level BPE with the same ids for every text.

llama.cpp merges neighbours by rank; only the final results need to be tokens. So a character vocabulary gets merges
that join the bytes of each character from the left (none crosses two characters, as UTF-8 is self-synchronising), and
llama.cpp drops the bytes of unknown characters, as `--unknown skip` does. A byte vocabulary gets a merge that never
applies, because a file without any is refused.

Limits: characters added after Unicode 15 may be split differently, and so may a text with bytes that SmolLM's
vocabulary lacks. llama.cpp composes no characters: a text that is not in NFC gets other ids with Qwen's vocabulary. A
file cannot state that no token ends a text: if it names none, llama.cpp takes id 11.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nanogpt.errors import UserError
from nanogpt.text.bpe import BYTE_OF, BpeTokenizer, ByteTokenizer, split_merge
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import CharTokenizer, Tokenizer

MODEL, PRE = "gpt2", "gpt-2"
"""llama.cpp's names of the vocabulary kind and of GPT-2's rule that splits a text before merging."""
LETTER_OF = {byte: letter for letter, byte in BYTE_OF.items()}
NEVER = LETTER_OF[0xFF]
"""A byte that never occurs in UTF-8."""
DEFAULT_END = 11
"""llama.cpp's end-of-text token for a file that names none, if the vocabulary is long enough."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The tokens of a GGUF file."""

    tokens: tuple[str, ...]
    """token texts in GPT-2's byte alphabet, by id; a token without text has a name"""
    silent: frozenset[int]
    """ids of the tokens without text"""
    special: frozenset[int]
    """those of them that have a name elsewhere: a chat template may ask for them"""
    whole: frozenset[int]
    """ids of the tokens that are matched in a text before merging, stored unencoded"""
    pre: str
    """llama.cpp's name of the rule that splits a text before merging"""
    merges: tuple[str, ...]
    """pairs separated by a space, by rank; at least one"""
    start: int
    """id of the token that an empty prompt begins with"""
    end: int | None
    """id of the end-of-text token; None where the vocabulary is too short for llama.cpp's default"""
    imported: Mapping[str, Any]
    """what an imported tokenizer came with: ids that end a text, a chat template (`nanogpt.text.imported`)"""


def to_vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """Return a tokenizer as llama.cpp's vocabulary.

    Raises:
        UserError: The vocabulary has a lone surrogate, llama.cpp would end every text at one of its characters, or it
            would merge otherwise.

    >>> to_vocabulary(CharTokenizer("aé")).tokens, to_vocabulary(CharTokenizer("aé")).merges
    (('a', 'Ã©', '<|endoftext|>'), ('Ã ©',))
    """
    names = tokenizer.special_token_names()
    texts, merges = _texts_and_merges(tokenizer)
    tokens = [names.get(number, "") or texts[number] for number in range(tokenizer.vocab_size)]
    whole: list[int] = []
    special = {tokenizer.end_of_document, *map(int, tokenizer.imported.get("names", {}))}
    if isinstance(tokenizer, ForeignTokenizer):
        whole_words = tokenizer.rule == "llama-bpe"
        if bool(tokenizer.tables["model"].get("ignore_merges")) != whole_words:
            raise UserError(
                f"the tokenizer's ignore_merges is {not whole_words}, but llama.cpp has only {whole_words} for a "
                f"vocabulary that splits text as {tokenizer.rule}: export to a folder"
            )
        whole = [one["id"] for one in tokenizer.tables["added_tokens"] if not one["special"]]
        special |= {one["id"] for one in tokenizer.tables["added_tokens"] if one["special"]}
    end = _end_of_text(tokenizer, tokens, sorted(names))
    return Vocabulary(
        tokens=tuple(tokens),
        silent=frozenset(names),
        special=frozenset(names) & (special | {end}),
        whole=frozenset(whole),
        pre=tokenizer.rule if isinstance(tokenizer, ForeignTokenizer) else PRE,
        merges=tuple(merges) or (f"{NEVER} {NEVER}",),
        start=tokenizer.start()[0],
        end=end,
        imported=tokenizer.imported,
    )


def _texts_and_merges(tokenizer: Tokenizer) -> tuple[dict[int, str], list[str]]:
    """Return the text of each token that has one, in GPT-2's byte alphabet, and the merges."""
    if isinstance(tokenizer, CharTokenizer):
        characters = [_letters(character) for character in tokenizer.texts]
        joins = (f"{one[:size]} {one[size]}" for one in characters for size in range(1, len(one)))
        return dict(enumerate(characters)), list(dict.fromkeys(joins))
    if isinstance(tokenizer, ByteTokenizer):
        return LETTER_OF, []
    if isinstance(tokenizer, ForeignTokenizer):
        model, added = tokenizer.tables["model"], tokenizer.tables["added_tokens"]
        texts = {number: token for token, number in model["vocab"].items()}
        merges = [" ".join(split_merge(merge)) for merge in model["merges"]]
        return texts | {one["id"]: one["content"] for one in added}, merges
    assert isinstance(tokenizer, BpeTokenizer)
    # If a pair occurs twice, our library uses the last one's rank, and llama.cpp the first one's.
    ranked = reversed(dict.fromkeys(reversed(tokenizer.merges)))
    texts = {number: token for number, token in enumerate(tokenizer.tokens) if token is not None}
    return texts, [f"{left} {right}" for left, right in ranked]


def _letters(character: str) -> str:
    if "\ud800" <= character <= "\udfff":
        raise UserError("the vocabulary has half a character (a lone surrogate), which a GGUF file cannot hold")
    return "".join(LETTER_OF[byte] for byte in character.encode())


def _end_of_text(tokenizer: Tokenizer, tokens: list[str], silent: list[int]) -> int | None:
    """Return the end-of-text token: one without text, else the byte that never occurs."""
    if tokenizer.end_of_document is not None:
        return tokenizer.end_of_document
    if silent:
        return silent[0]
    if NEVER in tokens:
        return tokens.index(NEVER)
    if len(tokens) <= DEFAULT_END:
        return None
    assert isinstance(tokenizer, CharTokenizer)
    raise UserError(
        f"the vocabulary has no end-of-document token, so llama.cpp would end every text at "
        f"{tokenizer.characters[DEFAULT_END]!r}, its token {DEFAULT_END}: train with --end-of-document"
    )
