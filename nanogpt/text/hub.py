"""Text of a Hugging Face data set, streamed: `hf:owner/name`, `hf:owner/name:split`, or a folder, `hf:./folder`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.text.readers import LONGEST_RECORD_BYTES, no_column, optional, whole_characters

PREFIX = "hf:"


def parse_source(source: str) -> tuple[str, str]:
    """Data set and split; a folder becomes absolute, so that a resumed run finds it.

    >>> parse_source("hf:owner/name:validation"), parse_source("hf:name")
    (('owner/name', 'validation'), ('name', 'train'))
    """
    name = source.removeprefix(PREFIX)
    split = "train"
    if found := re.fullmatch(r"(.+):([^:/\\]+)", name):
        name, split = found.groups()
    if name.startswith((".", "~")):
        name = str(Path(name).expanduser().resolve())
    if not name or (Path(name).is_absolute() and not Path(name).is_dir()):
        raise UserError(f"no data set {source!r}; give hf:owner/name, hf:owner/name:split or hf:./folder")
    return name, split


def read_rows(name: str, split: str, column: str) -> Iterator[bytes]:
    """A data set's texts as lines of JSON, `{"text": ...}`. Raises UserError where it cannot be had."""
    datasets = optional("datasets", f"'{PREFIX}{name}' is a Hugging Face data set", extra="hf")
    try:
        rows: Any = iter(datasets.load_dataset(name, split=split, streaming=True))
        number = 0
        for number, row in enumerate(rows, 1):
            yield json.dumps({"text": _cell(row, column, f"data set {name!r}, row {number:,}")}).encode() + b"\n"
    except (UserError, MemoryError):
        raise
    except Exception as error:  # whatever stands between us and a server
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"cannot read the data set {name!r}, split {split!r}: {reason}; check its name and the network"
        ) from None


def _cell(row: dict[str, Any], column: str, where: str) -> str:
    if column not in row:
        raise UserError(f"{where} {no_column(column, row)}")
    text = row[column]
    if not isinstance(text, str):
        raise UserError(f"{where}: {column!r} is {type(text).__name__}, not a string; name the text's by --column")
    if len(text) > LONGEST_RECORD_BYTES // 6:  # a character is six bytes of JSON at most
        raise UserError(f"{where}: longer than {LONGEST_RECORD_BYTES // 6:,} characters")
    return whole_characters(text)
