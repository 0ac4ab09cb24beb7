"""A token's text as a person can see it: also spaces, line ends and parts of characters."""

import re

from nanogpt.errors import UserError
from nanogpt.interop.hugging_face.tokenizer import special_names
from nanogpt.text.bpe import BpeTokenizer
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer

SIGNS = {"\n": "↵", " ": "␣", "\t": "⇥", "\r": "␍"}
_PART = re.compile("[\udc80-\udcff]")
"""How Python keeps a byte that belongs to no whole character."""


def visible(tokenizer: Tokenizer, token: int) -> str:
    """A token's text with signs for what cannot be seen; the name of a token that has no text.

    A line end is ↵, a space ␣, a tab ⇥; a byte that is part of a character only is ‹C3›, another character without a
    shape ‹U+200B›. Raises UserError for a token that there is not.

    >>> [visible(ByteTokenizer(), token) for token in "n é".encode()], visible(ByteTokenizer(), 256)
    (['n', '␣', '‹C3›', '‹A9›'], '<|endoftext|>')
    """
    if not 0 <= token < tokenizer.vocab_size:
        raise UserError(f"there is no token {token}: the vocabulary has ids 0 to {tokenizer.vocab_size - 1}")
    if isinstance(tokenizer, CharTokenizer):
        characters, part = tokenizer.decode([token]), False
    else:
        characters, part = _bytes_of(tokenizer, token).decode("utf-8", "surrogateescape"), True
    if not characters:  # an added token of others may also have text
        return special_names(tokenizer).get(token, f"‹{token}›")
    return "".join(_sign(one, part) for one in characters)


def _sign(character: str, may_be_part: bool) -> str:
    if may_be_part and _PART.match(character):
        return f"‹{ord(character) - 0xDC00:02X}›"
    return SIGNS.get(character, character if character.isprintable() else f"‹U+{ord(character):04X}›")


def _bytes_of(tokenizer: Tokenizer, token: int) -> bytes:
    """A token's bytes; none of one without text."""
    if isinstance(tokenizer, ByteTokenizer):
        return bytes([token] if token < 256 else [])
    if isinstance(tokenizer, BpeTokenizer | ForeignTokenizer):
        return tokenizer.pieces[token]
    return tokenizer.decode([token]).encode("utf-8", "surrogatepass")
