"""Text to token ids on disk, in bounded memory.

The validation part is the last tenth of the text, at most 10 MB, cut before anything is tokenised. A text is read
twice: once for its fingerprint, its alphabet and its length (`nanogpt.text.scan`), once to be tokenised, by all cores.
Ids are kept memory-mapped in the cache, by the hash of text and tokenizer, so that a run can go on when its text has
moved.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nanogpt.data.token_file import TokenFile, clear_leftovers
from nanogpt.errors import UserError
from nanogpt.files import cache_folder
from nanogpt.text.corpus import Corpus
from nanogpt.text.meter import watch_pieces
from nanogpt.text.pieces import PIECE_CHARACTERS, Piece, batch_pieces, cut_pieces, divide_pieces, in_order
from nanogpt.text.scan import VALIDATION_BYTES, VALIDATION_SHARE, Scan
from nanogpt.text.tokenizer import Tokenizer, dump_tokenizer

TokenIds = NDArray[np.unsignedinteger]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The token ids of both parts, memory-mapped, and the key that finds them in the cache."""

    train: TokenIds
    val: TokenIds
    key: str

    @classmethod
    def load(cls, key: str) -> "Dataset | None":
        """From the cache; None where it is not there, or not whole."""
        folder = _folder(key)
        try:
            parts = {
                part: np.load(folder / f"{part}.npy", mmap_mode="r", allow_pickle=False) for part in ("train", "val")
            }
        except (OSError, ValueError, EOFError):
            return None
        return cls(**parts, key=key)


def prepare(corpus: Corpus, tokenizer: Tokenizer, val_corpus: Corpus | None = None, *, quiet: bool = False) -> Dataset:
    """Tokenise a corpus into the cache, or find it there.

    With `val_corpus` it is the validation part, and all of `corpus` the training part. Shows how far it is where that
    takes long, unless `quiet`. Whatever interrupts it, nothing half-made is ever found in the cache.
    """
    corpora = [corpus] if val_corpus is None else [corpus, val_corpus]
    key = _key(tokenizer, [one.scan(quiet) for one in corpora])
    found = Dataset.load(key)
    if found is not None:
        return found
    streams = divide(corpus, val_corpus, quiet=quiet)
    beside = _folder(key).parent
    clear_leftovers(beside)
    with ExitStack() as until_both:
        for part, stream in zip(("train", "val"), streams):
            file = TokenFile(_folder(key) / f"{part}.npy", id_type(tokenizer), beside)
            until_both.enter_context(file)
            for ids in encode_pieces(stream, tokenizer):
                file.write(ids)
    written = Dataset.load(key)
    if written is None:
        raise UserError(f"the token ids in {str(_folder(key))!r} cannot be read back: check the disk")
    return written


def divide(
    corpus: Corpus, val_corpus: Corpus | None = None, *, quiet: bool = False
) -> tuple[Iterator[Piece], Iterator[Piece]]:
    """The training part and the validation part, to be read one after the other.

    >>> corpus = Corpus.of_texts("0123456789", "abcdefghij")
    >>> [[piece.text for piece in part] for part in divide(corpus)]
    [['0123456789', 'abcdefgh'], ['ij']]
    """
    first = _read_again(corpus, quiet)
    if val_corpus is not None:
        return first, _read_again(val_corpus, quiet)
    return divide_pieces(first, corpus.scan().train_characters)


def encode_corpus(corpus: Corpus, tokenizer: Tokenizer, unknown: Literal["error", "skip"] = "error") -> TokenIds:
    """A whole corpus' ids (T,), memory-mapped from a file without a name, which goes with the array."""
    kind = id_type(tokenizer)
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache_folder()) as file:
        for ids in encode_pieces(corpus.pieces(), tokenizer, unknown):
            file.write(ids.tobytes())
        file.flush()
        return np.memmap(file, dtype=kind, mode="r") if file.tell() else np.empty(0, dtype=kind)


def encode_pieces(
    pieces: Iterable[Piece], tokenizer: Tokenizer, unknown: Literal["error", "skip"] = "error"
) -> Iterator[TokenIds]:
    """A text's ids, part after part: those of each document, the end-of-document token between them.

    The same as of each document's text at once. Raises UserError for what the tokenizer does not know.

    >>> from nanogpt.text.tokenizer import CharTokenizer
    >>> pieces = Corpus.of_texts("ab", "b").pieces()
    >>> [ids.tolist() for ids in encode_pieces(pieces, CharTokenizer("ab"))]
    [[0, 1, 2, 1]]
    """
    kind = id_type(tokenizer)
    between = [] if tokenizer.end_of_document is None else [np.array([tokenizer.end_of_document], dtype=kind)]

    def encode(batch: list[Piece]) -> TokenIds:
        parts: list[TokenIds] = []
        for piece in batch:
            if piece.begins:
                parts += between
            parts.append(tokenizer.encode(piece.text, unknown).astype(kind))
        return np.concatenate(parts)

    return in_order(encode, batch_pieces(_without_first_beginning(cut_pieces(pieces, PIECE_CHARACTERS))))


def id_type(tokenizer: Tokenizer) -> type[np.unsignedinteger]:
    """The smallest type that holds every id."""
    return np.min_scalar_type(tokenizer.vocab_size - 1).type


def check_length(data: Dataset, block_size: int) -> None:
    """Raise UserError where a part is too short for one window of `block_size` tokens and their targets."""
    for name, ids in (("training", data.train), ("validation", data.val)):
        needed = block_size + 1 if name == "training" else 2
        if len(ids) < needed:
            fits = min(len(data.train) - 1, block_size)
            shorter = f"choose --block-size {fits} or less, or " if fits > 0 and name == "training" else ""
            raise UserError(
                f"the {name} part of the text has {len(ids)} tokens, but a block of {block_size} needs {needed}: "
                f"{shorter}give a longer text"
            )


def _without_first_beginning(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """What divides documents comes between them, not before the first."""
    stream = iter(pieces)
    for piece in stream:
        yield piece._replace(begins=False)
        break
    yield from stream


def _read_again(corpus: Corpus, quiet: bool) -> Iterator[Piece]:
    """The corpus' pieces; UserError at their end where they are not those of its scan: ids would not fit their key."""
    scan = corpus.scan()
    characters = documents = 0
    for piece in watch_pieces(corpus.pieces(), f"tokenising {corpus.name}", scan.characters, quiet):
        characters += len(piece.text)
        documents += piece.begins
        yield piece
    if (characters, documents) != (scan.characters, scan.documents):
        raise UserError(f"the text {corpus.source!r} changed while it was read: train again when it is whole")


def _key(tokenizer: Tokenizer, scans: list[Scan]) -> str:
    """A hash of all that decides the ids: the tokenizer, the texts, the cut, and where pieces end."""
    rule = [VALIDATION_SHARE, VALIDATION_BYTES, PIECE_CHARACTERS]
    parts = [dump_tokenizer(tokenizer), json.dumps(rule), *(scan.digest for scan in scans)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _folder(key: str) -> Path:
    return cache_folder() / "tokens" / key
