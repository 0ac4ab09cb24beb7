"""A look at a text before training: its file's encoding, rare characters, repetition, overlap of its two parts.

Memory is bounded: lines, documents and windows are counted by a 64-bit hash. Whenever there are too many hashes, half
of them are dropped. Whether a hash is kept depends on its value, so equal items are kept together and estimates of
shares have no bias. If nothing was dropped, they are exact.
"""

import codecs
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from nanogpt.errors import UserError
from nanogpt.text.chunks import Chunk, batch_chunks
from nanogpt.text.scan import LAST_CODE_POINT

RARE = 10
"""A character that occurs less often is rare: too rarely to learn anything about it."""
WINDOW = 50
"""Characters in a window: enough that two equal windows are no coincidence."""
KEPT_HASHES = 1 << 18
KEPT_WINDOWS = 1 << 20
LONGEST_LINE = 10_000
EXAMPLES = 8
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's mark, with which it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
WESTERN_SHARE = 0.3
"""Share of accented letters: Western European languages have fewer, other scripts nearly all."""
OTHER_SCRIPTS = ("shift_jis", "gb18030", "euc_kr", "cp1251")
# UTF-8's bytes read as Western European: `Ã©` for é, `â€™` for a quotation mark.
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?encoding=[\"']([\w.-]{1,40})")
_MOJIBAKE = re.compile("Ã[\u0080-\u00bf]|â€")


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """How much of something occurs more than once."""

    share: float
    """share, by length, of what occurred before"""
    copies: int
    """number of items that occurred before"""
    example: str | None
    """beginning of the item whose copies have the largest total length"""
    one_in: int
    """one of this many was examined; 1: all of them"""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How much of the validation part is also in the training part, word for word."""

    share: float
    """share of the validation part's windows of 50 characters"""
    windows: int
    """windows of the validation part that were examined"""
    one_in: int
    """one window of this many was examined; 1: all of them"""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The figures of a text."""

    documents: int
    characters: int
    bytes: int
    """length in UTF-8"""
    train_characters: int
    distinct: int
    """number of distinct characters"""
    rare: int
    """number of characters that occur fewer than `RARE` times"""
    rarest: tuple[tuple[str, int], ...]
    """the rarest characters, and how often they occur"""
    replaced: int
    """replacement characters U+FFFD, which a wrong decoding leaves"""
    mojibake: int
    """letters that are probably UTF-8 read in another encoding"""
    repeated_documents: Repetition
    repeated_lines: Repetition
    sorted_lines: float
    """share of lines that do not sort before the one above them"""
    overlap: Overlap


class Repeats:
    """Counts equal items by a hash of their content."""

    def __init__(self, limit: int = KEPT_HASHES) -> None:
        self.limit, self.one_in = limit, 1
        self._kept: dict[int, tuple[int, int, str]] = {}  # hash: count, length of one, its beginning

    def add(self, digest: bytes, length: int, beginning: str) -> None:
        """Count one item."""
        key = int.from_bytes(digest[:8], "little")
        if key % self.one_in:
            return
        count = self._kept[key][0] if key in self._kept else 0
        self._kept[key] = count + 1, length, beginning[:60]
        if len(self._kept) > self.limit:
            self.one_in *= 2
            self._kept = {key: value for key, value in self._kept.items() if key % self.one_in == 0}

    def result(self) -> Repetition:
        """Return how much was repeated."""
        total = sum(count * length for count, length, _ in self._kept.values())
        again = sum((count - 1) * length for count, length, _ in self._kept.values())
        worst = max(self._kept.values(), key=lambda one: (one[0] - 1) * one[1], default=(0, 0, ""))
        return Repetition(
            share=again / max(total, 1),
            copies=sum(count - 1 for count, _, _ in self._kept.values()) * self.one_in,
            example=worst[2] if worst[0] > 1 else None,
            one_in=self.one_in,
        )


class SharedWindows:
    """Counts the windows of 50 characters that the training and the validation part share."""

    def __init__(self, limit: int = KEPT_WINDOWS) -> None:
        self.limit, self.one_in = limit, 1
        self._tail = ["", ""]  # the beginning of the next window of each part
        self._kept: list[list[NDArray[np.uint64]]] = [[], []]

    def add(self, text: str, part: int) -> None:
        """Add text to part 0, training, or 1, validation."""
        text = self._tail[part] + text
        self._tail[part] = text[max(0, len(text) - WINDOW + 1) :]
        self._kept[part].append(self._chosen(window_hashes(text)))
        if self._count() > self.limit:
            self._kept[0] = [_distinct(self._kept[0])]
        while self._count() > self.limit:
            self.one_in *= 2
            self._kept = [[self._chosen(hashes) for hashes in kept] for kept in self._kept]

    def result(self) -> Overlap:
        """Return how much of the validation part is also in the training part."""
        val = _joined(self._kept[1])
        found = int(np.isin(val, _joined(self._kept[0])).sum())
        return Overlap(share=found / max(len(val), 1), windows=len(val), one_in=self.one_in)

    def _count(self) -> int:
        return sum(len(hashes) for kept in self._kept for hashes in kept)

    def _chosen(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return hashes[hashes % np.uint64(self.one_in) == 0]


def _joined(some: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.concatenate([*some, np.empty(0, dtype=np.uint64)])


def _distinct(some: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return distinct numbers in order, by sorting: numpy's `unique` is slow for so many distinct ones."""
    ordered = np.sort(_joined(some))
    return ordered[np.diff(ordered, prepend=ordered[:1] + np.uint64(1)) != 0]


