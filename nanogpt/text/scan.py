"""The first reading of a text: its hash, its figures, its alphabet, and where its validation part begins."""

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nanogpt.text.chunks import Chunk, batch_chunks, map_in_threads

VALIDATION_SHARE = 0.1
VALIDATION_BYTES = 10_000_000
LAST_CODE_POINT = 0x10FFFF
FEW_TOKENS = 20_000
"""A training part below this is soon memorized: with 18,000 characters, a minute was too long by two thirds."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What one reading of a text finds."""

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


def scan_chunks(chunks: Iterable[Chunk]) -> Scan:
    """Read a text once.

    >>> found = scan_chunks([Chunk("hello", True), Chunk(" wörld", False)])
    >>> found.documents, found.characters, found.bytes, found.alphabet, found.train_characters
    (1, 11, 12, ' dehlorwö', 9)
    """
    content, beginnings = hashlib.sha256(), hashlib.sha256()
    documents = characters = size = 0
    seen = np.zeros(LAST_CODE_POINT + 1, dtype=np.bool_)
    tail: deque[bytes] = deque()  # the last 10 MB, which contain the cut
    tail_bytes = 0

    def encode(batch: list[Chunk]) -> list[tuple[Chunk, bytes]]:
        return [(chunk, _utf8(chunk.text, seen)) for chunk in batch]

    for batch in map_in_threads(encode, batch_chunks(chunks)):
        starts = []
        for chunk, data in batch:
            if chunk.begins:
                starts.append(characters)
            characters += len(chunk.text)
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
        train_characters=_train_characters(characters, b"".join(tail)),
    )


def _utf8(text: str, seen: NDArray[np.bool_]) -> bytes:
    """Encode a text, and mark its characters as seen."""
    data = text.encode("utf-8", "surrogatepass")
    known = np.flatnonzero(seen[:128]).astype(np.uint8).tobytes()
    if rest := data.translate(None, known):  # without ASCII seen before: several times faster than to look it up
        rest = rest.decode("utf-8", "surrogatepass").encode("utf-32-le", "surrogatepass")
        points = np.frombuffer(rest, dtype=np.uint32)
        seen[points[~seen.take(points)]] = True
    return data


def _train_characters(characters: int, tail: bytes) -> int:
    """Return the length of the training part; `tail` is the text's end, at least `VALIDATION_BYTES`, or all of it."""
    last = np.frombuffer(tail[max(0, len(tail) - VALIDATION_BYTES) :], dtype=np.uint8)
    whole = int(np.count_nonzero((last & 0xC0) != 0x80))  # first bytes, so that no character is cut through
    return max(int(characters * (1 - VALIDATION_SHARE)), characters - whole)
