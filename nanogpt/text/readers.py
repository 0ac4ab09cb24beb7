"""Files as documents, a piece at a time: plain text, `.jsonl` and `.parquet` with a text column, `.gz` and `.zst`.

What a file is, its name's ending says. Each reader is an iterator of pieces that holds no more than a few megabytes,
whatever it is given: what is packed is unpacked as it is read, and a single record above `LONGEST_RECORD_BYTES` is
refused. (A `.parquet` file is read in its own pages, which are a megabyte as a rule and can be larger.) Optional
libraries are imported where they are used: `pip install 'nanogpt[data]'`.
"""

import gzip
import io
import json
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from nanogpt.errors import UserError
from nanogpt.files import cache_folder
from nanogpt.text.decoding import Notes, decode_pieces, unify_line_ends
from nanogpt.text.pieces import Piece, pieces_of

CHUNK_BYTES = 1 << 16
LONGEST_RECORD_BYTES = 64_000_000
PACKED = (".gz", ".zst")
RECORDS = (".jsonl", ".ndjson")


def read_file(path: Path, encoding: str, column: str, notes: Notes) -> Iterator[Piece]:
    """A file's documents, by the ending of its name; one document where it is plain text.

    Raises UserError where it cannot be read, is damaged, or lacks the column; BinaryFile where it is no text.
    """
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    packed = endings.pop() if endings and endings[-1] in PACKED else ""
    kind = endings[-1] if endings else ""
    if kind == ".parquet" and not packed:
        yield from read_parquet(path, column, notes)
        return
    with _open(path, packed) as stream:
        if kind in RECORDS:
            yield from read_records(stream, str(path), column, notes)
        else:
            yield from read_text(stream, str(path), encoding, notes)


def read_bytes(path: Path) -> bytes:
    """All of a small file."""
    with _open(path) as file:
        return file.read()


def bare_name(path: Path) -> str:
    """A file's name without what says how it is kept.

    >>> bare_name(Path("texts/book.vol1.txt.gz"))
    'book.vol1'
    """
    return Path(path.stem).stem if path.suffix.lower() in PACKED else path.stem


def read_text(stream: BinaryIO, where: str, encoding: str, notes: Notes) -> Iterator[Piece]:
    """One document: the whole of a plain text."""
    return pieces_of(decode_pieces(iter(lambda: stream.read(CHUNK_BYTES), b""), where, encoding, notes))


def read_records(stream: BinaryIO, where: str, column: str, notes: Notes) -> Iterator[Piece]:
    """A document a line: the string `column` of JSON objects, in UTF-8 as JSON always is."""
    number = empty = 0
    while line := stream.readline(LONGEST_RECORD_BYTES + 1):
        number += 1
        if len(line) > LONGEST_RECORD_BYTES:
            raise UserError(
                f"{where}, line {number:,}: longer than {LONGEST_RECORD_BYTES:,} bytes; is it a .jsonl file, with one "
                f"JSON object a line? Break its text into several"
            )
        if line.strip():
            text = _cell(line, f"{where}, line {number:,}", column)
            empty += not text
            yield from pieces_of([unify_line_ends(text, notes)])
    _note_empty(empty, where, notes)


def _cell(line: bytes, where: str, column: str) -> str:
    try:
        record = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        reason = error.args[0] if isinstance(error, json.JSONDecodeError) else "not valid JSON"
        raise UserError(f"{where} is not JSON: {reason}; correct or delete the line") from None
    if not isinstance(record, dict):
        raise UserError(f'{where} is not a JSON object: write {{"{column}": "..."}}')
    if column not in record:
        raise UserError(f"{where} {no_column(column, record)}")
    text = "" if record[column] is None else record[column]
    if not isinstance(text, str):
        kind = {list: "a list", dict: "an object", bool: "true or false"}.get(type(text), "a number")
        raise UserError(f"{where}: {column!r} is {kind}, not a string; name the text's key by --column")
    return whole_characters(text)


def _note_empty(count: int, where: str, notes: Notes) -> None:
    if count:
        notes[f"left out {count:,} record(s) without text in {where}"] = None


