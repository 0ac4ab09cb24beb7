"""Texts that are not one file: a named corpus, a folder, standard input, a web address, a data set."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from nanogpt.config import Config
from nanogpt.text import records
from nanogpt.text.chunks import READ_BYTES, Chunk, Notes, read_text
from nanogpt.text.corpus import NAMES, Corpus, empty, open_file, read_file
from nanogpt.text.named_corpora import CorpusUnavailable, read_python, read_shakespeare
from nanogpt.text.readers import is_chosen, read_files


def open_source(name: str | None, config: Config, yes: bool = False) -> Corpus:
    """Open a text that is no path: a name, `-`, an address or a data set; None: the default one."""
    if name is None:
        return _default_corpus()
    if name in NAMES:
        return _named_corpus(name)
    if name == "-":
        return from_stream(lambda: sys.stdin.buffer, "standard input", "-", "stdin", config)
    if name.startswith("hf:"):
        return _from_data_set(name, config.data.column)
    from nanogpt.text.downloads import local_copy

    path, note = local_copy(name, yes)
    return replace(open_file(path, config), source=name, _notes={note: None})


def _default_corpus() -> Corpus:
    try:
        return _named_corpus("shakespeare")
    except CorpusUnavailable as error:
        python = _named_corpus("python")
        reason = str(error).split(";")[0]
        python._notes[f"{reason}: reading 'python' instead, the source of Python's standard library"] = None
        return python


def _named_corpus(name: str) -> Corpus:
    if name == "shakespeare":
        return Corpus.of_texts(read_shakespeare(), name=name, source=name)
    error = "the sources of Python's standard library are not installed; name another corpus, or a file of your own"
    return Corpus(name=name, source=name, read=read_python, empty=error)


def from_stream(open_stream: Callable[[], Any], where: str, source: str, name: str, config: Config) -> Corpus:
    """Return a text that can be read only once; it is copied to the cache when first read."""
    # Not `read`, which waits for a whole block and does not notice Ctrl-C while more arrives.
    spool = records.Spool(lambda: iter(partial(open_stream().read1, READ_BYTES), b""))
    return Corpus(
        name=name,
        source=source,
        read=lambda notes: read_text(spool.open(), where, config.data.encoding, notes),
        empty=empty(where),
        plain=True,
    )


def _from_data_set(source: str, column: str) -> Corpus:
    """Return a data set of the Hugging Face hub, copied to the cache when first read."""
    name, split = records.parse_source(source)
    spool = records.Spool(lambda: records.read_data_set(name, split, column))
    return Corpus(
        name=Path(name).name,
        source=f"hf:{name}:{split}",
        read=lambda notes: records.read_json_lines(spool.open(), source, "utf-8", "text", notes),
        empty=empty(source),
    )


def from_folder(folder: Path, config: Config) -> Corpus:
    """Return all files in a folder and below it, ordered by path, without hidden and binary ones."""
    pattern, whole = config.data.pattern, config.override(pattern=None)

    def read(notes: Notes) -> Iterator[Chunk]:
        files = ((str(path.relative_to(folder)), path) for path in text_files(folder, pattern))
        readers = ((name, partial(read_file, path, whole, notes)) for name, path in files)
        return read_files(readers, f"the folder {str(folder)!r}", notes)

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
        if is_chosen(file.relative_to(path), pattern) and file.is_file():
            yield file
