"""Clean a text: remove a publisher's licence, headers, page numbers, tags and copies of documents.

Each removal is counted and reported. The result depends on the text alone, not on how it is divided into chunks.
Memory is bounded.
"""

import hashlib
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from itertools import chain, groupby, islice

from nanogpt.text.chunks import Chunk, Notes, by_document, chunks_of

FRAME = 1 << 16
"""Characters at the beginning and at the end of a book in which its header and its licence are searched"""
HEAD_LINES = 200
LONGEST_PAGE = 1000
"""Lines after which a new page begins, if no form feed does it"""
COMPARED = 1_000_000
"""Characters of the longest document that is compared with others, and number of documents that are remembered."""
LICENCE = "lines of Project Gutenberg's licence"

_TITLE = r"PROJECT GUTENBERG E-?(?:BOOK|TEXT)\b(?:.{0,200}|[^*\n]{0,200}(?:\n[^*\n]{1,200}){1,2})\*\*\*[ \t]{0,9}$"
_START = re.compile(
    rf"(?m)^(?:\*\*\* ?START OF TH(?:E|IS) {_TITLE}|\*END\*? ?THE SMALL PRINT!.{{0,200}}\*END\*$)\n{{0,9}}"
)
_END = re.compile(
    rf"(?m)^(?:\*\*\* ?END OF TH(?:E|IS) {_TITLE}|End of (?:the |this )?Project Gutenberg(?:'s| E[Bb]ook| Etext)\b.*$)"
)
_LINE = re.compile(r".{0,65535}+\n|.{65536}")
"""A line and its end, or part of a line that is too long"""
_CODES = {
    "escape codes of a terminal": re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])"),
    "HTML tags": re.compile(
        r"(?i)</?(?:a|b|body|br|center|div|d[dlt]|doc|em|font|h[1-6]|head|hr|html|i|img|li|link|meta|ol|p|pre|small|span|"
        r"strong|su[bp]|table|tbody|t[dhr]|title|tt|u|ul)(?:\s[^<>]{0,2000})?/?>|<!--.{0,2000}?-->"
    ),
}
_YAML = re.compile(r"""[\w"'][^:\n]*:\s|[ \t#\n]|-\s""")
_FIELD = re.compile(r"([A-Za-z][A-Za-z-]*):\s")
_MAIL = {"from", "to", "subject", "date", "message-id", "received", "return-path"}
_PAGE = re.compile(r"(?i)\s*(?:page\s+\d+(?:\s+of\s+\d+)?|[-–—]\s*\d+\s*[-–—])\s*")


def clean_chunks(chunks: Iterable[Chunk], clean: str, where: str, notes: Notes) -> Iterator[Chunk]:
    """Yield a text's chunks without what `clean` leaves out (`DataConfig.clean`); add notes of what that was."""
    removed, seen = Counter[str](), set[bytes]()
    for parts in by_document(chunks):
        first = next(parts)
        texts = without_licence((chunk.text for chunk in chain([first], parts)), removed)
        if clean == "all":
            lines = _without_headers(_without_codes(_lines(texts), removed), removed)
            texts = _without_copies(_without_page_breaks(lines, removed), removed, seen)
        yield from chunks_of(texts, first.divided)
    for what, count in (+removed).items():  # without those that are zero
        notes[f"{where}: left out {count:,} {what}; --clean {'none' if what == LICENCE else 'auto'} keeps them"] = None


def without_licence(texts: Iterable[str], removed: Counter[str]) -> Iterator[str]:
    """Yield a document without the header and the licence that Project Gutenberg puts around a book.

    Both are recognized by the line that divides them from the book, within `FRAME` characters of the beginning and of
    the end; where no book begins in this form, everything stays.
    """
    texts, held = iter(texts), ""

    def fill(length: int) -> bool:
        """Hold at least `length` characters; return False where the document ends before."""
        nonlocal held
        while len(held) < length and (text := next(texts, None)) is not None:
            held += text
        return len(held) >= length

    fill(FRAME)
    if (start := _START.search(held, 0, FRAME)) is not None:
        removed[LICENCE] += held.count("\n", 0, start.end())
        held = held[start.end() :]
        while fill(2 * FRAME + 1):  # one more, to know whether a line begins there
            yield held[:FRAME]
            held = held[FRAME:]
        if (end := _END.search(held, max(0, len(held) - FRAME))) is not None:
            removed[LICENCE] += held.count("\n", end.start()) + (not held.endswith("\n"))
            held = held[: end.start()]
    yield held
    yield from texts


