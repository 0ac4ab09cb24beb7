r"""Bytes to text, block by block: encodings, byte-order marks, line ends, and a check for binary data.

Memory does not grow with the text. Line ends `\r\n` and `\r` become `\n`, also where a block ends between the two.
"""

import codecs
import io
import itertools
from collections.abc import Iterable, Iterator

from nanogpt.errors import UserError

READ_BYTES = 1 << 16
BINARY_PROBE_BYTES = 8192

Notes = dict[str, None]
"""Messages for the user, each once, in the order in which they came up."""


class BinaryFile(UserError):
    """A file with a NUL byte near its beginning, so not text. Raised before any of it is passed on."""


def decode_text(data: bytes, where: str, encoding: str = "utf-8") -> str:
    r"""Decode bytes, drop a byte-order mark, and turn line ends `\r\n` and `\r` into `\n`.

    Raises UserError, naming `where`, for binary data and for bytes that are not in `encoding`.

    >>> decode_text(b"caf\xc3\xa9\r\n", "menu.txt")
    'café\n'
    """
    return "".join(decode_blocks([data], where, encoding, {}))


def decode_blocks(blocks: Iterable[bytes], where: str, encoding: str, notes: Notes) -> Iterator[str]:
    """Decode as `decode_text` does, block by block; the first block has `BINARY_PROBE_BYTES`, or all bytes."""
    decoder = _decoder(encoding)
    lines = io.IncrementalNewlineDecoder(decoder, translate=True)
    blocks = iter(blocks)
    first = next(blocks, b"")
    _check_is_text(first, where, encoding)
    offset = line = 0
    at_start = True
    for block in itertools.chain([first], blocks, [b""]):  # the empty one marks the end
        held = decoder.getstate()[0]  # the first bytes of a character that the last block did not complete
        try:
            text = lines.decode(block, final=not block)
        except UnicodeDecodeError as error:
            seen = held + block
            at = error.start
            line += seen.count(b"\n", 0, at) - held.count(b"\n") + 1
            raise UserError(
                f"{where} is not {encoding}: byte 0x{seen[at]:02x} at offset {offset - len(held) + at:,} "
                f"(line {line:,}) does not fit; name its encoding, for example --encoding latin-1 or "
                f"--encoding cp1252, or save the file as UTF-8"
            ) from None
        except UnicodeError as error:  # UTF-16 and UTF-32 need a mark at the beginning
            raise UserError(
                f"{where} is not {encoding}: {error}; leave out --encoding for UTF-8, or name another, for example "
                f"cp1252 or utf-16-le"
            ) from None
        offset += len(block)
        line += block.count(b"\n")
        if at_start and text:
            text, at_start = text.removeprefix("\ufeff"), False
        if text:
            yield text
    _note_line_ends(lines, notes)


def unify_line_ends(text: str, notes: Notes) -> str:
    r"""Turn the line ends `\r\n` and `\r` of a decoded text into `\n`."""
    if "\r" not in text:
        return text
    lines = io.IncrementalNewlineDecoder(None, translate=True)
    text = lines.decode(text, final=True)
    _note_line_ends(lines, notes)
    return text


def _note_line_ends(lines: io.IncrementalNewlineDecoder, notes: Notes) -> None:
    if lines.newlines is not None and "\r\n" in lines.newlines:
        notes["line ends \\r\\n are read as \\n"] = None


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        "a".encode(encoding)  # refuses codecs of Python that are not text encodings, such as base64
        return codecs.getincrementaldecoder(encoding)()
    except (LookupError, ValueError):
        raise UserError(f"unknown encoding {encoding!r}; for example utf-8, utf-16, latin-1, cp1252") from None


def _check_is_text(data: bytes, where: str, encoding: str) -> None:
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8") and data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{where} is in UTF-16, not UTF-8; read it with --encoding utf-16")
    if "16" not in encoding and "32" not in encoding and b"\0" in data[:BINARY_PROBE_BYTES]:
        offset = data.index(b"\0")
        raise BinaryFile(f"{where} is a binary file (byte {offset:,} is 0), not a text; give a plain text file")