def whole_characters(text: str) -> str:
    """JSON can write half of a character (a lone surrogate, which no encoding has): U+FFFD in its place."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def read_parquet(path: Path, column: str, notes: Notes) -> Iterator[Piece]:
    """A document a row: the strings of a column of a `.parquet` file; empty cells are left out."""
    parquet = optional("pyarrow.parquet", f"{path} is a .parquet file")
    arrow = import_module("pyarrow")
    row = empty = 0
    try:
        # A page at a time: the default reads ahead whole columns, which can be the whole file.
        with parquet.ParquetFile(path, buffer_size=CHUNK_BYTES, pre_buffer=False) as file:
            _check_column(file, path, column, arrow.types)
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(_rows(file, group, column), row_groups=[group], columns=[column]):
                    for cell in batch.column(0):
                        row += 1
                        text = cell.as_py() or ""
                        empty += not text
                        if len(text) > LONGEST_RECORD_BYTES:
                            raise UserError(f"{path}, row {row:,}: longer than {LONGEST_RECORD_BYTES:,} characters")
                        yield from pieces_of([unify_line_ends(text, notes)])
        _note_empty(empty, str(path), notes)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot read {str(path)!r} as a .parquet file: {reason}; restore it") from None


def _check_column(file: Any, path: Path, column: str, types: Any) -> None:
    schema = file.schema_arrow
    if column not in schema.names:
        raise UserError(f"{path} {no_column(column, schema.names)}")
    kind = schema.field(column).type
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind)):
        raise UserError(f"{path}: column {column!r} is {kind}, not a string; name the text's column by --column")


def _rows(file: Any, group: int, column: str) -> int:
    """How many rows to take at once: about a chunk's worth, by the mean length of the group's cells."""
    about = file.metadata.row_group(group)
    sizes = [
        about.column(i).total_uncompressed_size
        for i in range(about.num_columns)
        if about.column(i).path_in_schema == column
    ]
    mean = sum(sizes) / max(about.num_rows, 1)
    return max(1, min(1024, int(CHUNK_BYTES / max(mean, 1))))


def no_column(column: str, names: Iterable[str]) -> str:
    """The end of a sentence: what there is in place of the column."""
    there = ", ".join(map(repr, list(names)[:20])) or "none"
    return f"has no column {column!r}: name the one with the text by --column; there are {there}"


@contextmanager
def _open(path: Path, packed: str = "") -> Iterator[BinaryIO]:
    """A file's bytes, unpacked; what goes wrong while they are read is told in our words."""
    try:
        with path.open("rb") as file:
            if packed == ".gz":
                yield io.BufferedReader(gzip.GzipFile(fileobj=file))
            elif packed == ".zst":
                yield io.BufferedReader(_Zstandard(file, optional("zstandard", f"{path} is a .zst file")), CHUNK_BYTES)
            else:
                yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is damaged or not whole: {error}; restore it") from None
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror}; check its permissions") from None


class _Zstandard(io.RawIOBase):
    """Unpacks as it is read, frame after frame.

    The library's own stream reader takes a file that ends in the middle of a frame for whole, and its decompression
    objects return at once all that their input holds: so they are given little of it. A kilobyte unpacks to 32 MB
    at most, 128 KiB for each block of four bytes.
    """

    INPUT_BYTES = 1024

    def __init__(self, file: BinaryIO, zstandard: Any) -> None:
        self._file, self._library = file, zstandard
        self._frame: Any = None
        self._packed = b""
        self._unpacked = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._unpacked:
            if not self._packed:
                self._packed = self._file.read(self.INPUT_BYTES)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("it ends in the middle")
                return 0
            self._unpack()
        some = self._unpacked[: len(buffer)]
        buffer[: len(some)] = some
        self._unpacked = self._unpacked[len(some) :]
        return len(some)

    def _unpack(self) -> None:
        if self._frame is None:
            self._frame = self._library.ZstdDecompressor().decompressobj()
        try:
            self._unpacked = memoryview(self._frame.decompress(self._packed))
        except self._library.ZstdError as error:
            raise EOFError(str(error)) from None
        self._packed = self._frame.unused_data
        if self._frame.eof:
            self._frame = None


class Spool:
    """Bytes that come once only, kept in a file without a name so that they can be read again.

    It lies in the cache folder, which has room where the system's folder for temporary files may be memory. The
    system removes it with this object, and with the process, also with one that is killed.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (as long as this object)
            for chunk in chunks:
                self._file.write(chunk)
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from None

    def open(self) -> BinaryIO:
        """A reader from the beginning; several at a time do not disturb each other."""
        return io.BufferedReader(_Reader(self._file), CHUNK_BYTES)


class _Reader(io.RawIOBase):
    def __init__(self, file: Any) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._at)
        count: int = self._file.readinto(buffer)
        self._at += count
        return count


def optional(module: str, why: str, extra: str = "data") -> Any:
    """A library that is not installed with the package; UserError with the command that does."""
    try:
        return import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise UserError(f"{why}, and {name} is not installed: pip install 'nanogpt[{extra}]'") from None
