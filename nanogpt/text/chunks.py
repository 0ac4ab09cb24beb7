r"""From bytes to a stream of chunks of text: decoded, cut where no token crosses, divided, processed by all cores.

Only a few chunks are in memory at a time. Where a chunk ends depends on the text alone, not on how it was read, so the
same text always gives the same tokens. Line ends `\r\n` and `\r` become `\n`.
"""

import codecs
import io
import itertools
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple, TypeVar

from nanogpt.errors import UserError, counted
from nanogpt.random_streams import stream

READ_BYTES = 1 << 16
BINARY_PROBE_BYTES = 8192

Notes = dict[str, None]
"""Messages for the user, each once, in the order in which they came up."""
CHUNK_CHARACTERS = 1 << 16
"""Longest chunk: short enough to stay in a core's cache."""
BATCH_CHARACTERS = 1 << 18
BATCH_CHUNKS = 4096
"""Work for a thread: enough to make the cost of handing it over negligible."""
MAX_THREADS = 16
PROGRESS_AFTER_SECONDS = 2.0

In = TypeVar("In")
Out = TypeVar("Out")

_WORD_END = re.compile(r"\S(?=[ \n])")


class Chunk(NamedTuple):
    """Part of a document's text."""

    text: str
    begins: bool
    """whether it is the first of its document"""
    divided: bool = False
    """whether its document is a row, a line or a piece of a file"""


def chunks_of(texts: Iterable[str], divided: bool = False) -> Iterator[Chunk]:
    """Yield the chunks of one document, given in parts of any size; all but the last have `CHUNK_CHARACTERS`."""
    held, begins = "", True
    for text in texts:
        held, start = held + text, 0
        while len(held) - start > CHUNK_CHARACTERS:
            yield Chunk(held[start : start + CHUNK_CHARACTERS], begins, divided)
            start, begins = start + CHUNK_CHARACTERS, False
        held = held[start:]
    if held:
        yield Chunk(held, begins, divided)


def by_document(chunks: Iterable[Chunk]) -> Iterator[Iterator[Chunk]]:
    """Yield the chunks of each document, to be read in this order."""
    number = 0

    def document(chunk: Chunk) -> int:
        nonlocal number
        number += chunk.begins
        return number

    return (parts for _, parts in itertools.groupby(chunks, document))


def cut_chunks(chunks: Iterable[Chunk], size: int = CHUNK_CHARACTERS) -> Iterator[Chunk]:
    """Yield the same text in chunks of at most `size` characters that end where a word does, if they have a space.

    A tokenizer that splits text as GPT-2's does (Radford et al. 2019: only the beginning of a word takes a space) has
    no token across such a cut, so the chunks have the same tokens as the whole.

    >>> [chunk.text for chunk in cut_chunks(chunks_of(["to be or not", " to be"]), size=8)]
    ['to be or', ' not to', ' be']
    """
    parts: list[str] = []  # of the chunk being filled, `length` characters in all
    length, begins = 0, False
    for chunk in chunks:
        if chunk.begins:
            if parts:
                yield Chunk("".join(parts), begins)
            parts, length, begins = [], 0, True
        parts.append(chunk.text)
        length += len(chunk.text)
        if length > size:
            text, start = "".join(parts), 0
            while length - start > size:
                end = _last_cut(text, start, start + size)
                yield Chunk(text[start:end], begins)
                start, begins = end, False
            parts, length = [text[start:]], length - start
    if parts:
        yield Chunk("".join(parts), begins)


def _last_cut(text: str, start: int, end: int) -> int:
    """Return the last position after `start` and up to `end` where a word ends; `end` if there is none."""
    for back in (256, 8192, end - start):  # nearly always close to the end: don't search all of it
        cuts = [found.end() for found in _WORD_END.finditer(text, max(start, end - back), end + 1)]
        if cuts:
            return cuts[-1]
    return end


def divide_chunks(chunks: Iterable[Chunk], characters: int) -> tuple[Iterator[Chunk], Iterator[Chunk]]:
    """Return a text's first `characters` and the rest, to be read in this order; a document is cut into two there."""
    stream = iter(chunks)
    left = characters
    rest: list[Chunk] = []

    def first() -> Iterator[Chunk]:
        nonlocal left
        while left and (chunk := next(stream, None)) is not None:
            if len(chunk.text) > left:
                rest.append(Chunk(chunk.text[left:], False))
                chunk = Chunk(chunk.text[:left], chunk.begins)
            left -= len(chunk.text)
            yield chunk

    def second() -> Iterator[Chunk]:
        yield from rest
        yield from stream

    return first(), second()


