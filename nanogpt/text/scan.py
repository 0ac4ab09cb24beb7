"""What a text consists of: its documents, its alphabet and figures, and what of it is held out.

A file is one document unless it consists of many. A list of names or titles, a line each, and two conventional
separators are recognized; everything else the user names by `--documents`.
"""

import hashlib
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nanogpt.text.chunks import Chunk, Notes, batch_chunks, chunks_of, map_in_threads

VALIDATION_SHARE = 0.1
VALIDATION_BYTES = 10_000_000
LAST_CODE_POINT = 0x10FFFF
TINY_CHARACTERS = 1_000
"""A shorter text has no validation part: a tenth of it could not tell a better model from a worse one."""
FEW_DOCUMENTS = 20
"""With fewer documents than this, the validation part is the end of the text."""
FEW_TOKENS = 20_000
"""A training part below this is soon memorized: with 18,000 characters, a minute was too long by two thirds."""

HEAD_CHARACTERS = 1 << 16
"""Beginning of a text that decides whether it consists of documents."""
HELD_CHARACTERS = 1024
"""Characters that are held back, as a separator may begin in them."""
KINDS = {"lines": r"\n", "blank-lines": r"\n[ \t]*\n"}
END, FORTUNE = "<|endoftext|>", "%"
"""Separators that are recognized: GPT-2's (Radford et al. 2019), and that of fortune files, a line of its own."""
AT_LINE_END = re.compile(rf"^{re.escape(END)}|{re.escape(END)}$", re.MULTILINE)
FEW_PIECES, FEW_LINES = 3, 30
LONGEST_LINE = 60
MOST_WORDS = 5
"""Most words of a line in a list, on average"""
ENDS_SENTENCE = re.compile(r"[.,;:!?…。，、！？；：)}\]>\"'”’|\\-]\s*$")
INSIDE_SENTENCE = re.compile(r"^[\s#<>{}\[\]*+-]|\d:\d|: |\t|[={}<>|]")


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What one reading of a text finds."""

    digest: str
    """SHA-256 of the text and of where its documents begin"""
    documents: int
    divided: bool
    """whether documents are rows, lines or pieces of files"""
    characters: int
    bytes: int
    """length in UTF-8"""
    alphabet: str
    """every character that occurs, in the order of code points"""
    train_characters: int
    """length without the last tenth of the characters, at most 10 MB of UTF-8"""

    @property
    def is_list(self) -> bool:
        """Whether it is a list of documents, whose order means nothing."""
        return self.divided and self.documents >= FEW_DOCUMENTS

    @property
    def holds_out(self) -> Literal["nothing", "documents", "end"]:
        """What the validation part is: a tenth of the documents of a list, the end of another text."""
        if self.characters < TINY_CHARACTERS:
            return "nothing"
        return "documents" if self.is_list else "end"

    @property
    def validation(self) -> str:
        """What the validation part is, in words."""
        return {
            "nothing": f"none, as the text is shorter than {TINY_CHARACTERS:,} characters",
            "documents": f"one of every {self.document_share:,} documents",
            "end": f"the last {self.characters - self.train_characters:,} characters",
        }[self.holds_out]

    @property
    def document_share(self) -> int:
        """N, where one document of N is held out: 10, or more in a text so long that a tenth exceeds 10 MB."""
        return max(round(1 / VALIDATION_SHARE), -(-self.bytes // VALIDATION_BYTES))


def scan_chunks(chunks: Iterable[Chunk]) -> Scan:
    """Read a text once.

    >>> found = scan_chunks([Chunk("hello", True), Chunk(" wörld", False)])
    >>> found.documents, found.characters, found.bytes, found.alphabet, found.train_characters
    (1, 11, 12, ' dehlorwö', 9)
    """
    content, beginnings = hashlib.sha256(), hashlib.sha256()
    documents = characters = size = 0
    divided = False
    seen = np.zeros(LAST_CODE_POINT + 1, dtype=np.bool_)
    tail: deque[bytes] = deque()  # the last 10 MB, which contain the cut
    tail_bytes = 0

    def encode(batch: list[Chunk]) -> list[tuple[Chunk, bytes]]:
        return [(chunk, _utf8(chunk.text, seen)) for chunk in batch]

    for batch in map_in_threads(encode, batch_chunks(chunks)):
        starts = []
        for chunk, data in batch:
            divided = divided or chunk.divided
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
        divided=divided,
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


def divide(chunks: Iterable[Chunk], how: str) -> Iterator[Chunk]:
    r"""Yield each document's pieces as documents of their own, without line ends around them and without empty ones.

    Args:
        chunks: Documents, in parts of any size.
        how: `lines`, `blank-lines`, `files` (as they are), or a separator, in which `\n` and `\t` stand for a line end
            and a tab.

    >>> [chunk.text for chunk in divide([Chunk("one\n%\ntwo", True)], "%")]
    ['one', 'two']
    """
    if how == "files":
        yield from (chunk._replace(divided=True) for chunk in chunks)
        return
    pattern = re.compile(KINDS.get(how) or re.escape(how.replace("\\n", "\n").replace("\\t", "\t")))
    held, begins = "", True

    def piece(text: str) -> Iterator[Chunk]:
        nonlocal begins
        text = text.lstrip("\n") if begins else text
        for chunk in chunks_of([text]):
            yield Chunk(chunk.text, begins, divided=True)
            begins = False

    for chunk in chain(chunks, [Chunk("", True)]):
        if chunk.begins:
            yield from piece(held.rstrip("\n"))
            held, begins = "", True
        *whole, held = pattern.split(held + chunk.text)
        for text in whole:
            yield from piece(text.rstrip("\n"))
            begins = True
        yield from piece(held[:-HELD_CHARACTERS])
        held = held[-HELD_CHARACTERS:]


def divide_if_clear(chunks: Iterable[Chunk], where: str, notes: Notes) -> Iterator[Chunk]:
    """Divide a file that clearly consists of documents, and say so in a note; pass others on."""
    chunks, head, read = iter(chunks), list[Chunk](), 0
    while read < HEAD_CHARACTERS and (chunk := next(chunks, None)) is not None:
        head.append(chunk)
        read += len(chunk.text)
    found = recognize("".join(chunk.text for chunk in head)[:HEAD_CHARACTERS], ended=read < HEAD_CHARACTERS)
    if found is None:
        yield from chain(head, chunks)
        return
    name, meaning = f"{found!r} divides", "into documents"
    if found == "lines":
        name, meaning = "each line of", "is read as a document"
    notes[f"{name} {where} {meaning}; --documents files reads it as one"] = None
    yield from divide(chain(head, chunks), r"\n%\n" if found == FORTUNE else found)


def recognize(head: str, ended: bool = True) -> str | None:
    r"""Return what separates the documents of a text that begins with `head`: `lines`, a separator, or None.

    Lines are documents where there are many short ones, nearly all different, none blank, and they neither end like
    sentences nor continue or structure anything: names, words, titles.

    >>> recognize("first\n%\nsecond\n%\nthird\n%\nfourth\n"), recognize("To be, or not to be\nthat is the question:\n")
    ('%', None)
    """
    lines = head.split("\n")
    if FEW_PIECES <= head.count(END) == len(AT_LINE_END.findall(head)):  # not mentioned in sentences
        return END
    if lines.count(FORTUNE) >= FEW_PIECES:
        return FORTUNE
    lines = lines[:-1] if not ended or not lines[-1] else lines
    count = len(lines)
    if count < FEW_LINES or sum(len(line.split()) for line in lines) > MOST_WORDS * count:
        return None
    unlike = sum(
        not line.strip() or len(line) > LONGEST_LINE or bool(ENDS_SENTENCE.search(line) or INSIDE_SENTENCE.search(line))
        for line in lines
    )
    if unlike > count / 20 or len(set(lines)) < 0.8 * count or not any(map(str.isalpha, head)):
        return None
    return "lines"
