"""Text to token ids and back: one token a character, one a byte, or one a frequent sequence of bytes.

Those of others that divide text by another rule than GPT-2's are in `nanogpt.text.foreign`. All have one interface and
are kept as `tokenizer.json` inside every run, so that a model is never read with another alphabet than it was trained
with. The end-of-document token, where there is one, has the last id, but for a vocabulary from elsewhere, which has its
own place for it.
"""

import json
from collections.abc import Iterable
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nanogpt.errors import UserError
from nanogpt.files import FORMAT, check_format
from nanogpt.text.bpe import DEFAULT_VOCABULARY, BpeTokenizer, Utf8Decoder
from nanogpt.text.foreign import ForeignTokenizer

Ids = NDArray[np.int32]
CHUNK_CHARACTERS = 1 << 22
LARGEST_FILE_CHARACTERS = 16_000_000
"""Of a `tokenizer.json`: several times GPT-2's vocabulary, or all of Unicode."""


class Decoder(Protocol):
    """Ids one at a time to text, never half a character."""

    def feed(self, token: int) -> str:
        """The text that this token completes; empty where a character is still open."""
        ...

    def flush(self) -> str:
        """What is left open at the end, as a replacement character."""
        ...


class Tokenizer(Protocol):
    """What every tokenizer offers."""

    kind: str
    vocab_size: int
    end_of_document: int | None

    def encode(self, text: str, unknown: Literal["error", "skip"] = "error") -> Ids:
        """Token ids (T,) of a text. Raises UserError naming what is not in the vocabulary, unless it is skipped."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; the end-of-document token has none."""
        ...

    def decoder(self) -> Decoder:
        """A fresh decoder for streaming."""
        ...

    def token_bytes(self) -> NDArray[np.int64]:
        """Bytes of UTF-8 in each token's text, (V,); 0 for the end-of-document token."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """What `tokenizer.json` holds."""
        ...


class CharTokenizer:
    """One token a character, in the order of their code points.

    >>> tokenizer = CharTokenizer.train(["hello"])
    >>> tokenizer.encode("hole").tolist(), tokenizer.vocab_size
    ([1, 3, 2, 0], 5)
    >>> tokenizer.decode([1, 0, 2, 2, 3])
    'hello'
    """

    kind = "char"

    def __init__(self, characters: str, end_of_document: bool = True) -> None:
        if not characters or len(set(characters)) < len(characters):
            raise UserError(f"a vocabulary of {len(characters)} characters must not be empty or hold one twice")
        self.characters = characters
        self.end_of_document = len(characters) if end_of_document else None
        self.vocab_size = len(characters) + end_of_document
        points = _code_points(characters)
        # One look-up for a whole text; -1 marks what the vocabulary lacks. As long as the largest code point.
        self._ids = np.full(int(points.max()) + 2, -1, dtype=np.int32)
        self._ids[points] = np.arange(len(characters), dtype=np.int32)

    @classmethod
    def train(cls, texts: Iterable[str], end_of_document: bool = True) -> "CharTokenizer":
        """The alphabet of some texts."""
        seen: set[str] = set()
        for text in texts:
            for start in range(0, len(text), CHUNK_CHARACTERS):
                seen.update(text[start : start + CHUNK_CHARACTERS])
        return cls("".join(sorted(seen)), end_of_document)

    def encode(self, text: str, unknown: Literal["error", "skip"] = "error") -> Ids:
        chunks = [text[i : i + CHUNK_CHARACTERS] for i in range(0, len(text), CHUNK_CHARACTERS)]
        parts = [self._ids.take(_code_points(chunk), mode="clip") for chunk in chunks]  # beyond the table: its -1
        ids = np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
        known = ids >= 0
        if known.all():
            return ids
        if unknown == "skip":
            return ids[known]
        missing = sorted({text[i] for i in np.flatnonzero(~known)})
        names = " ".join(map(repr, missing[:10])) + (f" and {len(missing) - 10} more" if missing[10:] else "")
        raise UserError(
            f"the model never saw {names}: leave {'it' if len(missing) == 1 else 'them'} out, or pass --unknown skip "
            f"(in Python: unknown='skip') to drop what is unknown"
        )

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.characters[i] for i in ids if i != self.end_of_document)

    def decoder(self) -> "CharDecoder":
        return CharDecoder(self)

    def token_bytes(self) -> NDArray[np.int64]:
        sizes = [len(character.encode("utf-8", "surrogatepass")) for character in self.characters]
        return np.array(sizes + [0] * (self.end_of_document is not None), dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "characters": self.characters, "end_of_document": self.end_of_document is not None}


class CharDecoder:
    """Each token is a whole character already."""

    def __init__(self, tokenizer: CharTokenizer) -> None:
        self._tokenizer = tokenizer

    def feed(self, token: int) -> str:
        return self._tokenizer.decode([token])

    def flush(self) -> str:
        return ""


class ByteTokenizer:
    """One token a byte of UTF-8: any text in any language, without a vocabulary to learn.

    >>> tokenizer = ByteTokenizer()
    >>> tokenizer.encode("né").tolist(), tokenizer.decode([110, 195, 169]), tokenizer.vocab_size
    ([110, 195, 169], 'né', 257)
    """

    kind = "byte"

    def __init__(self, end_of_document: bool = True) -> None:
        self.end_of_document = 256 if end_of_document else None
        self.vocab_size = 256 + end_of_document

    def encode(self, text: str, unknown: Literal["error", "skip"] = "error") -> Ids:
        return np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8).astype(np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        return bytes(i for i in ids if i != self.end_of_document).decode("utf-8", "replace")

    def decoder(self) -> Utf8Decoder:
        return Utf8Decoder([*(bytes([byte]) for byte in range(256)), b""])

    def token_bytes(self) -> NDArray[np.int64]:
        return np.array([1] * 256 + [0] * (self.end_of_document is not None), dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "end_of_document": self.end_of_document is not None}


def train_tokenizer(
    kind: str, texts: Iterable[str], end_of_document: bool = True, vocab_size: int = 0, seed: int = 1337
) -> Tokenizer:
    """A tokenizer of this kind (`char`, `byte`, `bpe`), its vocabulary taken from the texts.

    `vocab_size` and `seed` are for `bpe`: how many tokens to learn (0: 4,096), and from which sample of the texts.
    """
    if kind == "char":
        return CharTokenizer.train(texts, end_of_document)
    if kind == "bpe":
        return BpeTokenizer.train(texts, vocab_size or DEFAULT_VOCABULARY, end_of_document, seed)
    return ByteTokenizer(end_of_document)


def dump_tokenizer(tokenizer: Tokenizer) -> str:
    """The text of `tokenizer.json`; that of a large one from elsewhere on one line."""
    indent = None if isinstance(tokenizer, ForeignTokenizer) else 1
    return json.dumps({"format": FORMAT, **tokenizer.to_dict()}, ensure_ascii=False, indent=indent) + "\n"


def parse_tokenizer(text: str, where: str) -> Tokenizer:
    """The tokenizer written by `dump_tokenizer`; UserError, naming `where`, for anything else."""
    if len(text) > LARGEST_FILE_CHARACTERS:
        raise UserError(
            f"{where} is longer than {LARGEST_FILE_CHARACTERS:,} characters, as no tokenizer of this program: restore "
            f"it from a copy of the run"
        )
    try:
        tables = json.loads(text)
        check_format(tables, where)
        if tables["kind"] == "char":
            return CharTokenizer(tables["characters"], tables["end_of_document"] is True)
        if tables["kind"] == "byte":
            return ByteTokenizer(tables["end_of_document"] is True)
        if tables["kind"] == "bpe":
            return BpeTokenizer.from_dict(tables)
        if tables["kind"] == "foreign":
            return ForeignTokenizer.from_dict(tables)
    except UserError as error:  # these name the file themselves, or not at all
        raise UserError(str(error) if where in str(error) else f"{where}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{where} is not a tokenizer of this program: restore it from a copy of the run") from None
    raise UserError(
        f"{where}: unknown kind {tables['kind']!r} of tokenizer; this nanogpt knows char, byte, bpe and "
        f"foreign: upgrade nanogpt, or restore the file from a copy of the run"
    )


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
