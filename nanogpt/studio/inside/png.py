"""A small picture of numbers from 0 to 1: one colour, the stronger the larger the number, on nothing.

It shows on a light page as on a dark one, since what is small is transparent.
"""

import base64
import struct
import zlib

from torch import Tensor

HUE = bytes((214, 130, 0))
"""`--attention` of the page's colours."""


def shades(numbers: Tensor) -> str:
    """Numbers (T, S) as a PNG in an address that holds it whole: a pixel each."""
    rows = (numbers.clamp(0, 1) * 255).round().byte().cpu().numpy()
    height, width = rows.shape
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits a pixel, by a table of colours
    table, opacity = HUE * 256, bytes(range(256))
    chunks = ((b"IHDR", head), (b"PLTE", table), (b"tRNS", opacity), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
