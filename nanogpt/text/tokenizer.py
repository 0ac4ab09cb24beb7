"""Text to token ids and back: the interface of tokenizers, and the one with a token per character.

Those of bytes and BPE are in `nanogpt.text.bpe`, and those of others that split text by another rule than GPT-2's in
`nanogpt.text.foreign`; both are imported when used. Every run keeps its tokenizer as `tokenizer.json`, so that a model
is always read with the vocabulary it was trained with. The end-of-document token, if there is one, has the last id,
except in a vocabulary from elsewhere.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nanogpt.errors import UserError
from nanogpt.files import FORMAT, check_format
from nanogpt.text.chunks import CHUNK_CHARACTERS, Chunk, batch_chunks, cut_chunks, map_in_threads

Ids = NDArray[np.int32]
Unknown = Literal["error", "skip"]
LARGEST_FILE_CHARACTERS = 16_000_000
"""Limit for a `tokenizer.json`: several times GPT-2's vocabulary, or all of Unicode."""


class Decoder(Protocol):
    """Turns ids into text one at a time, never yielding part of a character."""

    def feed(self, token: int) -> str:
        """Return the text that this token completes; empty while a character is incomplete."""
        ...

    def flush(self) -> str:
        """Return what is incomplete at the end, as a replacement character."""
        ...


class Tokenizer(Protocol):
    """The interface of every tokenizer."""

    kind: str
    vocab_size: int
    end_of_document: int | None

    def encode(self, text: str, unknown: Unknown = "error") -> Ids:
        """Return the token ids of a text, shape (T,). Raises UserError naming unknown characters, or skips them."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of token ids; the end-of-document token has none."""
        ...

    def decoder(self) -> Decoder:
        """Return a new decoder for streaming."""
        ...

    def token_bytes(self) -> NDArray[np.int64]:
        """Return the length in UTF-8 of each token's text, shape (V,); 0 for the end-of-document token."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `tokenizer.json`."""
        ...


