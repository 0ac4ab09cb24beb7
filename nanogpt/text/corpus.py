"""Find a text by name, file, folder, address, data set or standard input, and read it chunk by chunk.

The ending of a file's name decides how it is read. Importing this module is cheap: no torch, no numpy, no disk access.
"""

import gzip
import io
import itertools
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from nanogpt.config import RUN_FORMAT, Config
from nanogpt.errors import UserError, counted
from nanogpt.text.chunks import (
    READ_BYTES,
    BinaryFile,
    Chunk,
    Notes,
    chunks_of,
    decode_blocks,
    divide_chunks,
    hold_out_documents,
    show_progress,
)

if TYPE_CHECKING:
    from nanogpt.text.scan import Scan

COMPRESSED = (".gz", ".zst")
JSON_LINES = (".jsonl", ".ndjson")
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
    holds_out: bool = True
    """whether a validation part is held out"""
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
        first, scan = self._read_again(quiet), self.scan()
        if val_corpus is not None:
            return first, val_corpus._read_again(quiet)
        if self.format == 1 or (self.holds_out and scan.holds_out == "end"):
            return divide_chunks(first, scan.train_characters)
        if self.holds_out and scan.holds_out == "documents":
            return hold_out_documents(first, scan.document_share, scan.characters // 5)
        return first, iter(())

    def _read_again(self, quiet: bool) -> Iterator[Chunk]:
        """Yield its chunks; at the end, raise UserError if they are not those that were scanned."""
        scan = self.scan()
        characters = documents = 0
        for chunk in show_progress(self.chunks(), f"tokenizing {self.name}", scan.characters, quiet):
            characters += len(chunk.text)
            documents += chunk.begins
            yield chunk
        if (characters, documents) != (scan.characters, scan.documents):
            named = " or ".join(map(repr, self.sources))
            raise UserError(f"the text {named} changed while it was read: train again when it is complete")

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


def open_corpus(text: Sources, config: Config, yes: bool = False) -> Corpus:
    """Open a text, to be read as a run's settings and its format say; with `yes`, fetch it if it is an address."""
    data, documents, clean = config.data, config.data.documents, config.data.clean
    if config.model.format == 1:
        documents, clean = "files", "none"
    elif documents == "auto" and not data.end_of_document:
        documents = "files"  # without the token, lines would run together
    how: Any = {"pattern": data.pattern, "column": data.column, "documents": documents, "clean": clean, "yes": yes}
    corpus = load_corpus(text, data.encoding, **how)
    corpus.format = config.model.format
    return corpus


def load_corpus(
    source: Sources = None,
    encoding: str = "utf-8",
    *,
    pattern: str | None = None,
    column: str = "text",
    documents: str = "auto",
    clean: str = "auto",
    yes: bool = False,
) -> Corpus:
    """Find a corpus: a named one, a file, a folder, a web address, `hf:` and a data set, `-` for standard input.

    Several sources are read one after the other. Without a source: `shakespeare` if it is available, else `python` with
    a note. A name wins over a file of the same name: write `./python` for the file. `pattern` selects files of a folder
    by name (`*.md`); `column` names the text in `.jsonl` and `.parquet` files and in data sets; `documents` and `clean`
    say what a document is and what is left out (`DataConfig`), but not of a named corpus or a text in memory; `yes`
    lets an address be fetched.

    Raises UserError for what does not exist, and CorpusUnavailable if `shakespeare` was given and is neither on disk
    nor can be downloaded. Reading the text raises errors about its content.
    """
    if source is None:
        return _default_corpus()
    if isinstance(source, Corpus):
        return source
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if name.startswith(WEB):
            corpus = _from_web(name, encoding, column, yes)
        else:
            corpus = _open_source(name, encoding, pattern, column)
        corpus = corpus if clean == "none" or name in NAMES else _cleaned(corpus, clean)
        return corpus if name in NAMES else _divided(corpus, documents)
    each: Any = {"pattern": pattern, "column": column, "documents": documents, "clean": clean, "yes": yes}
    return _joined([load_corpus(one, encoding, **each) for one in source])


def _divided(corpus: Corpus, documents: str) -> Corpus:
    """Return a corpus whose documents are what the user named, or what a single plain text clearly shows."""
    read, is_plain = corpus.read, corpus.source == "-" or plain_blocks(Path(str(corpus.source))) is not None
    if documents != "files" and (documents != "auto" or is_plain):

        def read_divided(notes: Notes) -> Iterator[Chunk]:
            from nanogpt.text.scan import divide, divide_if_clear

            if documents == "auto":
                return divide_if_clear(read(notes), str(corpus.name), notes)
            return divide(read(notes), documents)

        corpus.read = read_divided
    return corpus


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
        return _read_file(path, encoding, column, notes)

    bare = Path(path.stem) if path.suffix.lower() in COMPRESSED else path
    return Corpus(name=bare.stem, source=str(path.resolve()), read=read, empty=_empty(str(path)))


def _cleaned(corpus: Corpus, clean: str) -> Corpus:
    """Return a corpus without what `clean` leaves out; the code for it is loaded at the first text that may need it."""

    def read(notes: Notes) -> Iterator[Chunk]:
        chunks = corpus.read(notes)
        for chunk in chunks:
            if clean == "all" or (chunk.begins and "gutenberg" in chunk.text.lower()):
                from nanogpt.text.cleaning import clean_chunks

                where = corpus.name if corpus.source == "-" else Path(str(corpus.source)).name
                yield from clean_chunks(itertools.chain([chunk], chunks), clean, where, notes)
                return
            yield chunk

    return replace(corpus, read=read)


def _from_web(address: str, encoding: str, column: str, agreed: bool) -> Corpus:
    """Return the text at an address, which is fetched once, to the cache."""
    from nanogpt.text.downloads import local_copy

    path, note = local_copy(address, agreed)
    return replace(_open_source(str(path), encoding, None, column), source=address, _notes={note: None})


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
        return _read_text(spool.open(), where, encoding, notes)

    return Corpus(name=name, source=source, read=read, empty=_empty(where))


def _from_data_set(source: str, column: str) -> Corpus:
    """Return a data set of the Hugging Face hub, copied to the cache when first read."""
    from nanogpt.text import records

    name, split = records.parse_source(source)
    spool = records.Spool(lambda: records.read_data_set(name, split, column))

    def read(notes: Notes) -> Iterator[Chunk]:
        return records.read_json_lines(spool.open(), source, "text", notes)

    return Corpus(name=Path(name).name, source=f"hf:{name}:{split}", read=read, empty=_empty(source))


def _from_folder(folder: Path, encoding: str, pattern: str | None, column: str) -> Corpus:
    """Return all files in a folder and below it, ordered by path, without hidden and binary ones."""

    def read(notes: Notes) -> Iterator[Chunk]:
        binary = []
        for path in text_files(folder, pattern):
            try:
                yield from _read_file(path, encoding, column, notes)
            except BinaryFile:
                binary.append(str(path.relative_to(folder)))
        if binary:
            named = ", ".join(binary[:3]) + (" …" if binary[3:] else "")
            notes[f"left out {counted(len(binary), 'binary file')}: {named}"] = None

    chosen = f" in files named {pattern!r}" if pattern is not None else ""
    return Corpus(
        name=folder.resolve().name or "folder",
        source=str(folder.resolve()),
        read=read,
        empty=f"no text in the folder {str(folder)!r}{chosen}; put .txt files there, or name a file",
    )


def text_files(path: Path, pattern: str | None) -> Iterator[Path]:
    """Yield the files that a text is read from: the file itself, or those in a folder, without hidden ones."""
    if path.is_file():
        yield path
    for file in sorted(path.rglob("*")) if path.is_dir() else ():
        inside = file.relative_to(path)
        if any(part.startswith(".") for part in inside.parts) or not file.is_file():
            continue
        if pattern is None or fnmatchcase(inside.name, pattern) or fnmatchcase(inside.as_posix(), pattern):
            yield file


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


def _read_file(path: Path, encoding: str, column: str, notes: Notes) -> Iterator[Chunk]:
    """Yield a file's documents: one per record in `.jsonl`, `.ndjson` and `.parquet`, else the whole file as one."""
    kind, compression = _endings(path)
    if kind == ".parquet" and not compression:
        from nanogpt.text.records import read_parquet

        yield from read_parquet(path, column, notes)
        return
    with _open(path, compression) as stream:
        if kind in JSON_LINES:
            from nanogpt.text.records import read_json_lines

            yield from read_json_lines(stream, str(path), column, notes)
        else:
            yield from _read_text(stream, str(path), encoding, notes)


def plain_blocks(path: Path) -> Iterator[bytes] | None:
    """Return the bytes of a file of plain text, decompressed, in blocks; None for another kind of file."""
    kind, compression = _endings(path)
    if not path.is_file() or kind in JSON_LINES or (kind == ".parquet" and not compression):
        return None

    def blocks() -> Iterator[bytes]:
        with _open(path, compression) as stream:
            yield from iter(lambda: stream.read(READ_BYTES), b"")

    return blocks()


def _endings(path: Path) -> tuple[str, str]:
    """Return the ending that says what a file holds, and that of its compression; each may be empty."""
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    compression = endings.pop() if endings and endings[-1] in COMPRESSED else ""
    return endings[-1] if endings else "", compression


def _read_text(stream: BinaryIO, where: str, encoding: str, notes: Notes) -> Iterator[Chunk]:
    return chunks_of(decode_blocks(iter(lambda: stream.read(READ_BYTES), b""), where, encoding, notes))


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
