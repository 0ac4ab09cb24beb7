"""Which encoding a file of text is probably in, and how its lines end; read in chunks, so of any size."""

import codecs
from dataclasses import dataclass
from pathlib import Path

from nanogpt.errors import UserError

CHUNK_BYTES = 1 << 20
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, with which it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
WESTERN_SHARE = 0.3
"""Accented letters among all: fewer in Western European languages, nearly all in other scripts."""
OTHER_SCRIPTS = ("shift_jis", "gb18030", "euc_kr", "cp1251")


@dataclass(frozen=True, kw_only=True)
class FileBytes:
    """What a file's bytes tell before they are text."""

    fits: bool
    """whether the bytes are in the encoding that was asked for"""
    probably: tuple[str, ...]
    """encodings that they may be in, the likeliest first; one that fits is the one asked for"""
    certain: bool
    """whether a byte-order mark says so, or they fit"""
    crlf: int
    r"""lines that end in `\r\n`"""
    lf: int
    r"""lines that end in `\n` alone"""
    cr: int
    r"""lines that end in `\r` alone"""


def read_bytes(path: Path, encoding: str = "utf-8") -> FileBytes:
    """Look through a whole file. Raises UserError where it cannot be read, or for an unknown encoding."""
    fits, crlf, lf, cr = True, 0, 0, 0
    suspect = head = last = b""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        with path.open("rb") as file:
            while True:
                chunk = file.read(CHUNK_BYTES)
                head = head or chunk
                crlf += chunk.count(b"\r\n") + (last == b"\r" and chunk[:1] == b"\n")
                lf, cr = lf + chunk.count(b"\n"), cr + chunk.count(b"\r")
                last = chunk[-1:]
                try:
                    decoder.decode(chunk, final=not chunk)
                except UnicodeError:  # also where UTF-16 or UTF-32 has no mark
                    fits, suspect = False, suspect or chunk or head
                    decoder.reset()
                if not chunk:
                    break
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except LookupError:
        raise UserError(f"unknown encoding {encoding!r}; for example utf-8, utf-16, latin-1, cp1252") from None
    marked = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
    if marked not in (None, "utf-8"):
        fits = fits and encoding.lower().replace("_", "-").startswith(marked)
    guesses = (encoding,) if fits else (marked,) if marked else guess_encodings(suspect)
    return FileBytes(
        fits=fits, probably=guesses, certain=fits or marked is not None, crlf=crlf, lf=lf - crlf, cr=cr - crlf
    )


def guess_encodings(data: bytes) -> tuple[str, ...]:
    r"""Encodings that bytes without a mark may be in, the likeliest first; none for what is no text.

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
    high = sum(data.count(byte) for byte in range(0x80, 0x100))
    letters = high + sum(data.count(byte) for byte in range(0x41, 0x7B))
    western = ("cp1252", "latin-1") if _decodes(data, "cp1252") else ("latin-1",)
    if high < WESTERN_SHARE * letters:
        return western
    return tuple(name for name in OTHER_SCRIPTS if _decodes(data, name)) + western


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(data)  # a character cut off at the end is none of a mistake
    except UnicodeDecodeError:
        return False
    return True
