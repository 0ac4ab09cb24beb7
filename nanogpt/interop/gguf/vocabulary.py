"""Our tokenizers as the one kind that llama.cpp calls `gpt2`: a byte-level BPE, with the same ids for every text.

llama.cpp divides a text by GPT-2's rule, writes each byte as one character of GPT-2's alphabet, and applies merges by
their rank to what stands side by side. What comes of it need not be a token on the way, only at the end. So

- a character vocabulary has merges that join the bytes of each of its characters, from the left. The beginning of a
  character and a byte that continues it stand side by side within one character alone (UTF-8 synchronises itself):
  no merge reaches across two. What is not in the vocabulary stays in pieces that no token has, and llama.cpp drops
  them, as `--unknown skip` does.
- a byte vocabulary needs no merge. A file without any is refused, so there is one that never applies.

The rule by which text is divided is that of an older Unicode than ours: of some thousand characters that came after
Unicode 15, llama.cpp does not know that they are letters or numbers. A BPE may join their bytes otherwise than ours.

Qwen's vocabulary is taken as it is. llama.cpp leaves out its normalisation (NFC): a text that is not in that form has
other ids there.

A file cannot say that there is no end of a text: where it names no token, llama.cpp takes the one with id 11.
"""

from dataclasses import dataclass

from nanogpt.errors import UserError
from nanogpt.interop.special import special_names
from nanogpt.text.bpe import BYTE_OF, BpeTokenizer, split_merge
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer

MODEL, PRE, QWEN_PRE = "gpt2", "gpt-2", "qwen2"
"""The kind of vocabulary, and the rules by which text is divided before merging."""
LETTER_OF = {byte: letter for letter, byte in BYTE_OF.items()}
NEVER = LETTER_OF[0xFF]
"""A byte that no UTF-8 has."""
DEFAULT_END = 11
"""The end of a text where a file names none, if the vocabulary is that long."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What a file says of its tokens."""

    tokens: tuple[str, ...]
    """in the byte alphabet, in the order of their ids; those without text have a name"""
    silent: frozenset[int]
    """ids of those without text"""
    whole: frozenset[int]
    """ids of those that are matched in a text before anything is merged, written as they are"""
    pre: str
    """llama.cpp's name for the rule by which text is divided before merging"""
    merges: tuple[str, ...]
    """two parts with a space between, in the order of their rank; one at least"""
    end: int | None
    """id of the token that ends a text; None where the vocabulary is too short to have one by default"""


def to_vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """A tokenizer in llama.cpp's terms.

    Raises UserError for half a character (a lone surrogate), and for a character vocabulary without an end-of-document
    token, one of whose characters would end every text.

    >>> to_vocabulary(CharTokenizer("aé")).tokens, to_vocabulary(CharTokenizer("aé")).merges
    (('a', 'Ã©', '<|endoftext|>'), ('Ã ©',))
    """
    names = special_names(tokenizer)
    texts, merges = _texts(tokenizer)
    tokens = [names.get(number, "") or texts[number] for number in range(tokenizer.vocab_size)]
    return Vocabulary(
        tokens=tuple(tokens),
        silent=frozenset(names),
        whole=_whole(tokenizer),
        pre=QWEN_PRE if isinstance(tokenizer, ForeignTokenizer) else PRE,
        merges=tuple(merges) or (f"{NEVER} {NEVER}",),
        end=_end(tokenizer, tokens, sorted(names)),
    )


def _texts(tokenizer: Tokenizer) -> tuple[dict[int, str], list[str]]:
    """The text of each token that has some, in the byte alphabet, and the merges."""
    if isinstance(tokenizer, CharTokenizer):
        characters = [_letters(character) for character in tokenizer.characters]
        joins = (f"{one[:size]} {one[size]}" for one in characters for size in range(1, len(one)))
        return dict(enumerate(characters)), list(dict.fromkeys(joins))
    if isinstance(tokenizer, ByteTokenizer):
        return LETTER_OF, []
    if isinstance(tokenizer, ForeignTokenizer):
        model, added = tokenizer.tables["model"], tokenizer.tables["added_tokens"]
        foreign = {number: token for token, number in model["vocab"].items()}
        pairs = (" ".join(split_merge(merge)) for merge in model["merges"])
        return foreign | {one["id"]: one["content"] for one in added}, list(pairs)
    assert isinstance(tokenizer, BpeTokenizer)
    # Of a pair that stands there twice, the library of ours goes by the last one, and llama.cpp by the first.
    ranked = reversed(dict.fromkeys(reversed(tokenizer.merges)))
    texts = {number: token for number, token in enumerate(tokenizer.tokens) if token is not None}
    return texts, [f"{left} {right}" for left, right in ranked]


def _whole(tokenizer: Tokenizer) -> frozenset[int]:
    if not isinstance(tokenizer, ForeignTokenizer):
        return frozenset()
    return frozenset(one["id"] for one in tokenizer.tables["added_tokens"] if not one["special"])


def _letters(character: str) -> str:
    if "\ud800" <= character <= "\udfff":
        raise UserError("the vocabulary has half a character (a lone surrogate), which no GGUF file can hold")
    return "".join(LETTER_OF[byte] for byte in character.encode())


def _end(tokenizer: Tokenizer, tokens: list[str], silent: list[int]) -> int | None:
    """The token that ends a text: one that has no text, else the byte that no text has.

    A learned token could end texts by its name alone (`<|im_end|>` and others), but each of those names has letters
    and punctuation, and GPT-2's rule divides a text between them.
    """
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
        f"the vocabulary has no end-of-document token, and llama.cpp would end every text at "
        f"{tokenizer.characters[DEFAULT_END]!r}, its token {DEFAULT_END}: train with end_of_document to export to gguf"
    )
