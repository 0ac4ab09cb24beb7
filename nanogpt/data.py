"""Text to token ids on disk.

The validation part is the last tenth of the text, at most 10 MB, cut before anything is tokenised. Ids are kept
memory-mapped in the cache, by the hash of text and tokenizer, so that a run can go on when its text has moved.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nanogpt.corpus import Corpus
from nanogpt.errors import UserError
from nanogpt.files import cache_folder, write_atomically
from nanogpt.tokenizer import Tokenizer, dump_tokenizer

VALIDATION_SHARE = 0.1
VALIDATION_BYTES = 10_000_000

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


def prepare(corpus: Corpus, tokenizer: Tokenizer, val_corpus: Corpus | None = None) -> Dataset:
    """Tokenise a corpus into the cache, or find it there.

    With `val_corpus` it is the validation part, and all of `corpus` the training part.
    """
    train, val = split_documents(corpus.documents) if val_corpus is None else (corpus.documents, val_corpus.documents)
    digest = hashlib.sha256(dump_tokenizer(tokenizer).encode())
    for part in (train, val):
        digest.update(json.dumps([len(document) for document in part]).encode())
        for document in part:
            digest.update(document.encode("utf-8", "surrogatepass"))
    key = digest.hexdigest()[:32]
    found = Dataset.load(key)
    if found is not None:
        return found
    for name, documents in (("train", train), ("val", val)):
        _write_ids(_folder(key) / f"{name}.npy", join_documents(documents, tokenizer))
    written = Dataset.load(key)
    if written is None:
        raise UserError(f"the token ids in {str(_folder(key))!r} cannot be read back: check the disk")
    return written


def split_documents(documents: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Cut the last tenth of all characters (at most 10 MB of UTF-8) off as the validation part.

    The document in which the cut falls is divided.

    >>> split_documents(("0123456789", "abcdefghij"))
    (('0123456789', 'abcdefgh'), ('ij',))
    """
    characters = sum(map(len, documents))
    wanted = characters - int(characters * (1 - VALIDATION_SHARE))
    left_bytes = VALIDATION_BYTES
    train, val = list(documents), []
    while wanted > 0 and left_bytes > 0:
        document = train.pop()
        tail = document[-wanted:]
        if len(tail.encode("utf-8", "surrogatepass")) > left_bytes:
            tail = tail.encode("utf-8", "surrogatepass")[-left_bytes:].decode("utf-8", "ignore")
            wanted = len(tail)
        val.append(tail)
        left_bytes -= len(tail.encode("utf-8", "surrogatepass"))
        wanted -= len(tail)
        if len(tail) < len(document):
            train.append(document[: len(document) - len(tail)])
    return tuple(train), tuple(reversed(val))


def join_documents(
    documents: tuple[str, ...], tokenizer: Tokenizer, unknown: Literal["error", "skip"] = "error"
) -> TokenIds:
    """All documents' ids (T,), the end-of-document token between them where the tokenizer has one."""
    kind = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    parts: list[TokenIds] = []
    for document in documents:
        if parts and tokenizer.end_of_document is not None:
            parts.append(np.array([tokenizer.end_of_document], dtype=kind))
        parts.append(tokenizer.encode(document, unknown).astype(kind))
    return np.concatenate(parts) if parts else np.empty(0, dtype=kind)


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


def _write_ids(path: Path, ids: TokenIds) -> None:
    import io

    file = io.BytesIO()
    np.save(file, ids, allow_pickle=False)
    write_atomically(path, file.getvalue())


def _folder(key: str) -> Path:
    return cache_folder() / "tokens" / key
