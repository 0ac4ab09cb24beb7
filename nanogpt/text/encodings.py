"""Detect the encoding and the line ends of a text file, in bounded memory."""

import codecs
from dataclasses import dataclass
from pathlib import Path

from nanogpt.errors import UserError

BLOCK_BYTES = 1 << 20
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


def detect_encoding(path: Path, encoding: str = "utf-8") -> FileEncoding:
    """Read a whole file. Raises UserError if it cannot be read, or for an unknown encoding."""
    fits, crlf, lf, cr = True, 0, 0, 0
    suspect = head = last = b""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        with path.open("rb") as file:
            while True:
                block = file.read(BLOCK_BYTES)
                head = head or block
                crlf += block.count(b"\r\n") + (last == b"\r" and block[:1] == b"\n")
                lf, cr = lf + block.count(b"\n"), cr + block.count(b"\r")
                last = block[-1:]
                try:
                    decoder.decode(block, final=not block)
                except UnicodeError:  # also UTF-16 or UTF-32 without a mark
                    fits, suspect = False, suspect or block or head
                    decoder.reset()
                if not block:
                    break
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except LookupError:
        raise UserError(f"unknown encoding {encoding!r}; for example utf-8, utf-16, latin-1, cp1252") from None
    marked = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
    if marked not in (None, "utf-8"):
        fits = fits and encoding.lower().replace("_", "-").startswith(marked)
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
