"""From a text to token ids on disk: it is tokenized once, into the cache.

The validation part is cut off before tokenizing (`nanogpt.text.scan`). A text is read twice in bounded memory: once for
its hash, alphabet and length, once to be tokenized on all cores. The cache is keyed by the hash of text and tokenizer,
so a run resumes even when its text has moved.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanogpt.config import Config
from nanogpt.data.batches import TokenIds, permute
from nanogpt.errors import UserError, counted
from nanogpt.files import cache_folder
from nanogpt.random_streams import stream
from nanogpt.text.chunks import CHUNK_CHARACTERS
from nanogpt.text.corpus import Corpus
from nanogpt.text.scan import FEW_TOKENS, TINY_CHARACTERS, VALIDATION_BYTES, VALIDATION_SHARE
from nanogpt.text.tokenizer import Tokenizer, Unknown, dump_tokenizer, encode_chunks, id_type

SHUFFLE_TOKENS = 1 << 20
"""Tokens that are searched for documents at once."""
FEWEST_WINDOWS = 4
"""Windows per epoch of a text so short that the block size is reduced."""
ABANDONED_SECONDS = 3600.0
"""Unfinished ids that no process wrote to for this long are from one that was killed."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The token ids of both parts, memory-mapped, and their key in the cache."""

    train: TokenIds
    val: TokenIds
    key: str

    @property
    def has_validation(self) -> bool:
        """Whether a part was held out; else `val` is the training part."""
        return self.val is not self.train

    @classmethod
    def load(cls, key: str) -> "Dataset | None":
        """Open the ids in the cache; None if they are missing or incomplete."""
        try:
            train, val = (
                np.load(ids_folder(key) / f"{part}.npy", mmap_mode="r", allow_pickle=False) for part in ("train", "val")
            )
        except (OSError, ValueError, EOFError):
            return None
        return cls(train=train, val=val if len(val) else train, key=key)


def ids_folder(key: str) -> Path:
    """Return the folder of a text's token ids in the cache."""
    return cache_folder() / "tokens" / key


def ids_key(corpora: Sequence[Corpus], tokenizer: Tokenizer, quiet: bool = False) -> str:
    """Return the key of token ids in the cache: the hash of the tokenizer, how the text is cut, and the texts.

    How unknown characters are treated is no part of it: a text that has some is tokenized only with `skip_unknown`.
    """
    first, cut = corpora[0], json.dumps([VALIDATION_SHARE, VALIDATION_BYTES, CHUNK_CHARACTERS])
    if first.format > 1:
        cut += json.dumps([first.format, first.scan(quiet).is_list, first.held_out])
    digests = [one.scan(quiet).digest for one in corpora]
    return hashlib.sha256(json.dumps([dump_tokenizer(tokenizer), cut, *digests]).encode()).hexdigest()[:32]


def tokenize(
    corpus: Corpus,
    tokenizer: Tokenizer,
    val_corpus: Corpus | None = None,
    *,
    skip_unknown: bool = False,
    quiet: bool = False,
) -> Dataset:
    """Tokenize a corpus into the cache, or find it there.

    With `val_corpus`, that is the validation part, and all of `corpus` the training part. Shows progress if that takes
    long, unless `quiet`. The cache never holds incomplete ids, whatever interrupts this.
    """
    key = ids_key([one for one in (corpus, val_corpus) if one is not None], tokenizer, quiet)
    found = Dataset.load(key)
    if found is not None:
        return found
    folder = ids_folder(key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder.parent)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as unfinished:
        for part, chunks in zip(("train", "val"), corpus.split(val_corpus, quiet)):
            ids = encode_chunks(chunks, tokenizer, "skip" if skip_unknown else "error", run_format=corpus.format)
            _write_ids(Path(unfinished, f"{part}.npy"), ids, id_type(tokenizer))
            if corpus.format > 1 and corpus.scan().is_list and tokenizer.end_of_document is not None:
                _shuffle(Path(unfinished, f"{part}.npy"), tokenizer.end_of_document, id_type(tokenizer))
        folder.mkdir(exist_ok=True)
        for part in ("train", "val"):
            Path(unfinished, f"{part}.npy").replace(folder / f"{part}.npy")
    written = Dataset.load(key)
    if written is None:
        raise UserError(f"the token ids in {str(folder)!r} cannot be read back: check the disk")
    return written


