"""Find a text by name, file, folder, data set or standard input, and read it chunk by chunk.

The ending of a file's name decides how it is read. Importing this module is cheap: no torch, no numpy, no disk access.
"""

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from nanogpt.errors import UserError
from nanogpt.text.chunks import (
    READ_BYTES,
    Chunk,
    Notes,
    chunks_of,
    divide_chunks,
    read_text,
    show_progress,
)

if TYPE_CHECKING:
    from nanogpt.text.scan import Scan

COMPRESSED = (".gz", ".zst")
PLAIN = ("", ".txt", ".md")
"""Endings of plain text. `readers.py` knows how others are read, and also reads unknown ones as plain text."""
NAMES = ("shakespeare", "python")
LONGEST_NAME = 200
"""Characters of a name that error messages show in full; anything longer, or of several lines, is probably a text."""


@dataclass(kw_only=True, eq=False)
class Corpus:
    """A text of one or several documents, of any size. It is read in chunks, as often as needed."""

    name: str
    """short name for run folders and tables: `shakespeare`, or the file's name without its ending"""
    source: str | tuple[str, ...]
    """where to read it again: a corpus name, an absolute path, `hf:` and a data set, or several of these; `-` for
    standard input and texts in memory, which cannot be read again"""
    read: Callable[[Notes], Iterator[Chunk]]
    """reads it from the beginning, and adds notes for the user"""
    empty: str | None = None
    """the error if it is blank; None if that is allowed"""
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

        With `val_corpus`, that is the validation part, and all of this one the training part.

        >>> corpus = Corpus.of_texts("0123456789", "abcdefghij")
        >>> [[chunk.text for chunk in part] for part in corpus.split()]
        [['0123456789', 'abcdefgh'], ['ij']]
        """
        first = self._read_again(quiet)
        if val_corpus is not None:
            return first, val_corpus._read_again(quiet)
        return divide_chunks(first, self.scan().train_characters)

    def _read_again(self, quiet: bool) -> Iterator[Chunk]:
        """Yield its chunks; at the end, raise UserError if they are not those that were scanned."""
        scan = self.scan()
        characters = documents = 0
        for chunk in show_progress(self.chunks(), f"tokenizing {self.name}", scan.characters, quiet):
            characters += len(chunk.text)
            documents += chunk.begins
            yield chunk
        if (characters, documents) != (scan.characters, scan.documents):
            raise UserError(f"the text {self.source!r} changed while it was read: train again when it is complete")

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


def load_corpus(
    source: Sources = None, encoding: str = "utf-8", *, pattern: str | None = None, column: str = "text"
) -> Corpus:
    """Find a corpus: a name (`shakespeare`, `python`), a file, a folder, `hf:` and a data set, `-` for standard input.

    Several sources are read one after the other. Without a source: `shakespeare` if it is available, else `python` with
    a note. A name wins over a file of the same name: write `./python` for the file. `pattern` selects files of a folder
    or an archive by name (`*.md`); `column` names the text in records: `.csv`, `.jsonl`, `.parquet`, data sets.

    Raises UserError for what does not exist, and CorpusUnavailable if `shakespeare` was given and is neither on disk
    nor can be downloaded. Reading the text raises errors about its content.
    """
    if source is None:
        return _default_corpus()
    if isinstance(source, Corpus):
        return source
    if isinstance(source, str | os.PathLike):
        return _open_source(os.fspath(source), encoding, pattern, column)
    return _joined([load_corpus(one, encoding, pattern=pattern, column=column) for one in source])


def _open_source(name: str, encoding: str, pattern: str | None, column: str) -> Corpus:
    if name in NAMES:
        return _named_corpus(name)
    if name == "-":
        return _from_stream(lambda: sys.stdin.buffer, "standard input", "-", "stdin", encoding)
    if name.startswith("hf:"):
        return _from_data_set(name, column)
    path = _find(name)
    if path.is_dir():
        return _from_folder(path, encoding, pattern, column)
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe can be read only once
        return _from_stream(lambda: path.open("rb"), str(path), str(path.absolute()), path.stem, encoding)

    def read(notes: Notes) -> Iterator[Chunk]:
        return _read_file(path, encoding, column, notes, pattern)

    bare = Path(path.stem) if path.suffix.lower() in COMPRESSED else path
    return Corpus(name=bare.stem, source=str(path.resolve()), read=read, empty=_empty(str(path)))


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


def _default_corpus() -> Corpus:
    from nanogpt.text.named_corpora import CorpusUnavailable

    try:
        return _named_corpus("shakespeare")
    except CorpusUnavailable as error:
        python = _named_corpus("python")
        reason = str(error).split(";")[0]
        python._notes[f"{reason}: reading 'python' instead, the source of Python's standard library"] = None
        return python


def _named_corpus(name: str) -> Corpus:
    from nanogpt.text.named_corpora import read_python, read_shakespeare

    if name == "shakespeare":
        return Corpus.of_texts(read_shakespeare(), name=name, source=name)
    empty = "the sources of Python's standard library are not installed; name another corpus, or a file of your own"
    return Corpus(name=name, source=name, read=read_python, empty=empty)


def _from_stream(open_stream: Callable[[], Any], where: str, source: str, name: str, encoding: str) -> Corpus:
    """Return a text that can be read only once; it is copied to the cache when first read."""
    from nanogpt.text.records import Spool

    def blocks() -> Iterator[bytes]:
        stream = open_stream()
        # Not `read`, which waits for a whole block and does not notice Ctrl-C while more arrives.
        return iter(lambda: stream.read1(READ_BYTES), b"")

    spool = Spool(blocks)

    def read(notes: Notes) -> Iterator[Chunk]:
        return read_text(spool.open(), where, encoding, notes)

    return Corpus(name=name, source=source, read=read, empty=_empty(where))


def _from_data_set(source: str, column: str) -> Corpus:
    """Return a data set of the Hugging Face hub, copied to the cache when first read."""
    from nanogpt.text import records

    name, split = records.parse_source(source)
    spool = records.Spool(lambda: records.read_data_set(name, split, column))

    def read(notes: Notes) -> Iterator[Chunk]:
        return records.read_json_lines(spool.open(), source, "utf-8", "text", notes)

    return Corpus(name=Path(name).name, source=f"hf:{name}:{split}", read=read, empty=_empty(source))


def _from_folder(folder: Path, encoding: str, pattern: str | None, column: str) -> Corpus:
    """Return all files in a folder and below it, ordered by path, without hidden and binary ones."""

    def read(notes: Notes) -> Iterator[Chunk]:
        from nanogpt.text.readers import is_chosen, read_files

        paths = ((path.relative_to(folder), path) for path in sorted(folder.rglob("*")))
        files = (
            (str(inside), partial(_read_file, path, encoding, column, notes))
            for inside, path in paths
            if is_chosen(inside, pattern) and path.is_file()
        )
        return read_files(files, f"the folder {str(folder)!r}", notes)

    chosen = f" in files named {pattern!r}" if pattern is not None else ""
    return Corpus(
        name=folder.resolve().name or "folder",
        source=str(folder.resolve()),
        read=read,
        empty=f"no text in the folder {str(folder)!r}{chosen}; put .txt files there, or name a file",
    )


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


def _empty(where: str) -> str:
    return f"{where} is empty: there is nothing to learn from; give a file with some text in it"


def _read_file(path: Path, encoding: str, column: str, notes: Notes, pattern: str | None = None) -> Iterator[Chunk]:
    """Yield a file's documents: one per record or message, each file of an archive that fits `pattern`, else one."""
    kind, compression = _endings(path)
    with _open(path, compression) as stream:
        if kind in PLAIN:
            yield from read_text(stream, str(path), encoding, notes)
        else:
            from nanogpt.text.readers import read_archive, read_stream

            read = partial(read_stream, encoding=encoding, column=column, notes=notes)
            if kind in (".zip", ".tar"):
                yield from read_archive(stream, path, pattern, read, notes)
            else:
                yield from read(stream, str(path), kind)


def plain_blocks(path: Path) -> Iterator[bytes] | None:
    """Return the bytes of a file of text in some encoding, decompressed, in blocks; None for another kind of file."""
    from nanogpt.text.readers import is_decoded

    kind, compression = _endings(path)
    if not path.is_file() or not is_decoded(kind):
        return None

    def blocks() -> Iterator[bytes]:
        with _open(path, compression) as stream:
            yield from iter(lambda: stream.read(READ_BYTES), b"")

    return blocks()


def _endings(path: Path) -> tuple[str, str]:
    """Return the ending that says what a file holds, and that of its compression; each may be empty."""
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    if endings[-1:] == [".tgz"]:
        return ".tar", ".gz"
    compression = endings.pop() if endings and endings[-1] in COMPRESSED else ""
    return endings[-1] if endings else ".mbox" if path.name == "mbox" else "", compression


@contextmanager
def _open(path: Path, compression: str) -> Iterator[BinaryIO]:
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
            raise UserError(f"cannot read {str(path)!r}: {error.strerror}; check its permissions") from None
        raise UserError(f"{path} is damaged or incomplete: {error}; restore it") from None
