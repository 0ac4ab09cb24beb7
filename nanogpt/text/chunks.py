"""A text as a stream of chunks of bounded size: cut where no token can span, divided, processed by all cores.

Only a few chunks are in memory at a time. Where a chunk ends depends on the text alone, not on how it was read, so the
same text always gives the same tokens.
"""

import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple, TypeVar

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


def chunks_of(texts: Iterable[str]) -> Iterator[Chunk]:
    """Yield the chunks of one document, given in parts of any size; nothing if it is empty."""
    begins = True
    for text in texts:
        for start in range(0, len(text), CHUNK_CHARACTERS):
            yield Chunk(text[start : start + CHUNK_CHARACTERS], begins)
            begins = False


def cut_chunks(chunks: Iterable[Chunk], size: int = CHUNK_CHARACTERS) -> Iterator[Chunk]:
    """Yield the same text in chunks of at most `size` characters that end where a word does.

    A cut is made just before a space or newline that follows something else. A tokenizer that splits text as GPT-2's
    does (Radford et al. 2019: only the beginning of a word takes a space) has no token across such a cut, so the chunks
    have the same tokens as the whole. Without such a position in `size` characters, the cut is made after them.

    >>> [chunk.text for chunk in cut_chunks(chunks_of(["to be or not", " to be"]), size=8)]
    ['to be or', ' not to', ' be']
    """
    parts: list[str] = []  # of the chunk being filled, `length` characters in all
    length, begins = 0, True
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
    """Return a text's first `characters` and the rest, two streams to be read one after the other.

    The document that contains the cut becomes two.
    """
    stream = iter(chunks)
    left = characters
    rest: list[Chunk] = []

    def first() -> Iterator[Chunk]:
        nonlocal left
        while left and (chunk := next(stream, None)) is not None:
            if len(chunk.text) > left:
                rest.append(Chunk(chunk.text[left:], True))
                chunk = Chunk(chunk.text[:left], chunk.begins)
            left -= len(chunk.text)
            yield chunk

    def second() -> Iterator[Chunk]:
        yield from rest
        yield from stream

    return first(), second()


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


def map_in_threads(function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """Yield `function(item)` of each item in order, computed by one thread per core.

    Takes only as many items in advance as keep the threads busy. Threads suffice, because the work on text done here
    releases the interpreter lock; processes could not be started from a script without a main guard.
    """
    workers = min(_cores(), MAX_THREADS)
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


def _cores() -> int:
    """Return the number of cores that this process may use, where the system reports it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def show_progress(chunks: Iterable[Chunk], task: str, total: int | None = None, quiet: bool = False) -> Iterator[Chunk]:
    """Pass chunks on; if that takes more than two seconds, show a progress bar in a terminal, else print one line.

    `total` is the number of characters to come, if known. The output goes to standard error.
    """
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
