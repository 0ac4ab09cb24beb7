"""A text as a stream of pieces of bounded size: cut where no token can span, divided, worked on by all cores.

Nothing here holds more than a few pieces at a time. Where a piece ends is a function of the text alone, not of how
it was read, so that the same text always gives the same tokens.
"""

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

PIECE_CHARACTERS = 1 << 16
"""Longest piece: short enough that it stays in a core's cache while it is worked on."""
BATCH_CHARACTERS = 1 << 18
BATCH_PIECES = 4096
"""Handed to a thread at once: enough that handing it over costs nothing beside the work."""
MOST_WORKERS = 16

In = TypeVar("In")
Out = TypeVar("Out")

_WORD_END = re.compile(r"\S(?=[ \n])")


class Piece(NamedTuple):
    """Some of a document's text."""

    text: str
    begins: bool
    """whether a document begins with it"""


def pieces_of(texts: Iterable[str]) -> Iterator[Piece]:
    """One document, from its text in parts of any size; nothing where there is no text."""
    begins = True
    for text in texts:
        for start in range(0, len(text), PIECE_CHARACTERS):
            yield Piece(text[start : start + PIECE_CHARACTERS], begins)
            begins = False


def cut_pieces(pieces: Iterable[Piece], size: int = PIECE_CHARACTERS) -> Iterator[Piece]:
    """The same text in pieces of at most `size` characters that end where a word does.

    A cut is just before a space or line end that follows something else. No token of a tokenizer that splits text as
    GPT-2's does reaches over such a place (Radford et al. 2019; its pattern takes spaces at the beginning of a word
    only), so that pieces have the tokens of the whole. Where there is no such place in `size` characters the cut is
    after them.

    >>> [piece.text for piece in cut_pieces(pieces_of(["to be or not", " to be"]), size=8)]
    ['to be or', ' not to', ' be']
    """
    parts: list[str] = []  # of the piece that is being filled, `length` characters in all
    length, begins = 0, True
    for piece in pieces:
        if piece.begins and parts:
            yield Piece("".join(parts), begins)
            parts, length = [], 0
        if piece.begins:
            begins = True
        parts.append(piece.text)
        length += len(piece.text)
        if length > size:
            text, start = "".join(parts), 0
            while length - start > size:
                end = _last_cut(text, start, start + size)
                yield Piece(text[start:end], begins)
                start, begins = end, False
            parts, length = [text[start:]], length - start
    if parts:
        yield Piece("".join(parts), begins)


def _last_cut(text: str, start: int, end: int) -> int:
    """The last place of `start` < place <= `end` where a word ends; `end` where there is none."""
    for back in (256, 8192, end - start):  # nearly always near the end: do not look through all of it
        places = [found.end() for found in _WORD_END.finditer(text, max(start, end - back), end + 1)]
        if places:
            return places[-1]
    return end


def divide_pieces(pieces: Iterable[Piece], characters: int) -> tuple[Iterator[Piece], Iterator[Piece]]:
    """A text's first `characters` and the rest, to be read one after the other.

    The document in which the cut falls is divided.
    """
    stream = iter(pieces)
    left = characters
    kept: list[Piece] = []  # what was read of the rest

    def first() -> Iterator[Piece]:
        nonlocal left
        while left and (piece := next(stream, None)) is not None:
            if len(piece.text) > left:
                kept.append(Piece(piece.text[left:], True))
                piece = Piece(piece.text[:left], piece.begins)
            left -= len(piece.text)
            yield piece

    def rest() -> Iterator[Piece]:
        yield from kept
        yield from stream

    return first(), rest()


def batch_pieces(pieces: Iterable[Piece], size: int = BATCH_CHARACTERS) -> Iterator[list[Piece]]:
    """Pieces taken together, also of many short documents: lists of `size` characters or a little more."""
    batch: list[Piece] = []
    length = 0
    for piece in pieces:
        batch.append(piece)
        length += len(piece.text)
        if length >= size or len(batch) >= BATCH_PIECES:
            yield batch
            batch, length = [], 0
    if batch:
        yield batch


def in_order(function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """`function` of each item, in their order, worked out by a thread a core.

    Only so many items are taken beforehand as keep the threads busy. Threads and not processes, which cannot be
    started from a script without a main guard: what is done to a text here lets go of the interpreter's lock.
    """
    workers = min(_cores(), MOST_WORKERS)
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
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
