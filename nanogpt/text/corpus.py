"""A text by name, file, folder, data set or standard input.

Here: finding it, and reading it as often as needed, a piece at a time. Not here: what files look like inside
(`nanogpt.text.readers`), tokens, and the cut into training and validation parts (`nanogpt.data.dataset`). Importing this
module is cheap: no torch, no numpy, no look at the disk.
"""

import os
import stat
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nanogpt.errors import UserError
from nanogpt.text.decoding import BinaryFile, Notes, decode_text
from nanogpt.text.hub import PREFIX, parse_source, read_rows
from nanogpt.text.pieces import Piece, pieces_of
from nanogpt.text.readers import CHUNK_BYTES, Spool, bare_name, read_bytes, read_file, read_records, read_text
from nanogpt.text.shakespeare import CorpusUnavailable, read_shakespeare

if TYPE_CHECKING:
    from nanogpt.text.scan import Scan

NAMES = ("shakespeare", "python")
LONGEST_NAME = 200
"""Characters of a name that is shown whole; more, or several lines, are rather a text than its name."""
SHOWN = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """A text, as one document or several, that can be read again and again; of any size, as it is read in pieces."""

    name: str
    """Short name, for run folders and tables: `shakespeare`, or the file's name without its ending."""
    source: str | tuple[str, ...]
    """What finds it again: a corpus name, an absolute path, `hf:` and a data set; or several of these. `-` where
    nothing does: standard input, and texts in memory."""
    read: Callable[[Notes], Iterator[Piece]]
    """Reads it from the beginning, and notes what a person should know."""
    empty: str | None = None
    """What to say where there is nothing but blank space; None where that is allowed."""
    found: Notes = field(default_factory=dict, repr=False)
    _kept: "dict[str, Scan]" = field(default_factory=dict, repr=False)

    @classmethod
    def of_texts(cls, *documents: str, name: str = "text", source: str = "-") -> "Corpus":
        """Texts in memory, a document each.

        >>> Corpus.of_texts("one", "two").documents
        ('one', 'two')
        """
        return cls(name=name, source=source, read=lambda notes: (p for one in documents for p in pieces_of([one])))

    def pieces(self) -> Iterator[Piece]:
        """Read it once. Raises UserError for what cannot be read, and at the end where it was empty."""
        blank = True
        for piece in self.read(self.found):
            blank = blank and piece.text.isspace()
            yield piece
        if blank and self.empty is not None:
            raise UserError(self.empty)

    def scan(self, quiet: bool = False) -> "Scan":
        """Its fingerprint, figures and alphabet, for which it is read once; shows how far it is unless `quiet`."""
        from nanogpt.text.meter import watch_pieces
        from nanogpt.text.scan import scan_pieces

        if "scan" not in self._kept:
            self._kept["scan"] = scan_pieces(watch_pieces(self.pieces(), f"reading {self.name}", quiet=quiet))
        return self._kept["scan"]

    @property
    def sources(self) -> tuple[str, ...]:
        """What finds it again, one or several."""
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to show: files left out, line ends changed, the default that was chosen. All, once it was read."""
        return tuple(self.found)

    @property
    def documents(self) -> tuple[str, ...]:
        """The texts, line ends as `\\n`, in memory."""
        documents: list[list[str]] = []
        for piece in self.pieces():
            if piece.begins:
                documents.append([])
            documents[-1].append(piece.text)
        return tuple("".join(parts) for parts in documents)

    @property
    def text(self) -> str:
        """All documents, a newline between them, in memory."""
        return "\n".join(self.documents)


OneSource = str | os.PathLike[str] | Corpus
Sources = OneSource | Sequence[OneSource] | None


def load_corpus(
    source: Sources = None, encoding: str = "utf-8", *, pattern: str | None = None, column: str = "text"
) -> Corpus:
    """Find a corpus: a name (`shakespeare`, `python`), a file, a folder, `hf:` and a data set, `-` for standard input.

    Or several of these, one after the other. A `Corpus` is taken as it is; `Corpus.of_texts` makes one of texts in
    memory. With no source, `shakespeare` where it can be had, else `python` with a note that says so. A corpus that was
    named is never replaced by another. A name wins over a file of the same name: write `./python` for the file.
    `pattern` chooses files of a folder by their names (`*.md`); `column` is where the text is in `.jsonl` and
    `.parquet` files and in data sets.

    Raises UserError for what is not there; CorpusUnavailable where `shakespeare` was named and can be had neither
    from disk nor network. What is wrong inside a text is raised when it is read: an empty or binary one, bytes that
    are not in `encoding`, a column that there is not.
    """
    if source is None:
        return _default_corpus()
    if isinstance(source, Corpus):
        return source
    if isinstance(source, str | os.PathLike):
        return _named(os.fspath(source), encoding, pattern, column)
    return _joined([load_corpus(one, encoding, pattern=pattern, column=column) for one in source])


def _named(name: str, encoding: str, pattern: str | None, column: str) -> Corpus:
    """One of our own corpora, or what is found elsewhere by this name."""
    if name in NAMES:
        return _shakespeare() if name == "shakespeare" else _python_sources()
    if name == "-":
        return _from_stream(lambda: cast(BufferedReader, sys.stdin.buffer), "standard input", "-", "stdin", encoding)
    if name.startswith(PREFIX):
        return _from_hub(name, column)
    path = _find(name)
    return _from_folder(path, encoding, pattern, column) if path.is_dir() else _from_file(path, encoding, column)


def _find(name: str) -> Path:
    """A file or folder; UserError where there is none, or where it may not be looked at."""
    way = f"'-' for standard input, or one of the named corpora: {', '.join(NAMES)}"
    if not name:  # pathlib takes it for the working folder, and a shell gives it for a variable that is not set
        raise UserError(f"no text was named: give a path ('.' for this folder), {way}")
    shown = repr(name)
    if len(name) > LONGEST_NAME or "\n" in name:
        shown = f"{name[:SHOWN]!r} …"
    try:
        path = Path(name).expanduser()
        path.stat()
    except PermissionError as error:
        raise UserError(
            f"cannot look at {shown}: {error.strerror}; change the permissions of the folders above it, or give "
            f"another path"
        ) from None
    except (OSError, RuntimeError, ValueError):  # also a name too long, the home of nobody, a zero byte
        raise UserError(f"no file or folder {shown}; give a path, not the text itself, {way}") from None
    return path


def _default_corpus() -> Corpus:
    try:
        return _shakespeare()
    except CorpusUnavailable as error:
        note = f"{error.args[0].split(';')[0]}: reading 'python' instead, the source of Python's standard library"
        python = _python_sources()
        python.found[note] = None
        return python


def _shakespeare() -> Corpus:
    return Corpus.of_texts(decode_text(read_shakespeare(), "shakespeare"), name="shakespeare", source="shakespeare")


def _python_sources() -> Corpus:
    """The standard library that comes with this interpreter, a file a document, without its tests."""
    root = Path(sysconfig.get_paths()["stdlib"])
    left_out = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}

    def read(notes: Notes) -> Iterator[Piece]:
        for path in sorted(root.rglob("*.py")):
            if left_out.isdisjoint(path.relative_to(root).parts):
                try:
                    text = decode_text(read_bytes(path), str(path))
                except UserError:
                    continue  # in another encoding: this corpus is the one that is always there
                yield from pieces_of([text])

    empty = f"no Python sources below {root}; name another corpus, or a file of your own"
    return Corpus(name="python", source="python", read=read, empty=empty)


def _from_file(path: Path, encoding: str, column: str) -> Corpus:
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe can be read but once
        return _from_stream(lambda: path.open("rb"), str(path), str(path.absolute()), path.stem, encoding)
    return Corpus(
        name=bare_name(path),
        source=str(path.resolve()),
        read=lambda notes: read_file(path, encoding, column, notes),
        empty=_empty(str(path)),
    )


def _from_stream(
    open_stream: Callable[[], BufferedReader], where: str, source: str, name: str, encoding: str
) -> Corpus:
    """What can be read once only: kept in the cache, from the first reading until the corpus is no longer needed."""

    @cache
    def spool() -> Spool:
        stream = open_stream()
        # Not `read`, which waits for a whole chunk, and while more comes does not hear of a Ctrl-C.
        return Spool(iter(lambda: stream.read1(CHUNK_BYTES), b""))

    return Corpus(
        name=name,
        source=source,
        read=lambda notes: read_text(spool().open(), where, encoding, notes),
        empty=_empty(where),
    )


def _from_hub(source: str, column: str) -> Corpus:
    """A data set of the Hugging Face hub; kept in the cache while it is needed, so that it is downloaded once."""
    name, split = parse_source(source)

    @cache
    def spool() -> Spool:
        return Spool(read_rows(name, split, column))

    return Corpus(
        name=name.rstrip("/").rsplit("/", 1)[-1],
        source=f"{PREFIX}{name}:{split}",
        read=lambda notes: read_records(spool().open(), source, "text", notes),
        empty=_empty(source),
    )


def _from_folder(folder: Path, encoding: str, pattern: str | None, column: str) -> Corpus:
    """Every file below a folder, in the order of their paths; hidden and binary ones are left out."""

    def read(notes: Notes) -> Iterator[Piece]:
        binary = []
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if any(part.startswith(".") for part in inside.parts) or not path.is_file():
                continue
            if pattern is None or fnmatchcase(inside.name, pattern) or fnmatchcase(inside.as_posix(), pattern):
                try:
                    yield from read_file(path, encoding, column, notes)
                except BinaryFile:
                    binary.append(str(inside))
        if binary:
            named = ", ".join(binary[:3]) + (" …" if binary[3:] else "")
            notes[f"left out {len(binary)} binary file(s): {named}"] = None

    chosen = f" in files named {pattern!r}" if pattern is not None else ""
    return Corpus(
        name=folder.resolve().name or "folder",
        source=str(folder.resolve()),
        read=read,
        empty=f"no text below the folder {str(folder)!r}{chosen}; put .txt files there, or name a file",
    )


def _joined(corpora: list[Corpus]) -> Corpus:
    """Several corpora, one after the other; each is checked by itself."""
    if len(corpora) < 2:
        return corpora[0] if corpora else load_corpus("")  # raises

    def read(notes: Notes) -> Iterator[Piece]:
        for corpus in corpora:
            yield from corpus.pieces()
            notes.update(corpus.found)

    return Corpus(
        name=f"{corpora[0].name}-and-{len(corpora) - 1}-more",
        source=tuple(source for corpus in corpora for source in corpus.sources),
        read=read,
    )


def _empty(where: str) -> str:
    return f"{where} is empty: there is nothing to learn from; give a file with some text in it"