def window_hashes(text: str) -> NDArray[np.uint64]:
    """Return a hash of each window of 50 characters, shape (characters - 49,), equal for equal windows.

    A polynomial of the code points modulo 2^64 (Karp and Rabin 1987), for all windows at once from running sums.
    """
    if len(text) < WINDOW:
        return np.empty(0, dtype=np.uint64)
    base = 0x9E3779B97F4A7C15  # odd: it has an inverse
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    powers, inverses = (
        np.cumprod(np.r_[np.uint64(1), np.full(len(points) - 1, one, dtype=np.uint64)])
        for one in (base, pow(base, -1, 1 << 64))
    )
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum((points + np.uint64(1)) * powers, dtype=np.uint64)])
    hashes = (sums[WINDOW:] - sums[:-WINDOW]) * inverses[: len(points) - WINDOW + 1]
    hashes ^= hashes >> np.uint64(29)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    return hashes ^ (hashes >> np.uint64(32))


class Lines:
    """Splits documents that come in chunks into lines; cuts a line that is too long."""

    def __init__(self) -> None:
        self._open = ""

    def add(self, text: str, begins: bool) -> Iterator[str]:
        """Yield the lines that end in this chunk, without blank ones."""
        if begins:
            yield from self.flush()
        *lines, self._open = (self._open + text).split("\n")
        if len(self._open) > LONGEST_LINE:
            lines.append(self._open)
            self._open = ""
        yield from (line for line in lines if line.strip())

    def flush(self) -> Iterator[str]:
        """Yield the last line, if it has no line end."""
        if self._open.strip():
            yield self._open
        self._open = ""


