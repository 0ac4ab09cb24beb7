"""Find a text by name, file, folder, address, data set or standard input, and read it chunk by chunk.

The ending of a file's name decides how it is read. Importing this module is cheap: no torch, no numpy, no disk access.
"""

import gzip
import io
import itertools
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from nanogpt.config import RUN_FORMAT, Config, DataConfig
from nanogpt.errors import UserError
from nanogpt.text.chunks import (
    READ_BYTES,
    Chunk,
    Notes,
    chunks_of,
    divide_chunks,
    hold_out_documents,
    read_text,
    show_progress,
)

if TYPE_CHECKING:
    from nanogpt.text.scan import Scan

COMPRESSED = (".gz", ".zst")
FIRST_KINDS = (".jsonl", ".ndjson", ".parquet")
"""Endings with a reader in format 1, which read all other files as plain text."""
ARCHIVES = (".zip", ".tar")
PLAIN = ("", ".txt", ".md")
"""Endings of plain text. `readers.py` knows how others are read, and also reads unknown ones as plain text."""
NAMES = ("shakespeare", "python")
NO_VALIDATION = "none"
"""Name of a validation text that stands for none: nothing is held out."""
WEB = ("http://", "https://")
LONGEST_NAME = 200
"""Characters of a name that error messages show in full; anything longer, or of several lines, is probably a text."""