def _lines(texts: Iterable[str]) -> Iterator[str]:
    rest = ""
    for text in texts:
        rest, end = rest + text, 0
        while line := _LINE.match(rest, end):
            end = line.end()
            yield line[0]
        rest = rest[end:]
    yield rest


def _without_codes(lines: Iterable[str], removed: Counter[str]) -> Iterator[str]:
    """Leave out HTML tags and a terminal's escape codes, and the lines that have nothing else."""
    for line in lines:
        rest = line
        for what, pattern in _CODES.items():
            rest, count = pattern.subn("", rest)
            removed[what] += count
        if rest.strip() or rest == line:
            yield rest


def _without_headers(lines: Iterator[str], removed: Counter[str]) -> Iterator[str]:
    """Leave out YAML front matter or the header of a mail."""
    head = list(islice(lines, HEAD_LINES))
    count = _header_length(head)
    removed["lines of front matter and mail headers"] += count
    yield from chain(head[count:], lines)


def _header_length(lines: list[str]) -> int:
    """Return how many of a document's first lines are YAML front matter, or the header of a mail."""
    if lines[:1] in (["---\n"], ["---"]):
        ends = (number for number, line in enumerate(lines[2:], 2) if line.rstrip() in ("---", "..."))
        end = next(ends, 0)
        return end + 1 if end and all(map(_YAML.match, lines[1:end])) else 0
    end = next((number for number, line in enumerate(lines) if not line.strip()), 0)
    names = [line if line[0] in " \t" else (found := _FIELD.match(line)) and found[1].lower() for line in lines[:end]]
    return end if all(names) and len(_MAIL.intersection(names)) > 1 else 0


def _without_page_breaks(lines: Iterable[str], removed: Counter[str]) -> Iterator[str]:
    """Leave out form feeds, and lines such as "- 12 -" or "Page 12 of 30".

    Of a page after a form feed, also leave out the first and last line if it is a number, or one of two pages before.
    """
    before = deque[str](maxlen=4)  # first and last lines of two pages: left and right ones may differ
    feeds = 0

    def page_of(numbered: tuple[int, str]) -> tuple[int, int]:
        nonlocal feeds
        feeds += "\f" in numbered[1]
        return feeds, numbered[0] // LONGEST_PAGE

    for _, group in groupby(enumerate(lines), page_of):
        page = [line for _, line in group]
        follows, page[0] = "\f" in page[0], page[0].replace("\f", "")
        words = [line for line in page if line.strip()]
        ends = {line: re.sub(r"\d+", "0", line.strip()) for line in (*words[:1], *words[-1:])}
        same = {line for line, key in ends.items() if follows and (key == "0" or key in before)}
        kept = [line for line in page if line not in same and not _PAGE.fullmatch(line)]
        removed["lines of page numbers and running heads"] += len(page) - len(kept)
        before.extend(ends.values())
        yield from kept


def _without_copies(texts: Iterator[str], removed: Counter[str], seen: set[bytes]) -> Iterator[str]:
    """Yield a document's texts, or nothing if it was seen before."""
    held = ""
    while len(held) <= COMPARED and (text := next(texts, None)) is not None:
        held += text
    key = hashlib.blake2b(held.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if len(held) <= COMPARED and key in seen:
        removed["documents that are copies of others"] += 1
        return
    if len(held) <= COMPARED and len(seen) < COMPARED:
        seen.add(key)
    yield held
    yield from texts
