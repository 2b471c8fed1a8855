"""Photos of nobody: small pictures of one colour, each of its own content."""

import io
import struct
import zlib
from typing import Any

import pillow_heif
from PIL import Image


def make_photo(
    seed: int = 0, *, kind: str = "JPEG", size: tuple[int, int] = (64, 48), **how: Any
) -> bytes:
    """`seed` decides the colour, and so the content; `how` goes to the encoder."""
    colour = (seed * 37 % 256, seed * 59 % 256, 128)
    data, picture = io.BytesIO(), Image.new("RGB", size, colour)
    if kind == "HEIC":
        pillow_heif.from_pillow(picture).save(data, quality=50)
    else:
        picture.save(data, kind, **how)
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


def make_webp_that_claims(width: int, height: int) -> bytes:
    """An extended WebP whose canvas is said to be `width` x `height`."""
    sides = b"".join((side - 1).to_bytes(3, "little") for side in (width, height))
    extended = b"VP8X" + struct.pack("<II", 10, 0) + sides
    return b"RIFF" + struct.pack("<I", len(extended) + 4) + b"WEBP" + extended