def encode_corpus(corpus: Corpus, tokenizer: Tokenizer, unknown: Unknown = "error") -> TokenIds:
    """Return the ids of a whole corpus, shape (T,), memory-mapped from a file that disappears with the array."""
    kind = id_type(tokenizer)
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache_folder()) as file:
        for ids in encode_chunks(corpus.chunks(), tokenizer, unknown, run_format=corpus.format):
            file.write(ids.tobytes())
        file.flush()
        return np.memmap(file, dtype=kind, mode="r") if file.tell() else np.empty(0, dtype=kind)


def check_length(data: Dataset, block_size: int) -> None:
    """Raise UserError if a part is too short for one window of `block_size` tokens and their targets."""
    for name, ids in (("training", data.train), ("validation", data.val)):
        needed = block_size + 1 if name == "training" else 2
        if len(ids) < needed:
            why = f"--block-size {block_size} and one more" if needed > 2 else "one to read and one to predict"
            longest = len(ids) - 1
            shorter = f"choose --block-size {longest} or less, or " if longest > 0 else ""
            raise UserError(
                f"the {name} part of the text has {counted(len(ids), 'token')}, but needs at least {needed}, {why}: "
                f"{shorter}give a longer text"
            )


def fit_block(config: Config, data: Dataset, named: Collection[str]) -> Config:
    """Reduce the block size so that an epoch has `FEWEST_WINDOWS`, unless `block_size` is in `named`."""
    longest = max(1, (len(data.train) - 1) // (FEWEST_WINDOWS + 1))  # one more: format 1 left one out
    if "block_size" in named or config.model.block_size <= longest:
        return config
    return config.override(block_size=longest)


def short_text_notes(config: Config, data: Dataset, wanted: int) -> tuple[str, ...]:
    """Return notes on a short text: a block size below the `wanted` one, and how little it can teach."""
    tokens, block = len(data.train), config.model.block_size
    notes = []
    if block < wanted:
        notes.append(f"the text is short: --block-size is {block}, not {wanted}, so that an epoch has several windows")
    if not data.has_validation:
        notes.append(
            f"no validation part (--val none, or a text below {TINY_CHARACTERS:,} characters): losses are those of the "
            f"training text itself, so the best checkpoint is the one that recites it best"
        )
    elif tokens < FEW_TOKENS:
        notes.append(
            f"a text of {counted(tokens, 'token')} is soon memorized, and then the validation loss rises: add text (a "
            f"few hundred thousand characters are a good start), or stop early with --patience 3; the best checkpoint "
            f"is kept"
        )
    return tuple(notes)


def _write_ids(path: Path, parts: Iterable[TokenIds], kind: type[np.unsignedinteger]) -> None:
    """Write a `.npy` file part by part and flush it to disk; name it in an OSError, such as that of a full disk."""

    def write_header(count: int) -> None:
        shape = {"descr": np.lib.format.dtype_to_descr(np.dtype(kind)), "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_1_0(file, shape)

    count = 0
    try:
        with path.open("wb") as file:
            write_header(count)
            for ids in parts:
                file.write(ids.data)
                count += len(ids)
            file.seek(0)
            write_header(count)  # of the same size: numpy leaves room for the number
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _shuffle(path: Path, end: int, kind: type[np.unsignedinteger]) -> None:
    """Bring the documents of a file, each of which begins with the token `end`, into a random order.

    A list is often sorted: a model would then learn its order, and be measured by it.
    """
    ids = np.load(path, mmap_mode="r", allow_pickle=False)
    blocks = range(0, len(ids), SHUFFLE_TOKENS)
    found = [np.flatnonzero(ids[at : at + SHUFFLE_TOKENS] == end) + at for at in blocks]
    bounds = np.unique(np.concatenate([[0, len(ids)], *found]))  # 0 too: a part may begin inside a document
    order = permute(np.arange(len(bounds) - 1), len(bounds) - 1, stream(0, "documents"))
    documents = (ids[bounds[one] : bounds[one + 1]] for one in order)
    shuffled = path.with_suffix(".shuffled")
    _write_ids(shuffled, documents, kind)
    del ids, documents  # no system replaces a file that is mapped, as Windows says
    shuffled.replace(path)


def _remove_abandoned(folder: Path) -> None:
    """Remove unfinished ids of processes that were killed."""
    for path in folder.glob(".*"):
        with suppress(OSError):  # another process was faster
            if time.time() - max(one.stat().st_mtime for one in (path, *path.iterdir())) > ABANDONED_SECONDS:
                shutil.rmtree(path)
