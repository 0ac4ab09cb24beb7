"""The first of two readings of a text: its fingerprint, its figures and its alphabet, in bounded memory.

Cost: one pass over the text at several hundred MB/s; about 15 MB of memory beside the pieces.
"""

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nanogpt.text.pieces import Piece, batch_pieces, in_order

VALIDATION_SHARE = 0.1
VALIDATION_BYTES = 10_000_000
LAST_CODE_POINT = 0x10FFFF


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What one reading of a text tells."""

    digest: str
    """SHA-256 of the text and of where its documents begin"""
    documents: int
    characters: int
    bytes: int
    """length in UTF-8"""
    alphabet: str
    """every character that occurs, in the order of code points"""
    train_characters: int
    """where the validation part begins: the last tenth of the characters, at most 10 MB of UTF-8"""

    @property
    def val_characters(self) -> int:
        """Length of the validation part."""
        return self.characters - self.train_characters


def scan_pieces(pieces: Iterable[Piece]) -> Scan:
    """Read a text once.

    >>> found = scan_pieces([Piece("hello", True), Piece(" wörld", False)])
    >>> found.documents, found.characters, found.bytes, found.alphabet, found.train_characters
    (1, 11, 12, ' dehlorwö', 9)
    """
    content, beginnings = hashlib.sha256(), hashlib.sha256()
    documents = characters = size = 0
    seen = np.zeros(LAST_CODE_POINT + 1, dtype=np.bool_)
    tail: deque[bytes] = deque()  # the last 10 MB, in which the cut falls
    tail_bytes = 0

    def read(batch: list[Piece]) -> list[tuple[Piece, bytes]]:
        return [(piece, _bytes_of(piece.text, seen)) for piece in batch]

    for batch in in_order(read, batch_pieces(pieces)):
        starts = []
        for piece, data in batch:
            if piece.begins:
                starts.append(characters)
            characters += len(piece.text)
            size += len(data)
            content.update(data)
            tail.append(data)
        documents += len(starts)
        beginnings.update(np.array(starts, dtype="<u8").tobytes())
        tail_bytes += sum(len(data) for _, data in batch)
        while tail_bytes - len(tail[0]) >= VALIDATION_BYTES:
            tail_bytes -= len(tail.popleft())
    points = np.flatnonzero(seen).astype("<u4")
    return Scan(
        digest=hashlib.sha256(content.digest() + beginnings.digest()).hexdigest(),
        documents=documents,
        characters=characters,
        bytes=size,
        alphabet=points.tobytes().decode("utf-32-le", "surrogatepass"),
        train_characters=_cut(characters, b"".join(tail)),
    )


def _bytes_of(text: str, seen: NDArray[np.bool_]) -> bytes:
    """The text in UTF-8; marks its characters as seen.

    Known letters of ASCII, nearly all of most texts, are taken away first: that is several times faster than a
    look-up of each, and leaves the other characters' bytes whole.
    """
    data = text.encode("utf-8", "surrogatepass")
    known = np.flatnonzero(seen[:128]).astype(np.uint8).tobytes()
    if rest := data.translate(None, known):
        rest = rest.decode("utf-8", "surrogatepass").encode("utf-32-le", "surrogatepass")
        points = np.frombuffer(rest, dtype=np.uint32)
        seen[points[~seen.take(points)]] = True
    return data


def _cut(characters: int, tail: bytes) -> int:
    """Characters of the training part; `tail` is the text's end, `VALIDATION_BYTES` long or more, or all of it."""
    last = np.frombuffer(tail[max(0, len(tail) - VALIDATION_BYTES) :], dtype=np.uint8)
    whole = int(np.count_nonzero((last & 0xC0) != 0x80))  # first bytes: none is cut through
    return max(int(characters * (1 - VALIDATION_SHARE)), characters - whole)
