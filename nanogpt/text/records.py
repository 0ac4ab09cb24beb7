"""Texts in records, one document each: `.csv`, `.jsonl`, `.json` and `.parquet` files, and Hugging Face data sets.

Each reader holds no more than a few megabytes and refuses a record longer than `LONGEST_RECORD_BYTES`. (A page of a
`.parquet` file is about a megabyte but can be larger; a `.json` file is read whole, so it has that limit itself.) Also
a copy of input that can be read only once.
"""

import csv
import io
import itertools
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import IO, Any, BinaryIO

from nanogpt.errors import UserError, counted
from nanogpt.files import cache_folder
from nanogpt.text.chunks import READ_BYTES, Chunk, Notes, Unreadable, chunks_of, decode_blocks, unify_line_ends

LONGEST_RECORD_BYTES = 64_000_000
"""Also the largest file, or part of one, that is parsed as a whole: its tree takes several times as much memory."""
LARGEST_FILE_BYTES = 256_000_000
"""Largest file, decompressed, that is held in memory to be read in any order."""
CONVERSATIONS = ({"messages"}, {"conversations"}, {"instruction", "output"}, {"role", "content"})
"""Columns by which records of conversations are known."""


def import_optional(module: str, why: str, extra: str = "data") -> Any:
    """Import a library that an extra installs; raise UserError with the command if it is missing."""
    try:
        return import_module(module)
    except ImportError:
        name, command = module.partition(".")[0], f"pip install 'nanogpt[{extra}]'"
        kind = f"file(s) that only {name} reads ({command})"
        raise Unreadable(f"{why}, but {name} is not installed: {command}", kind) from None


def read_whole(stream: IO[bytes], where: str, limit: int | None = None, instead: str = "divide it") -> bytes:
    """Return all bytes of a stream; raise Unreadable beyond `limit` (`LONGEST_RECORD_BYTES`), without reading on."""
    limit = LONGEST_RECORD_BYTES if limit is None else limit
    data = stream.read(limit + 1)
    if len(data) > limit:
        size = f"larger than {limit / 1e6:,.0f} MB"
        raise Unreadable(f"{where} is {size} (decompressed), the limit for its kind: {instead}", f"file(s) {size}")
    return data


def is_file_on_disk(stream: BinaryIO) -> bool:
    """Return whether any part of a stream can be read at once: not so where it is decompressed on the way."""
    return isinstance(getattr(stream, "raw", None), io.FileIO)


def seekable(stream: BinaryIO, where: str) -> BinaryIO:
    """Return a stream whose parts can be read in any order; up to `LARGEST_FILE_BYTES` are copied into memory."""
    return stream if is_file_on_disk(stream) else io.BytesIO(read_whole(stream, where, LARGEST_FILE_BYTES))


class Spool:
    """A copy of a stream in a file without a name, so that it can be read again.

    The file is in the cache folder: the system's folder for temporary files may be in memory.
    """

    def __init__(self, blocks: Callable[[], Iterable[bytes]]) -> None:
        self._blocks = blocks
        self._file: Any = None

    def open(self) -> BinaryIO:
        """Return the copy, to be read from the beginning; make it the first time."""
        if self._file is None:
            folder = cache_folder()
            folder.mkdir(parents=True, exist_ok=True)
            try:
                file: Any = tempfile.TemporaryFile(dir=folder, buffering=READ_BYTES)  # noqa: SIM115  (as long as this)
                file.writelines(self._blocks())
                file.flush()
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(folder)) from None
            self._file = file
        self._file.seek(0)
        copy: BinaryIO = self._file
        return copy