def inspect_chunks(train: Iterable[Chunk], val: Iterable[Chunk] = ()) -> Inspection:
    """Read the training part of a text, then its validation part."""
    counts = np.zeros(LAST_CODE_POINT + 1, dtype=np.int64)
    lines, repeated, repeated_documents, shared = Lines(), Repeats(), Repeats(), SharedWindows()
    size = mojibake = documents = seen = rising = 0
    characters, previous = [0, 0], ""  # of each part; the line above
    document, length, beginning = _hasher(), 0, ""  # of the document being read

    def count(some: Iterable[str]) -> None:
        nonlocal seen, rising, previous
        for line in some:
            seen, rising, previous = seen + 1, rising + (previous <= line), line
            repeated.add(_hasher(line.encode("utf-8", "surrogatepass")).digest(), len(line), line)

    batches = ((part, batch) for part, chunks in enumerate((train, val)) for batch in batch_chunks(chunks))
    for part, batch in batches:  # of several short documents, because numpy is slow on short arrays
        text = "".join(chunk.text for chunk in batch)
        points = np.bincount(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4"))
        counts[: len(points)] += points
        size += len(text.encode("utf-8", "surrogatepass"))
        mojibake += sum(1 for _ in _MOJIBAKE.finditer(text))
        shared.add(text, part)
        characters[part] += len(text)
        for chunk in batch:
            if chunk.begins:
                if length:
                    repeated_documents.add(document.digest(), length, beginning)
                documents += 1
                document, length, beginning = _hasher(), 0, ""
            document.update(chunk.text.encode("utf-8", "surrogatepass"))
            beginning = (beginning + chunk.text[:60])[:60]
            length += len(chunk.text)
            count(lines.add(chunk.text, chunk.begins))
    if length:
        repeated_documents.add(document.digest(), length, beginning)
    count(lines.flush())
    rare = np.flatnonzero((counts > 0) & (counts < RARE))
    rarest = rare[np.argsort(counts[rare], kind="stable")][:EXAMPLES]
    return Inspection(
        documents=documents,
        characters=sum(characters),
        bytes=size,
        train_characters=characters[0],
        distinct=int(np.count_nonzero(counts)),
        rare=len(rare),
        rarest=tuple((chr(point), int(counts[point])) for point in rarest),
        replaced=int(counts[0xFFFD]),
        mojibake=mojibake,
        repeated_documents=repeated_documents.result(),
        repeated_lines=repeated.result(),
        sorted_lines=rising / max(seen, 1),
        overlap=shared.result(),
    )


def _hasher(data: bytes = b"") -> "hashlib.blake2b":
    return hashlib.blake2b(data, digest_size=8)


@dataclass(frozen=True, kw_only=True)
class FileEncoding:
    """What the bytes of a file reveal before they are decoded."""

    fits: bool
    """whether they are valid in the requested encoding"""
    probably: tuple[str, ...]
    """encodings they may be in, the most likely first; the requested one if it fits"""
    certain: bool
    """whether they fit, or a byte-order mark names the encoding"""
    crlf: int
    """lines by their end"""
    lf: int
    cr: int


def detect_encoding(blocks: Iterable[bytes], encoding: str = "utf-8") -> FileEncoding:
    """Read a whole text, given in blocks of bytes. Raises UserError for an unknown encoding."""
    fits, crlf, lf, cr = True, 0, 0, 0
    suspect = head = last = b""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError:
        raise UserError(f"unknown encoding {encoding!r}; for example utf-8, utf-16, latin-1, cp1252") from None
    for block in chain(blocks, [b""]):
        head = head or block
        crlf += block.count(b"\r\n") + (last == b"\r" and block[:1] == b"\n")
        lf, cr = lf + block.count(b"\n"), cr + block.count(b"\r")
        last = block[-1:]
        try:
            decoder.decode(block, final=not block)
        except UnicodeError:  # also UTF-16 or UTF-32 without a mark
            fits, suspect = False, suspect or block or head
            decoder.reset()
    marked = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
    if marked not in (None, "utf-8"):
        fits = fits and encoding.lower().replace("_", "-").startswith(marked)
    if not fits and marked is None and (declared := _DECLARED.match(head)) is not None:
        marked = declared[1].decode()
    guesses = (encoding,) if fits else (marked,) if marked else guess_encodings(suspect)
    certain = fits or marked is not None
    return FileEncoding(fits=fits, probably=guesses, certain=certain, crlf=crlf, lf=lf - crlf, cr=cr - crlf)


def guess_encodings(data: bytes) -> tuple[str, ...]:
    """Return encodings that bytes without a mark may be in, the most likely first; none for what is not text.

    >>> guess_encodings("déjà vu, façade".encode("cp1252"))
    ('cp1252', 'latin-1')
    >>> guess_encodings("plain".encode("utf-16-le"))
    ('utf-16-le',)
    """
    if not data:
        return ()
    even, odd = data[::2].count(0), data[1::2].count(0)
    if max(even, odd) > len(data) / 8 and min(even, odd) < max(even, odd) / 8:
        return ("utf-16-be",) if even > odd else ("utf-16-le",)
    if even + odd:
        return ()
    if _decodes(data, "utf-8"):
        return ("utf-8",)
    high = sum(byte >= 0x80 for byte in data)
    letters = high + sum(0x41 <= byte <= 0x7A for byte in data)
    others = OTHER_SCRIPTS if high >= WESTERN_SHARE * letters else ()
    return tuple(name for name in (*others, "cp1252", "latin-1") if _decodes(data, name))


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(data)  # a character cut off at the end is no error
    except UnicodeDecodeError:
        return False
    return True
