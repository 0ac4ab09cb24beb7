"""Text to token ids and back: what tokenizers share, and the one with a token per character.

Those of bytes and BPE are in `nanogpt.text.bpe`, those of other projects in `nanogpt.text.foreign`; both load when
used. Every run keeps its tokenizer as `tokenizer.json`. The end-of-document token, if there is one, has the last id,
except in a vocabulary that was imported or extended.
"""

import codecs
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nanogpt.config import RUN_FORMAT
from nanogpt.errors import UserError
from nanogpt.files import FORMAT, check_format
from nanogpt.text.chunks import CHUNK_CHARACTERS, Chunk, batch_chunks, cut_chunks, map_in_threads

Ids = NDArray[np.int32]
Unknown = Literal["error", "skip"]
END_OF_TEXT = "<|endoftext|>"
LARGEST_FILE_CHARACTERS = 16_000_000
"""Limit for a `tokenizer.json`: several times GPT-2's vocabulary, or all of Unicode."""


class UnknownCharacters(UserError):
    """Characters of a text that are not in the vocabulary. `problem` is what every caller can do about them."""

    def __init__(self, missing: Sequence[str]) -> None:
        it = "it" if len(missing) == 1 else "them"
        self.problem = f"the model never saw {name_characters(missing)}: leave {it} out"
        super().__init__(f"{self.problem}, or pass --unknown skip (in Python: unknown='skip') to drop them")


class Tokenizer(ABC):
    """Base of every tokenizer."""

    kind: str
    vocab_size: int
    end_of_document: int | None
    bos: int | None = None
    """token that an empty prompt begins with: the end-of-document token if the text had several documents; None: a
    newline, or in a vocabulary without one the first token"""
    bytes_by_id: Sequence[bytes]
    """each token's text in UTF-8; empty if it has none"""
    errors = "replace"
    """how bytes that are not UTF-8 are decoded"""
    imported: Mapping[str, Any] = {}
    """what came with an imported tokenizer and is written again at export (`nanogpt.text.imported`)"""

    @abstractmethod
    def encode(self, text: str, unknown: Unknown = "error") -> Ids:
        """Return the token ids of a text, shape (T,). Raises UserError naming unknown characters, or skips them."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the content of `tokenizer.json`."""

    def start(self) -> list[int]:
        """Return the ids that an empty prompt begins with, at least one."""
        return [self.bos] if self.bos is not None else self.encode("\n", "skip").tolist() or [0]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of token ids."""
        return b"".join(self.bytes_by_id[i] for i in ids).decode("utf-8", self.errors)

    def decoder(self) -> "Utf8Decoder":
        """Return a new decoder for streaming."""
        return Utf8Decoder(self.bytes_by_id, self.errors)

    def token_bytes(self) -> NDArray[np.int64]:
        """Return the length in UTF-8 of each token's text, shape (V,)."""
        return np.array([len(one) for one in self.bytes_by_id], dtype=np.int64)

    def special_token_names(self) -> dict[int, str]:
        """Return a name for each token without text, by id; no name is the text of another token.

        >>> CharTokenizer("abc").special_token_names()
        {3: '<|endoftext|>'}
        """
        names, known = {}, self.imported.get("names", {})
        for number in (number for number, written in enumerate(self.bytes_by_id) if not written):
            name = END_OF_TEXT if number == self.end_of_document else f"<|unused_{number}|>"
            name = known.get(str(number), f"<{name}>" if name in known.values() else name)
            while name.encode() in self.bytes_by_id:
                name = f"<{name}>"
            names[number] = name
        return names


class Utf8Decoder:
    """Turns ids into text one at a time; holds back the bytes of a character until it is complete."""

    def __init__(self, bytes_by_id: Sequence[bytes], errors: str) -> None:
        self._bytes_by_id = bytes_by_id
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)

    def feed(self, token: int) -> str:
        """Return the text that this token completes."""
        return self._decoder.decode(self._bytes_by_id[token])

    def flush(self) -> str:
        """Return what is incomplete at the end, as a replacement character."""
        return self._decoder.decode(b"", final=True)