def read_csv(stream: BinaryIO, where: str, encoding: str, column: str, notes: Notes) -> Iterator[Chunk]:
    """Yield one document per row of a table: its field in `column`, or in the only column there is."""
    lines = _lines(decode_blocks(iter(lambda: stream.read(READ_BYTES), b""), where, encoding, {}), where)
    if (first := next((line for line in lines if line.strip()), None)) is None:
        return
    is_tsv = ".tsv" in where.lower()[-8:]
    delimiter = max("\t" if is_tsv else ",;\t|", key=lambda one: len(next(csv.reader([first], delimiter=one), [])))
    csv.field_size_limit(LONGEST_RECORD_BYTES // 4)  # a character takes four bytes while it is read
    rules: Any = {"delimiter": delimiter, "skipinitialspace": delimiter + " " in first, "strict": True}
    rules["quoting"] = csv.QUOTE_NONE if is_tsv else csv.QUOTE_MINIMAL
    table = csv.reader(itertools.chain([first], lines), **rules)

    def texts(column: str) -> Iterator[str]:
        names = [name.strip().strip('"') for name in next(table)]
        if column not in names and (column, len(names)) == ("text", 1) and names[0]:
            notes[f"{where}: read its only column, {names[0]!r}"] = None
            column = names[0]
        if column not in names:
            raise Unreadable(_no_column(where, column, names), f"table(s) without a column {column!r}")
        at = names.index(column)
        for row in filter(None, table):
            fields = [delimiter.join(row)] if len(names) == 1 else row  # a list of lines needs no quotes
            if any(fields[len(names) :]):
                raise csv.Error(f"{len(row)} fields in a table of {len(names)} columns, divided by {delimiter!r}")
            text = fields[at] if at < len(fields) else ""
            if is_tsv and re.fullmatch(r'"[^"]*(?:""[^"]*)*"', text):  # some programs write quotes, most do not
                text = text[1:-1].replace('""', '"')
            yield text

    try:
        yield from read_texts(texts(column), where, notes)
    except csv.Error as error:
        advice = "a field that contains the delimiter, a quote or a line end is in quotes, and quotes in it are doubled"
        raise UserError(f"{where}, line {table.line_num:,}: {error}; {advice}") from None


def _lines(texts: Iterable[str], where: str) -> Iterator[str]:
    """Yield the lines of a text that comes in parts, with their line ends."""
    held = ""
    for text in texts:
        *lines, held = (held + text).split("\n")
        yield from (line + "\n" for line in lines)
        if len(held) > LONGEST_RECORD_BYTES // 4:
            raise UserError(f"{where}: a line is longer than {LONGEST_RECORD_BYTES // 4:,} characters; is it a table?")
    if held:
        yield held


def read_json(stream: BinaryIO, where: str, encoding: str, column: str, notes: Notes) -> Iterator[Chunk]:
    """Yield the strings of a list, or `column` of its records; the list may be the only one in an object."""
    data = read_whole(stream, where, instead="write it as .jsonl, a record per line, which has no limit")
    kind, advice = "JSON file(s) without texts", "write a list of texts or of records, or a record per line as .jsonl"
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "not valid JSON"
        raise Unreadable(f"{where} is not JSON: {reason}; if each line is a record, name it .jsonl", kind) from None
    lists = [one for one in found.values() if isinstance(one, list)] if isinstance(found, dict) else [found]
    records = lists[0] if len(lists) == 1 and isinstance(lists[0], list) else []
    if records and all(isinstance(one, dict) for one in records):
        if column not in records[0]:
            raise Unreadable(_no_column(where, column, records[0]), f"JSON file(s) without a column {column!r}")
        texts = (_text_of(one, column, f"{where}, record {number:,}") for number, one in enumerate(records, 1))
    elif records and all(isinstance(one, str) for one in records) and (found is records or len(found) == 1):
        texts = (_text_of({column: one}, column, where) for one in records)
    else:
        raise Unreadable(f"{where} is neither a list of texts nor of records: {advice}, and name it by --column", kind)
    yield from read_texts(texts, where, notes)


def read_texts(texts: Iterable[str], where: str, notes: Notes) -> Iterator[Chunk]:
    """Yield one document per text; leave out and count those that are empty."""
    empty = 0
    for text in texts:
        empty += not text
        yield from chunks_of([unify_line_ends(replace_surrogates(text), notes)], divided=True)
    if empty:
        notes[f"left out {counted(empty, 'record')} without text in {where}"] = None


def read_json_lines(stream: BinaryIO, where: str, encoding: str, column: str, notes: Notes) -> Iterator[Chunk]:
    """Yield one document per line: the string `column` of a JSON object, in UTF-8 as JSON always is."""
    return read_texts(_json_texts(stream, where, column), where, notes)


def _json_texts(stream: BinaryIO, where: str, column: str) -> Iterator[str]:
    for number, line in enumerate(iter(lambda: stream.readline(LONGEST_RECORD_BYTES + 1), b""), 1):
        here = f"{where}, line {number:,}"
        if len(line) > LONGEST_RECORD_BYTES:
            raise UserError(
                f"{here}: longer than {LONGEST_RECORD_BYTES:,} bytes; is it a .jsonl file, with one JSON object per "
                f"line? Split its text into several"
            )
        if line.strip():
            try:
                record = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
            except (ValueError, RecursionError) as error:
                reason = error.args[0] if isinstance(error, json.JSONDecodeError) else "not valid JSON"
                raise UserError(f"{here} is not JSON: {reason}; correct or delete the line") from None
            if not isinstance(record, dict):
                raise UserError(f'{here} is not a JSON object: write {{"{column}": "..."}}')
            yield _text_of(record, column, here)


def _text_of(record: dict[str, Any], column: str, where: str) -> str:
    """Return the text of a record, empty where it is null."""
    text = record.get(column)
    if column not in record or (isinstance(text, list) and {column} in CONVERSATIONS):
        raise Unreadable(_no_column(where, column, record), f"file(s) without a column {column!r}")
    if not isinstance(text, str | None):
        raise UserError(f"{where}: {column!r} is {type(text).__name__}, not a string; name another column by --column")
    return text or ""


def replace_surrogates(text: str) -> str:
    """Return a text with pairs of surrogates, which JSON can write, joined; replace lone ones, which UTF-8 lacks."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _no_column(where: str, column: str, names: Iterable[str]) -> str:
    there = ", ".join(map(repr, list(names)[:20])) or "none"
    if any(known <= set(names) for known in CONVERSATIONS):
        return (
            f"{where} holds conversations, which cannot be trained on yet: write the text you want learned into one "
            f"column, and name it by --column; there are {there}"
        )
    return f"{where} has no column {column!r}: name the one with the text by --column; there are {there}"


def read_parquet(stream: BinaryIO, where: str, encoding: str, column: str, notes: Notes) -> Iterator[Chunk]:
    """Yield one document per row: the strings in a column of a `.parquet` file, without empty cells."""
    parquet = import_optional("pyarrow.parquet", f"{where} is a .parquet file")
    arrow = import_module("pyarrow")
    try:
        # A page at a time: the default reads ahead whole columns, which can be the whole file.
        with parquet.ParquetFile(seekable(stream, where), buffer_size=READ_BYTES, pre_buffer=False) as file:
            schema = file.schema_arrow
            if column not in schema.names:
                raise UserError(_no_column(where, column, schema.names))
            kind, types = schema.field(column).type, arrow.types
            if not (types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind)):
                raise UserError(f"{where}: column {column!r} is {kind}, not a string; name another by --column")
            yield from read_texts(_cells(file, column, where), where, notes)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot read {where!r} as a .parquet file: {reason}; restore it") from None


def _cells(file: Any, column: str, where: str) -> Iterator[str]:
    """Yield the strings in a column; read as many rows at a time as make about `READ_BYTES` in the mean."""
    row = 0
    for group in range(file.num_row_groups):
        about = file.metadata.row_group(group)
        columns = [about.column(i) for i in range(about.num_columns)]
        size = sum(one.total_uncompressed_size for one in columns if one.path_in_schema == column)
        rows = max(1, min(1024, int(READ_BYTES / max(size / max(about.num_rows, 1), 1))))
        for batch in file.iter_batches(rows, row_groups=[group], columns=[column]):
            for cell in batch.column(0):
                row += 1
                text = cell.as_py() or ""
                if len(text) > LONGEST_RECORD_BYTES:
                    raise UserError(f"{where}, row {row:,}: longer than {LONGEST_RECORD_BYTES:,} characters")
                yield text


def parse_source(source: str) -> tuple[str, str]:
    """Return the data set and the split of `hf:owner/name`, `hf:owner/name:split` or `hf:./folder`.

    A folder becomes absolute, so that a resumed run finds it.

    >>> parse_source("hf:owner/name:validation"), parse_source("hf:name")
    (('owner/name', 'validation'), ('name', 'train'))
    """
    name, split = source.removeprefix("hf:"), "train"
    if found := re.fullmatch(r"(.+):([^:/\\]+)", name):
        name, split = found.groups()
    if name.startswith((".", "~")):
        name = str(Path(name).expanduser().resolve())
    if not name or (Path(name).is_absolute() and not Path(name).is_dir()):
        raise UserError(f"no data set {source!r}; give hf:owner/name, hf:owner/name:split or hf:./folder")
    return name, split


def read_data_set(name: str, split: str, column: str) -> Iterator[bytes]:
    """Stream a data set's texts as lines of JSON, `{"text": ...}`; raise UserError if it cannot be read."""
    datasets = import_optional("datasets", f"'hf:{name}' is a Hugging Face data set", extra="hf")
    try:
        rows: Any = iter(datasets.load_dataset(name, split=split, streaming=True))
        for number, row in enumerate(rows, 1):
            where = f"data set {name!r}, row {number:,}"
            text = _text_of(row, column, where)
            if len(text) > LONGEST_RECORD_BYTES // 6:  # a character is at most six bytes of JSON
                raise UserError(f"{where}: longer than {LONGEST_RECORD_BYTES // 6:,} characters")
            yield json.dumps({"text": text}).encode() + b"\n"
    except (UserError, MemoryError):
        raise
    except Exception as error:  # the library and the network raise many kinds
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"cannot read the data set {name!r}, split {split!r}: {reason}; check its name and the network"
        ) from None
