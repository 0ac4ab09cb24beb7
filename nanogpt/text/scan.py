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

from nanogpt.text.chunks import CHUNK_CHARACTERS, Chunk, Notes, batch_chunks, by_document, map_in_threads

VALIDATION_SHARE = 0.1
VALIDATION_BYTES = 10_000_000
LAST_CODE_POINT = 0x10FFFF
TINY_CHARACTERS = 1_000
"""A shorter text has no validation part: a tenth of it could not tell a better model from a worse one."""
FEW_DOCUMENTS = 20
"""With fewer documents than this, the validation part is the end of the text."""
FEW_TOKENS = 20_000
"""A training part below this is soon memorized: with 18,000 characters, a minute was too long by two thirds."""

HEAD_CHARACTERS, HEAD_OF_LIST = 1 << 20, 1 << 16
"""Beginning of a text that decides whether it consists of documents: of pieces between separators, of lines."""
HELD_CHARACTERS = 1024
"""Characters that are held back, as a separator may begin in them."""
KINDS = {"lines": r"\n", "blank-lines": r"\n[ \t]*\n", "%": r"\n%\n"}
END, FORTUNE = "<|endoftext|>", "%"
"""Separators that are recognized: GPT-2's (Radford et al. 2019), and a line with `%` alone, as in fortune files."""
MENTION = re.compile(rf"""['"`]{re.escape(END)}['"`]| {re.escape(END)}[ .,]""")
FEW_PIECES, FEW_LINES = 3, 30
LONGEST_LINE = 60
MOST_WORDS = 5
"""Most words of a line in a list, on average"""
UNSPACED = re.compile("[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]{1,4}")
"""A word, roughly, of a script that writes none apart: Thai, Lao, Tibetan, Burmese, Khmer, Chinese, Japanese."""
ENDS_SENTENCE = re.compile(r"[.,;:!?…。，、！？；：।॥؟،؛۔።։།။)}\]>\"'”’|\\-]\s*$")
MARKUP = ("<", "{", '.\\"', ".TH ", "\\documentclass", "msgid ", "#: ")
"""Beginnings of web pages, XML, JSON, manual pages, TeX and translations."""
INSIDE_SENTENCE = re.compile(r"^[\s#<>{}\[\]*+-]|\d:\d|: |\t|[={}<>|]")


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What one reading of a text finds."""

    digest: str
    """SHA-256 of the text and of where its documents begin"""
    documents: int
    divided: bool
    """whether most of it are documents that are rows, lines or pieces of files"""
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
    def held_out(self) -> Literal["nothing", "documents", "end"]:
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
        }[self.held_out]

    @property
    def document_share(self) -> int:
        """N, where one document of N is held out: 10, or more in a text so long that a tenth exceeds 10 MB."""
        return max(round(1 / VALIDATION_SHARE), min(-(-self.bytes // VALIDATION_BYTES), self.documents // 2))


def scan_chunks(chunks: Iterable[Chunk]) -> Scan:
    """Read a text once.

    >>> found = scan_chunks([Chunk("hello", True), Chunk(" wörld", False)])
    >>> found.documents, found.characters, found.bytes, found.alphabet, found.train_characters
    (1, 11, 12, ' dehlorwö', 9)
    """
    content, beginnings = hashlib.sha256(), hashlib.sha256()
    documents = characters = size = in_pieces = 0
    seen = np.zeros(LAST_CODE_POINT + 1, dtype=np.bool_)
    tail: deque[bytes] = deque()  # the last 10 MB, which contain the cut
    tail_bytes = 0

    def encode(batch: list[Chunk]) -> tuple[list[Chunk], bytes]:
        return batch, _utf8("".join(chunk.text for chunk in batch), seen)

    for batch, data in map_in_threads(encode, batch_chunks(chunks)):
        starts = []
        for chunk in batch:
            in_pieces += len(chunk.text) * chunk.divided
            if chunk.begins:
                starts.append(characters)
            characters += len(chunk.text)
        documents += len(starts)
        content.update(data)
        beginnings.update(np.array(starts, dtype="<u8").tobytes())
        size += len(data)
        tail.append(data)
        tail_bytes += len(data)
        while tail_bytes - len(tail[0]) >= VALIDATION_BYTES:
            tail_bytes -= len(tail.popleft())
    points = np.flatnonzero(seen).astype("<u4")
    return Scan(
        digest=hashlib.sha256(content.digest() + beginnings.digest()).hexdigest(),
        documents=documents,
        divided=in_pieces > characters / 2,
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


def divide(chunks: Iterable[Chunk], how: str, where: str = "", notes: Notes | None = None) -> Iterator[Chunk]:
    r"""Yield each piece of a document as a document, without line ends around it; skip empty pieces.

    Args:
        chunks: Documents, in parts of any size.
        how: `lines`, `blank-lines`, `files` (as they are), or a separator, in which `\n` and `\t` stand for a line end
            and a tab.
        where: Name of the text, for a note if it has no such separator.
        notes: Where the note is added.

    >>> [chunk.text for chunk in divide([Chunk("one\n%\ntwo", True)], "%")]
    ['one', 'two']
    """
    if how == "files":
        yield from (chunk._replace(divided=True) for chunk in chunks)
        return
    pattern = re.compile(KINDS.get(how) or re.escape(how.replace("\\n", "\n").replace("\\t", "\t")))
    held, begins, found = "", True, False

    def piece(text: str, ends: bool = True) -> Iterator[Chunk]:
        """Yield a piece, or the next part of one."""
        nonlocal begins
        text = text.lstrip("\n") if begins else text
        text = text.rstrip("\n") if ends else text
        if not begins or not text.isspace():
            for start in range(0, len(text), CHUNK_CHARACTERS):
                yield Chunk(text[start : start + CHUNK_CHARACTERS], begins, divided=True)
                begins = False
        begins = begins or ends

    for chunk in chain(chunks, [Chunk("", True)]):
        if chunk.begins:
            yield from piece(held)
            held = ""
        *whole, held = pattern.split(held + chunk.text)
        found = found or bool(whole)
        for text in whole:
            yield from piece(text)
        yield from piece(held[:-HELD_CHARACTERS], ends=False)
        held = held[-HELD_CHARACTERS:]
    if notes is not None and not found:
        notes[f"found no {how!r} in {where}; --documents also takes lines, blank-lines and files"] = None


def divide_if_clear(chunks: Iterable[Chunk], where: str, notes: Notes, lists: bool = True) -> Iterator[Chunk]:
    """Divide each file that clearly consists of documents, and say so in a note; with `lists` also by lines."""
    for document in by_document(chunks):
        head, read = [next(document)], 0
        while read < HEAD_CHARACTERS and (chunk := next(document, None)) is not None:
            head.append(chunk)
            read += len(chunk.text)
        text = "".join(chunk.text for chunk in head)
        found = None if head[0].divided else recognize(text, ended=read < HEAD_CHARACTERS)
        if found is None and lists and text.lstrip().startswith(MARKUP):
            notes[f"{where} begins with {text.split(maxsplit=1)[0][:20]!r}: markup is learned like text"] = None
        if found is None or (found == "lines" and not lists):
            yield from chain(head, document)
        else:
            what = "each line" if found == "lines" else f"what stands between {found!r}"
            notes[f"{what} of {where} is read as a document; --documents files reads it as one"] = None
            yield from divide(chain(head, document), found)


def recognize(head: str, ended: bool = True) -> str | None:
    r"""Return what separates the documents of a text that begins with `head`: `lines`, a separator, or None.

    Lines are documents where there are many short ones, nearly all different, none blank, and they neither end like
    sentences nor continue or structure anything: names, words, titles.

    >>> recognize("first\n%\nsecond\n%\nthird\n%\nfourth\n"), recognize("To be, or not to be\nthat is the question:\n")
    ('%', None)
    """
    if head.count(END) >= FEW_PIECES and not MENTION.search(head):
        return END
    lines = head.split("\n")
    if lines.count(FORTUNE) >= FEW_PIECES and not any(line.startswith(FORTUNE) and line != FORTUNE for line in lines):
        return FORTUNE  # and no comments of TeX
    whole = ended and len(head) <= HEAD_OF_LIST
    lines = head.rstrip("\n").split("\n") if whole else head[:HEAD_OF_LIST].split("\n")[:-1]
    count, longest = len(lines), max(map(len, lines), default=0)
    if longest > LONGEST_LINE / 2 and sum(len(line) == longest for line in lines) > count / 2:
        return None  # wrapped, as a genome is
    words = sum(len(line.split()) + len(UNSPACED.findall(line)) for line in lines)
    if count < FEW_LINES or words > MOST_WORDS * count:
        return None
    unlike = sum(
        not line.strip() or len(line) > LONGEST_LINE or bool(ENDS_SENTENCE.search(line) or INSIDE_SENTENCE.search(line))
        for line in lines
    )
    if unlike > count / 20 or len(set(lines)) < 0.8 * count or not any(map(str.isalpha, head[:HEAD_OF_LIST])):
        return None
    return "lines"
