"""Photos of nobody: small pictures of one colour, each of its own content."""

import io
import struct
import zlib

from PIL import Image


def make_photo(seed: int = 0, *, kind: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    """`seed` decides the colour, and so the content."""
    colour = (seed * 37 % 256, seed * 59 % 256, 128)
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, kind, comment=b"")
    return data.getvalue() + b"\0" * seed


def make_png_that_claims(width: int, height: int) -> bytes:
    """A few dozen bytes whose header promises `width` x `height` pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1024)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, data) for name, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)
