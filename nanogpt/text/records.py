"""Texts in records, one document each: `.jsonl` and `.parquet` files, and Hugging Face data sets.

Each reader holds no more than a few megabytes and refuses a record longer than `LONGEST_RECORD_BYTES`. (A page of a
`.parquet` file is about a megabyte but can be larger.) Also a copy of input that can be read only once.
"""

import io
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from nanogpt.errors import UserError, counted
from nanogpt.files import cache_folder
from nanogpt.text.chunks import READ_BYTES, Chunk, Notes, chunks_of, unify_line_ends

LONGEST_RECORD_BYTES = 64_000_000


def import_optional(module: str, why: str, extra: str = "data") -> Any:
    """Import a library that an extra installs; raise UserError with the command if it is missing."""
    try:
        return import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise UserError(f"{why}, but {name} is not installed: pip install 'nanogpt[{extra}]'") from None


class Spool:
    """A copy of a stream in a file without a name, so that it can be read again.

    The file is in the cache folder: the system's folder for temporary files may be in memory.
    """

    def __init__(self, blocks: Callable[[], Iterable[bytes]]) -> None:
        self._blocks = blocks
        self._file: Any = None

    def open(self) -> BinaryIO:
        """Return a reader from the beginning, independent of others, copying the stream the first time."""
        if self._file is None:
            folder = cache_folder()
            folder.mkdir(parents=True, exist_ok=True)
            try:
                file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (as long as this object)
                for block in self._blocks():
                    file.write(block)
                file.flush()
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(folder)) from None
            self._file = file
        return io.BufferedReader(_SpoolReader(self._file), READ_BYTES)


class _SpoolReader(io.RawIOBase):
    def __init__(self, file: Any) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._at)
        count: int = self._file.readinto(buffer)
        self._at += count
        return count


def read_json_lines(stream: BinaryIO, where: str, column: str, notes: Notes) -> Iterator[Chunk]:
    """Yield one document per line: the string `column` of a JSON object, in UTF-8 as JSON always is."""
    number = empty = 0
    while line := stream.readline(LONGEST_RECORD_BYTES + 1):
        number += 1
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
            text = _text_of(record, column, here)
            empty += not text
            yield from chunks_of([unify_line_ends(text, notes)], divided=True)
    _note_empty(empty, where, notes)


def _text_of(record: dict[str, Any], column: str, where: str) -> str:
    """Return the text of a record, empty where it is null; replace lone surrogates, which JSON can write."""
    if column not in record:
        raise UserError(_no_column(where, column, record))
    text = "" if record[column] is None else record[column]
    if not isinstance(text, str):
        kind = type(text).__name__
        raise UserError(f"{where}: {column!r} is {kind}, not a string; name the column with the text by --column")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _no_column(where: str, column: str, names: Iterable[str]) -> str:
    there = ", ".join(map(repr, list(names)[:20])) or "none"
    return f"{where} has no column {column!r}: name the one with the text by --column; there are {there}"


def _note_empty(count: int, where: str, notes: Notes) -> None:
    if count:
        notes[f"left out {counted(count, 'record')} without text in {where}"] = None


def read_parquet(path: Path, column: str, notes: Notes) -> Iterator[Chunk]:
    """Yield one document per row: the strings in a column of a `.parquet` file, without empty cells."""
    parquet = import_optional("pyarrow.parquet", f"{path} is a .parquet file")
    arrow = import_module("pyarrow")
    row = empty = 0
    try:
        # A page at a time: the default reads ahead whole columns, which can be the whole file.
        with parquet.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False) as file:
            schema = file.schema_arrow
            if column not in schema.names:
                raise UserError(_no_column(str(path), column, schema.names))
            kind, types = schema.field(column).type, arrow.types
            if not (types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind)):
                raise UserError(
                    f"{path}: column {column!r} is {kind}, not a string; name the one with the text by --column"
                )
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(_rows(file, group, column), row_groups=[group], columns=[column]):
                    for cell in batch.column(0):
                        row += 1
                        text = cell.as_py() or ""
                        empty += not text
                        if len(text) > LONGEST_RECORD_BYTES:
                            raise UserError(f"{path}, row {row:,}: longer than {LONGEST_RECORD_BYTES:,} characters")
                        yield from chunks_of([unify_line_ends(text, notes)], divided=True)
        _note_empty(empty, str(path), notes)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot read {str(path)!r} as a .parquet file: {reason}; restore it") from None


def _rows(file: Any, group: int, column: str) -> int:
    """Return how many rows make about `READ_BYTES`, from the mean length of the group's cells."""
    about = file.metadata.row_group(group)
    columns = [about.column(i) for i in range(about.num_columns)]
    size = sum(one.total_uncompressed_size for one in columns if one.path_in_schema == column)
    return max(1, min(1024, int(READ_BYTES / max(size / max(about.num_rows, 1), 1))))


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