def hold_out_documents(
    chunks: Iterable[Chunk], every: int, most_characters: int
) -> tuple[Iterator[Chunk], Iterator[Chunk]]:
    """Return the documents to train on and those held out, to be read in this order.

    One document of each `every` is held out, drawn by a fixed seed. Those held out are kept in memory: at most
    `most_characters`, or one chunk; the rest of a longer document becomes a training document.
    """
    held: list[Chunk] = []

    def first() -> Iterator[Chunk]:
        number, drawn, left, holds = -1, 0, most_characters, False
        for chunk in chunks:
            if chunk.begins:
                number += 1
                if number % every == 0:
                    drawn = stream(0, "held-out", number // every) % every
                holds = number % every == drawn
            if holds and (left >= len(chunk.text) or not held):
                held.append(chunk)
                left -= len(chunk.text)
            else:
                yield chunk._replace(begins=True) if holds else chunk
                holds = False

    return first(), iter(held)


def batch_chunks(chunks: Iterable[Chunk], size: int = BATCH_CHARACTERS) -> Iterator[list[Chunk]]:
    """Group chunks, also those of many short documents, into lists of `size` characters or a little more."""
    batch: list[Chunk] = []
    length = 0
    for chunk in chunks:
        batch.append(chunk)
        length += len(chunk.text)
        if length >= size or len(batch) >= BATCH_CHUNKS:
            yield batch
            batch, length = [], 0
    if batch:
        yield batch


def usable_cores() -> int:
    """Return the number of processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_threads(function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """Yield `function(item)` of each item in order, by one thread per core, taking few items in advance."""
    workers = min(usable_cores(), MAX_THREADS)
    waiting: deque[Future[Out]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="nanogpt") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def show_progress(chunks: Iterable[Chunk], task: str, total: int | None = None, quiet: bool = False) -> Iterator[Chunk]:
    """Pass chunks of `total` characters on, with a progress bar on standard error after two seconds, or just a line."""
    began, done = time.monotonic(), 0
    bar: Any = None
    with ExitStack() as stack:
        for chunk in chunks:
            yield chunk
            done += len(chunk.text)
            if bar is None and not quiet and time.monotonic() - began > PROGRESS_AFTER_SECONDS:
                if sys.stderr.isatty():
                    from rich.console import Console
                    from rich.markup import escape
                    from rich.progress import Progress

                    bar = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
                    bar.add_task(escape(task), total=total)
                else:
                    print(f"{task} …", file=sys.stderr, flush=True)
                    quiet = True
            if bar is not None:
                bar.update(bar.task_ids[0], completed=done)


class Unreadable(UserError):
    """A file without a text that can be read: an error if it was named, left out of a folder or an archive."""

    def __init__(self, message: str, kind: str) -> None:
        """Take the message for a file that was named, and what a note calls such files: `damaged file(s)`."""
        super().__init__(message)
        self.kind = kind


def decode_text(data: bytes, where: str, encoding: str = "utf-8") -> str:
    r"""Decode bytes, drop a byte-order mark, and turn line ends `\r\n` and `\r` into `\n`.

    Raises UserError, naming `where`, for binary data and for bytes that are not in `encoding`.

    >>> decode_text(b"caf\xc3\xa9\r\n", "menu.txt")
    'café\n'
    """
    return "".join(decode_blocks([data], where, encoding, {}))


def decode_blocks(blocks: Iterable[bytes], where: str, encoding: str, notes: Notes) -> Iterator[str]:
    """Decode as `decode_text` does, block by block; the first block has `BINARY_PROBE_BYTES`, or all bytes."""
    try:
        "a".encode(encoding)  # refuses codecs of Python that are not text encodings, such as base64
        decoder = codecs.getincrementaldecoder(encoding)()
    except (LookupError, ValueError):
        raise UserError(f"unknown encoding {encoding!r}; for example utf-8, utf-16, latin-1, cp1252") from None
    lines = io.IncrementalNewlineDecoder(decoder, translate=True)
    blocks = iter(blocks)
    first = next(blocks, b"")
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8") and first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{where} is in UTF-16, not UTF-8; read it with --encoding utf-16")
    if "16" not in encoding and "32" not in encoding and b"\0" in first[:BINARY_PROBE_BYTES]:
        zero = first.index(b"\0")
        message = f"{where} is a binary file (byte {zero:,} is 0), not a text; give a plain text file"
        raise Unreadable(message, "binary file(s)")
    offset = line = zeros = 0
    at_start = True
    for block in itertools.chain([first], blocks, [b""]):  # the empty one marks the end
        held = decoder.getstate()[0]  # the first bytes of a character that the last block did not complete
        try:
            text = lines.decode(block, final=not block)
        except UnicodeDecodeError as error:
            seen = held + block
            at = error.start
            line += seen.count(b"\n", 0, at) - held.count(b"\n") + 1
            raise UserError(
                f"{where} is not {encoding}: byte 0x{seen[at]:02x} at offset {offset - len(held) + at:,} "
                f"(line {line:,}) does not fit; name its encoding (nanogpt data check guesses it), for "
                f"example --encoding latin-1, or save the file as UTF-8"
            ) from None
        except UnicodeError as error:  # UTF-16 and UTF-32 need a mark at the beginning
            raise UserError(f"{where} is not {encoding}: {error}; give another --encoding, such as utf-16-le") from None
        offset += len(block)
        line += block.count(b"\n")
        zeros += text.count("\0")
        if at_start and text:
            text, at_start = text.removeprefix("\ufeff"), False
        if text:
            yield text
    if zeros:
        notes[f"{where} has {counted(zeros, 'zero character')}, and a plain text has none: check the file"] = None
    _note_line_ends(lines, notes)


def read_text(stream: Any, where: str, encoding: str, notes: Notes) -> Iterator[Chunk]:
    """Read a whole file, opened for bytes, as one document of plain text."""
    return chunks_of(decode_blocks(iter(lambda: stream.read(READ_BYTES), b""), where, encoding, notes))


def unify_line_ends(text: str, notes: Notes) -> str:
    r"""Turn the line ends `\r\n` and `\r` of a decoded text into `\n`."""
    if "\r" not in text:
        return text
    lines = io.IncrementalNewlineDecoder(None, translate=True)
    text = lines.decode(text, final=True)
    _note_line_ends(lines, notes)
    return text


def _note_line_ends(lines: io.IncrementalNewlineDecoder, notes: Notes) -> None:
    if lines.newlines is not None and "\r\n" in lines.newlines:
        notes["line ends \\r\\n are read as \\n"] = None