@dataclass(kw_only=True, eq=False)
class Corpus:
    """A text of one or several documents, of any size. It is read in chunks, as often as needed."""

    name: str
    """short name for run folders and tables: `shakespeare`, or the file's name without its ending"""
    source: str | tuple[str, ...]
    """where to read it again: a corpus name, an absolute path, an address, `hf:…`, or several of these; `-` for
    standard input and texts in memory, which cannot be read again"""
    read: Callable[[Notes], Iterator[Chunk]]
    """reads it from the beginning, and adds notes for the user"""
    empty: str | None = None
    """the error if it is blank; None if that is allowed"""
    format: int = RUN_FORMAT
    """format of the run that reads it"""
    has_validation: bool = True
    """whether a validation part is held out"""
    plain: bool = False
    """whether it is one plain text, which may consist of documents"""
    _notes: Notes = field(default_factory=dict, repr=False)
    _scan: "Scan | None" = field(default=None, repr=False)

    @classmethod
    def of_texts(cls, *documents: str, name: str = "text", source: str = "-") -> "Corpus":
        """Make a corpus of texts in memory, one document each.

        >>> Corpus.of_texts("one", "two").documents
        ('one', 'two')
        """
        return cls(name=name, source=source, read=lambda notes: (c for one in documents for c in chunks_of([one])))

    def chunks(self) -> Iterator[Chunk]:
        """Read it once. Raises UserError for what cannot be read, and at the end if it was blank."""
        blank = True
        for chunk in self.read(self._notes):
            blank = blank and chunk.text.isspace()
            yield chunk
        if blank and self.empty is not None:
            raise UserError(self.empty)

    def scan(self, quiet: bool = False) -> "Scan":
        """Return its hash, figures and alphabet, reading it the first time; show progress unless `quiet`."""
        from nanogpt.text.scan import scan_chunks

        if self._scan is None:
            self._scan = scan_chunks(show_progress(self.chunks(), f"reading {self.name}", quiet=quiet))
        return self._scan

    def split(self, val_corpus: "Corpus | None" = None, quiet: bool = False) -> tuple[Iterator[Chunk], Iterator[Chunk]]:
        """Return the chunks of its training and its validation part, to be read one after the other.

        With `val_corpus`, that is the validation part, and all of this one the training part. Else a tenth is held
        out: of the documents where they are rows, lines or pieces, else the end of the text; of a tiny text nothing.

        >>> corpus = Corpus.of_texts("0123456789" * 300, "abcdefghij" * 200)
        >>> ["".join(chunk.text for chunk in part)[-3:] for part in corpus.split()]
        ['hij', 'hij']
        """
        first, scan = self._read_again(quiet), self.scan(quiet)
        if val_corpus is not None:
            return first, val_corpus._read_again(quiet)
        if self.format == 1 or self.held_out == "end":
            return divide_chunks(first, scan.train_characters)
        if self.held_out == "documents":
            return hold_out_documents(first, scan.document_share, scan.characters // 5)
        return first, iter(())

    def _read_again(self, quiet: bool) -> Iterator[Chunk]:
        """Yield its chunks; at the end, raise UserError if they are not those that were scanned."""
        scan = self.scan(quiet)
        characters = documents = 0
        for chunk in show_progress(self.chunks(), f"tokenizing {self.name}", scan.characters, quiet):
            characters += len(chunk.text)
            documents += chunk.begins
            yield chunk
        if (characters, documents) != (scan.characters, scan.documents):
            named = " or ".join(map(repr, self.sources))
            raise UserError(f"the text {named} changed while it was read: train again when it is complete")

    @property
    def held_out(self) -> str:
        """What of it is the validation part: `nothing`, a tenth of the `documents`, or its `end`."""
        return self.scan().held_out if self.has_validation else "nothing"

    @property
    def sources(self) -> tuple[str, ...]:
        """The source or sources, as a tuple."""
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def notes(self) -> tuple[str, ...]:
        """Messages for the user: files left out, line ends changed, a default chosen. Complete once it was read."""
        return tuple(self._notes)

    @property
    def documents(self) -> tuple[str, ...]:
        r"""The documents in memory, with `\n` as line ends."""
        documents: list[list[str]] = []
        for chunk in self.chunks():
            if chunk.begins:
                documents.append([])
            documents[-1].append(chunk.text)
        return tuple("".join(parts) for parts in documents)

    @property
    def text(self) -> str:
        """All documents in memory, joined by newlines."""
        return "\n".join(self.documents)


OneSource = str | os.PathLike[str] | Corpus
Sources = OneSource | Sequence[OneSource] | None


def load_corpus(source: Sources = None, config: Config | None = None, *, yes: bool = False, **settings: Any) -> Corpus:
    """Find a corpus: a named one, a file, a folder, a web address, `hf:` and a data set, `-` for standard input.

    Several sources are read one after the other. Without a source: `shakespeare` if it is available, else `python` with
    a note. A name wins over a file of the same name: write `./python` for the file. The text is read as the data
    settings and the format of `config` say; `settings` override them. With `yes`, an address is fetched.

    Raises UserError for what does not exist, and CorpusUnavailable if `shakespeare` was given and is neither on disk
    nor can be downloaded. Reading the text raises errors about its content.

    >>> load_corpus("tale.txt", encoding="ascii").scan().documents
    1
    """
    config = (config or Config()).override(**settings)
    data, run_format = config.data, config.model.format
    transforms = data.documents not in ("auto", "files") or data.clean == "all"
    if run_format == 1 and transforms:
        raise UserError("--format 1 knows neither --documents nor --clean: leave one of them out")
    if isinstance(source, Corpus):
        corpus = replace(source, _scan=None) if transforms else source
    elif source is None or isinstance(source, str | os.PathLike):
        corpus = _open(source if source is None else os.fspath(source), config, yes)
        transforms = transforms or corpus.source not in NAMES
    else:
        corpus, transforms = _joined([load_corpus(one, config, yes=yes) for one in source]), False
    if run_format > 1 and transforms:
        corpus.read = partial(_read_documents, corpus.read, corpus, data)
    corpus.format = run_format
    return corpus


def _open(name: str | None, config: Config, yes: bool) -> Corpus:
    """Open one text by its name, as it is; None: the default one."""
    if name is None or name in NAMES or name == "-" or name.startswith(("hf:", *WEB)):
        from nanogpt.text import sources

        return sources.open_source(name, config, yes)
    path = _find(name)
    if not stat.S_ISREG(path.stat().st_mode):
        from nanogpt.text.sources import from_folder, from_stream

        if path.is_dir():
            return from_folder(path, config)
        return from_stream(lambda: path.open("rb"), str(path), str(path.absolute()), path.stem, config)  # a pipe
    return open_file(path, config)


def open_file(path: Path, config: Config) -> Corpus:
    """Return the text in a file."""
    bare = Path(path.stem) if path.suffix.lower() in COMPRESSED else path
    read = partial(read_file, path, config)
    return Corpus(name=bare.stem, source=str(path.resolve()), read=read, empty=empty(str(path)), plain=is_plain(path))


def _read_documents(
    read: Callable[[Notes], Iterator[Chunk]], corpus: Corpus, data: DataConfig, notes: Notes
) -> Iterator[Chunk]:
    """Read a text without what `data.clean` leaves out, divided into documents as `data.documents` says."""
    from nanogpt.text.scan import divide, divide_if_clear

    where = corpus.name if corpus.source == "-" else Path(str(corpus.source)).name
    chunks = read(notes) if data.clean == "none" else _cleaned(read(notes), data.clean, where, notes)
    if data.documents != "auto":
        return divide(chunks, data.documents, where, notes)
    if not data.end_of_document:  # lines would run together
        return chunks
    return divide_if_clear(chunks, where, notes, lists=corpus.plain)


def _cleaned(chunks: Iterator[Chunk], clean: str, where: str, notes: Notes) -> Iterator[Chunk]:
    """Leave out what `clean` says; the code for it is loaded at the first text that may need it."""
    for chunk in chunks:
        if clean == "all" or (chunk.begins and "gutenberg" in chunk.text.lower()):
            from nanogpt.text.cleaning import clean_chunks

            yield from clean_chunks(itertools.chain([chunk], chunks), clean, where, notes)
            return
        yield chunk


def _find(name: str) -> Path:
    """Return the path of a file or folder; raise UserError if it does not exist or cannot be accessed."""
    others = f"'-' for standard input, or a named corpus: {', '.join(NAMES)}"
    if not name:  # pathlib would take the working folder; a shell passes this for an unset variable
        raise UserError(f"no text was named: give a path ('.' for this folder), {others}")
    shown = f"{name[:60]!r} …" if len(name) > LONGEST_NAME or "\n" in name else repr(name)
    try:
        path = Path(name).expanduser()
        path.stat()
    except PermissionError as error:
        raise UserError(f"cannot read {shown}: {error.strerror}; check the permissions of its folders") from None
    except (OSError, RuntimeError, ValueError):  # also a name too long, an unknown user's home, a zero byte
        raise UserError(f"no file or folder {shown}; give a path, not the text itself, {others}") from None
    return path


def _joined(corpora: list[Corpus]) -> Corpus:
    """Return several corpora as one; each is checked by itself."""
    if len(corpora) < 2:
        return corpora[0] if corpora else load_corpus("")  # raises

    def read(notes: Notes) -> Iterator[Chunk]:
        for corpus in corpora:
            yield from corpus.chunks()
            notes.update(corpus._notes)

    return Corpus(
        name=f"{corpora[0].name}-and-{len(corpora) - 1}-more",
        source=tuple(source for corpus in corpora for source in corpus.sources),
        read=read,
    )


def empty(where: str) -> str:
    """Return the error for a text without content."""
    return f"{where} is empty: there is nothing to learn from; give a file with some text in it"


def read_file(path: Path, config: Config, notes: Notes) -> Iterator[Chunk]:
    """Yield a file's documents: one per record or message, each file of an archive that fits the pattern, else one."""
    kind, compression = endings_of(path)
    with open_bytes(path, compression) as stream:
        if is_plain(path, config.model.format):
            yield from read_text(stream, str(path), config.data.encoding, notes)
        else:
            from nanogpt.text.readers import read_any

            yield from read_any(stream, path, kind, config.data, notes)


def is_plain(path: Path, run_format: int = RUN_FORMAT) -> bool:
    """Return whether a file is plain text by its ending; in format 1 all but records were."""
    kind, _ = endings_of(path)
    if run_format == 1:
        return kind not in FIRST_KINDS
    if kind in PLAIN:
        return True
    from nanogpt.text.readers import READERS

    return kind not in (*READERS, *ARCHIVES)


def endings_of(path: Path) -> tuple[str, str]:
    """Return the ending that says what a file holds, and that of its compression; each may be empty."""
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    if endings[-1:] == [".tgz"]:
        return ".tar", ".gz"
    compression = endings.pop() if endings and endings[-1] in COMPRESSED else ""
    return endings[-1] if endings else ".mbox" if path.name == "mbox" else "", compression


@contextmanager
def open_bytes(path: Path, compression: str) -> Iterator[BinaryIO]:
    """Open a file for reading, decompressed; turn what goes wrong while it is read into UserError."""
    try:
        with path.open("rb") as file:
            if compression == ".gz":
                yield io.BufferedReader(gzip.GzipFile(fileobj=file))
            elif compression == ".zst":
                from nanogpt.text.records import import_optional

                arrow = import_optional("pyarrow", f"{path} is a .zst file")
                yield io.BufferedReader(arrow.CompressedInputStream(file, "zstd"), READ_BYTES)
            else:
                yield file
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            advice = "; check its permissions" if isinstance(error, PermissionError) else ""
            raise UserError(f"cannot read {str(path)!r}: {error.strerror}{advice}") from None
        raise UserError(f"{path} is damaged or incomplete: {error}; restore it") from None