class CharTokenizer(Tokenizer):
    """One token per character, in the order of their code points; characters that were added later come last.

    >>> tokenizer = CharTokenizer.train(["hello"])
    >>> tokenizer.encode("hole").tolist(), tokenizer.vocab_size
    ([1, 3, 2, 0], 5)
    >>> tokenizer.decode([1, 0, 2, 2, 3])
    'hello'
    """

    kind = "char"
    errors = "surrogatepass"

    def __init__(self, characters: str, end_of_document: bool | int = True) -> None:
        """Give each character the next id; the end-of-document token, if there is one, the last id or the one given."""
        if not characters or len(set(characters)) < len(characters):
            raise UserError(f"a vocabulary of {len(characters)} characters must not be empty or contain one twice")
        end = len(characters) if end_of_document is True else end_of_document
        if not 0 <= end <= len(characters):
            raise UserError(f"the end-of-document token {end} is not one of {len(characters) + 1} ids")
        self.characters, self.texts = characters, list(characters)  # in the order of ids; `texts` has "" for the end
        self.end_of_document = None if end_of_document is False else end
        if self.end_of_document is not None:
            self.texts.insert(end, "")
        self.vocab_size = len(self.texts)
        self.bytes_by_id = [one.encode("utf-8", "surrogatepass") for one in self.texts]
        points = _code_points(characters)
        # A table by code point, up to the largest; -1 marks what the vocabulary lacks.
        self._ids = np.full(int(points.max()) + 2, -1, dtype=np.int32)
        self._ids[points] = [number for number, one in enumerate(self.texts) if one]

    @classmethod
    def train(cls, texts: Iterable[str], end_of_document: bool = True) -> "CharTokenizer":
        """Return a tokenizer with the alphabet of some texts."""
        return cls("".join(sorted(set[str]().union(*texts))), end_of_document)

    def extend(self, characters: str) -> "CharTokenizer":
        """Return a tokenizer that has these characters too; every token keeps its id.

        >>> CharTokenizer("ab").extend("é").encode("aéb").tolist()
        [0, 3, 1]
        """
        end = self.end_of_document
        extended = CharTokenizer(self.characters + characters, False if end is None else end)
        extended.imported = self.imported
        return extended

    def encode(self, text: str, unknown: Unknown = "error") -> Ids:
        """Return the token ids of a text, shape (T,)."""
        ids = self._ids.take(_code_points(text), mode="clip")  # beyond the table: its last entry, -1
        known = ids >= 0
        if known.all():
            return ids
        if unknown == "skip":
            return ids[known]
        raise UnknownCharacters(sorted({text[i] for i in np.flatnonzero(~known)}))

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `tokenizer.json`."""
        end: bool | int = False if self.end_of_document is None else self.end_of_document
        last = end == len(self.characters)
        return {"kind": self.kind, "characters": self.characters, "end_of_document": last or end}


class TextStream:
    """The text of one sample as its tokens arrive: whole characters, and nothing of a stop string."""

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...] = ()) -> None:
        self._end_of_document, self._stop = tokenizer.end_of_document, stop
        self._decoder = tokenizer.decoder()
        self._held = ""
        self.ended = False

    def feed(self, token: int) -> str:
        """Take one more token; return the text that is now final."""
        if self.ended:
            return ""
        if token == self._end_of_document:
            return self.flush()
        text = self._held + self._decoder.feed(token)
        found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.ended = True
            return text[: min(found)]
        # Hold back what may be the beginning of a stop string.
        beginnings = (size for stop in self._stop for size in range(1, len(stop)) if text.endswith(stop[:size]))
        certain = len(text) - max(beginnings, default=0)
        self._held = text[certain:]
        return text[:certain]

    def flush(self) -> str:
        """End the sample; return what was held back, unless a stop string ended it."""
        if self.ended:
            return ""
        self.ended = True
        return self._held + self._decoder.flush()


def encode_chunks(
    chunks: Iterable[Chunk], tokenizer: Tokenizer, unknown: Unknown = "error", *, run_format: int = RUN_FORMAT
) -> Iterator[NDArray[np.unsignedinteger]]:
    """Yield the ids of a text part by part, the end-of-document token before each document.

    In format 1 there was none before the first, so a text of one document never showed the token to the model. The ids
    are the same as if each document were encoded at once. Raises UserError for unknown characters.

    >>> chunks = [Chunk("ab", True), Chunk("b", True)]
    >>> [ids.tolist() for ids in encode_chunks(chunks, CharTokenizer("ab"))]
    [[2, 0, 1, 2, 1]]
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

    def cut() -> Iterator[Chunk]:
        for number, chunk in enumerate(cut_chunks(chunks, CHUNK_CHARACTERS)):
            yield chunk if number or run_format > 1 else chunk._replace(begins=False)

    return map_in_threads(encode, batch_chunks(cut()))