class CharTokenizer:
    """One token per character, in the order of their code points.

    >>> tokenizer = CharTokenizer.train(["hello"])
    >>> tokenizer.encode("hole").tolist(), tokenizer.vocab_size
    ([1, 3, 2, 0], 5)
    >>> tokenizer.decode([1, 0, 2, 2, 3])
    'hello'
    """

    kind = "char"

    def __init__(self, characters: str, end_of_document: bool = True) -> None:
        if not characters or len(set(characters)) < len(characters):
            raise UserError(f"a vocabulary of {len(characters)} characters must not be empty or contain one twice")
        self.characters = characters
        self.end_of_document = len(characters) if end_of_document else None
        self.vocab_size = len(characters) + end_of_document
        points = _code_points(characters)
        # A table by code point, up to the largest; -1 marks what the vocabulary lacks.
        self._ids = np.full(int(points.max()) + 2, -1, dtype=np.int32)
        self._ids[points] = np.arange(len(characters), dtype=np.int32)

    @classmethod
    def train(cls, texts: Iterable[str], end_of_document: bool = True) -> "CharTokenizer":
        """Return a tokenizer with the alphabet of some texts."""
        seen: set[str] = set()
        for text in texts:
            seen.update(text)
        return cls("".join(sorted(seen)), end_of_document)

    def encode(self, text: str, unknown: Unknown = "error") -> Ids:
        """Return the token ids of a text, shape (T,)."""
        ids = self._ids.take(_code_points(text), mode="clip")  # beyond the table: its last entry, -1
        known = ids >= 0
        if known.all():
            return ids
        if unknown == "skip":
            return ids[known]
        missing = sorted({text[i] for i in np.flatnonzero(~known)})
        names = " ".join(map(repr, missing[:10])) + (f" and {len(missing) - 10} more" if missing[10:] else "")
        raise UserError(
            f"the model never saw {names}: leave {'it' if len(missing) == 1 else 'them'} out, or pass --unknown skip "
            f"(in Python: unknown='skip') to drop unknown characters"
        )

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of token ids."""
        return "".join(self.characters[i] for i in ids if i != self.end_of_document)

    def decoder(self) -> "CharDecoder":
        """Return a new decoder for streaming."""
        return CharDecoder(self)

    def token_bytes(self) -> NDArray[np.int64]:
        """Return the length in UTF-8 of each token's text, shape (V,)."""
        sizes = [len(character.encode("utf-8", "surrogatepass")) for character in self.characters]
        return np.array(sizes + [0] * (self.end_of_document is not None), dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `tokenizer.json`."""
        return {"kind": self.kind, "characters": self.characters, "end_of_document": self.end_of_document is not None}


class CharDecoder:
    """Passes each token on at once, since it is a whole character."""

    def __init__(self, tokenizer: CharTokenizer) -> None:
        self._tokenizer = tokenizer

    def feed(self, token: int) -> str:
        """Return the token's character."""
        return self._tokenizer.decode([token])

    def flush(self) -> str:
        """Return nothing, since no character is ever incomplete."""
        return ""


class TextStream:
    """The text of one sample as its tokens arrive: whole characters, and nothing of a stop string."""

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...] = ()) -> None:
        self._end_of_document, self._stop = tokenizer.end_of_document, stop
        self._decoder = tokenizer.decoder()
        self._held = ""
        self.ended = False

    def feed(self, token: int) -> str:
        """Take one more token; return the text that is certain now."""
        if self.ended:
            return ""
        if token == self._end_of_document:
            return self.flush()
        self._held += self._decoder.feed(token)
        found = [at for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            self.ended = True
            return self._release(min(found))
        return self._release(len(self._held) - self._undecided())

    def flush(self) -> str:
        """End the sample; return what was held back, unless a stop string ended it."""
        if self.ended:
            return ""
        self.ended = True
        self._held += self._decoder.flush()
        return self._release(len(self._held))

    def _undecided(self) -> int:
        """Return how many of the last characters may be the beginning of a stop string."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stop):
                return size
        return 0

    def _release(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text


def encode_chunks(
    chunks: Iterable[Chunk], tokenizer: Tokenizer, unknown: Unknown = "error"
) -> Iterator[NDArray[np.unsignedinteger]]:
    """Yield the ids of a text part by part: those of each document, the end-of-document token between them.

    The ids are the same as if each document was encoded at once. Raises UserError for unknown characters.

    >>> chunks = [Chunk("ab", True), Chunk("b", True)]
    >>> [ids.tolist() for ids in encode_chunks(chunks, CharTokenizer("ab"))]
    [[0, 1, 2, 1]]
    """
    kind = id_type(tokenizer)
    between = [] if tokenizer.end_of_document is None else [np.array([tokenizer.end_of_document], dtype=kind)]

    def encode(batch: list[Chunk]) -> NDArray[np.unsignedinteger]:
        parts: list[NDArray[np.unsignedinteger]] = []
        for chunk in batch:
            if chunk.begins:
                parts += between
            parts.append(tokenizer.encode(chunk.text, unknown).astype(kind))
        return np.concatenate(parts)

    def without_first_beginning() -> Iterator[Chunk]:
        for number, chunk in enumerate(cut_chunks(chunks, CHUNK_CHARACTERS)):
            yield chunk if number else chunk._replace(begins=False)

    return map_in_threads(encode, batch_chunks(without_first_beginning()))


def id_type(tokenizer: Tokenizer) -> type[np.unsignedinteger]:
    """Return the smallest type that holds every id."""
    return np.min_scalar_type(tokenizer.vocab_size - 1).type


def train_tokenizer(
    kind: str, texts: Iterable[str], end_of_document: bool = True, vocab_size: int = 0, seed: int = 1337
) -> Tokenizer:
    """Return a tokenizer of this kind (`char`, `byte`, `bpe`) with its vocabulary taken from the texts.

    `vocab_size` and `seed` are for `bpe`: how many tokens to learn (0: 4,096), and from which sample of the texts.
    """
    if kind == "char":
        return CharTokenizer.train(texts, end_of_document)
    from nanogpt.text.bpe import DEFAULT_VOCABULARY, BpeTokenizer, ByteTokenizer

    if kind == "bpe":
        return BpeTokenizer.train(texts, vocab_size or DEFAULT_VOCABULARY, end_of_document, seed)
    return ByteTokenizer(end_of_document)


def dump_tokenizer(tokenizer: Tokenizer) -> str:
    """Return the text of `tokenizer.json`; that of a foreign tokenizer, which is large, on one line."""
    indent = None if tokenizer.kind == "foreign" else 1
    return json.dumps({"format": FORMAT, **tokenizer.to_dict()}, ensure_ascii=False, indent=indent) + "\n"


def parse_tokenizer(text: str, where: str) -> Tokenizer:
    """Return the tokenizer written by `dump_tokenizer`; raise UserError, naming `where`, for anything else."""
    if len(text) > LARGEST_FILE_CHARACTERS:
        raise UserError(
            f"{where} is longer than {LARGEST_FILE_CHARACTERS:,} characters, the limit for a tokenizer: restore it "
            f"from a copy of the run"
        )
    try:
        tables = json.loads(text)
        check_format(tables, where)
        if tables["kind"] == "char":
            return CharTokenizer(tables["characters"], tables["end_of_document"] is True)
        if tables["kind"] in ("byte", "bpe"):
            from nanogpt.text.bpe import BpeTokenizer, ByteTokenizer

            byte = tables["kind"] == "byte"
            return ByteTokenizer(tables["end_of_document"] is True) if byte else BpeTokenizer.from_dict(tables)
        if tables["kind"] == "foreign":
            from nanogpt.text.foreign import ForeignTokenizer

            return ForeignTokenizer.from_dict(tables)
    except UserError as error:  # some of these name the file themselves
        raise UserError(str(error) if where in str(error) else f"{where}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{where} is not a tokenizer of nanogpt: restore it from a copy of the run") from None
    raise UserError(
        f"{where}: unknown kind of tokenizer {tables['kind']!r}; this nanogpt knows char, byte, bpe and foreign: "
        f"upgrade nanogpt, or restore the file from a copy of the run"
    )


def special_token_names(tokenizer: Tokenizer) -> dict[int, str]:
    """Return a name for each token without text, by id; no name is the text of another token.

    >>> special_token_names(CharTokenizer("abc"))
    {3: '<|endoftext|>'}
    """
    from nanogpt.text.bpe import END_OF_TEXT, BpeTokenizer
    from nanogpt.text.foreign import ForeignTokenizer

    end = tokenizer.end_of_document
    if isinstance(tokenizer, ForeignTokenizer):
        added, known = tokenizer.tables["added_tokens"], set(tokenizer.tables["model"]["vocab"].values())
        rows = set(range(tokenizer.vocab_size)) - known - {one["id"] for one in added}  # rows of the model only
        unused = {number: f"<|unused_{number}|>" for number in rows}
        return {one["id"]: one["content"] for one in added if one["special"]} | unused
    tokens = tokenizer.tokens if isinstance(tokenizer, BpeTokenizer) else []
    silent = {number for number, token in enumerate(tokens) if token is None} | (set() if end is None else {end})
    names = {}
    for number in sorted(silent):
        name = END_OF_TEXT if number == end else f"<|unused_{number}|>"
        while name in tokens:
            name = f"<{name}>"
        names[number] = name
    return names


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