def id_type(tokenizer: Tokenizer) -> type[np.unsignedinteger]:
    """Return the smallest type that holds every id."""
    return np.min_scalar_type(tokenizer.vocab_size - 1).type


def train_tokenizer(
    kind: str, texts: Iterable[str], end_of_document: bool = True, vocab_size: int = 0, seed: int = 1337
) -> Tokenizer:
    """Return a tokenizer of this kind with its vocabulary taken from the texts; `bpe` learns 4,096 by default."""
    if kind == "char":
        return CharTokenizer.train(texts, end_of_document)
    from nanogpt.text.bpe import DEFAULT_VOCABULARY, BpeTokenizer, ByteTokenizer

    if kind == "bpe":
        return BpeTokenizer.train(texts, vocab_size or DEFAULT_VOCABULARY, end_of_document, seed)
    return ByteTokenizer(end_of_document)


def dump_tokenizer(tokenizer: Tokenizer) -> str:
    """Return the text of `tokenizer.json`; that of a foreign tokenizer, which is large, on one line."""
    indent = None if tokenizer.kind == "foreign" else 1
    more: dict[str, Any] = {"bos": tokenizer.bos, "imported": tokenizer.imported}
    more = {key: value for key, value in more.items() if value not in (None, {})}
    return json.dumps({"format": FORMAT, **tokenizer.to_dict(), **more}, ensure_ascii=False, indent=indent) + "\n"


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
        tokenizer = _from_dict(tables)
        if (bos := tables.get("bos")) is not None:
            if type(bos) is not int or not 0 <= bos < tokenizer.vocab_size:
                raise TypeError
            tokenizer.bos = bos
        if "imported" in tables:
            from nanogpt.text.imported import check_imported

            tokenizer.imported = check_imported(tables["imported"], tokenizer.vocab_size)
        return tokenizer
    except UserError as error:  # some of these name the file themselves
        raise UserError(str(error) if where in str(error) else f"{where}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{where} is not a tokenizer of nanogpt: restore it from a copy of the run") from None


def _from_dict(tables: dict[str, Any]) -> Tokenizer:
    if tables["kind"] == "char":
        end = tables["end_of_document"]
        return CharTokenizer(tables["characters"], end if type(end) is int else end is True)
    if tables["kind"] == "byte":
        from nanogpt.text.bpe import ByteTokenizer

        return ByteTokenizer(tables["end_of_document"] is True)
    if tables["kind"] == "bpe":
        from nanogpt.text.bpe import BpeTokenizer

        return BpeTokenizer.from_dict(tables)
    if tables["kind"] == "foreign":
        from nanogpt.text.foreign import ForeignTokenizer

        return ForeignTokenizer.from_dict(tables)
    raise UserError(
        f"unknown kind of tokenizer {tables['kind']!r}; this nanogpt knows char, byte, bpe and foreign: upgrade "
        f"nanogpt, or restore the file from a copy of the run"
    )


def name_characters(characters: Sequence[str]) -> str:
    """Return the first ten characters as a message names them, and the number of the others."""
    more = f" and {len(characters) - 10} more" if characters[10:] else ""
    return " ".join(map(repr, characters[:10])) + more


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
