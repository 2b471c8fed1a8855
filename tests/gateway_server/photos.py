"""Photos of nobody: small pictures of one colour, each of its own content, and bare of metadata.

What is bare already is stored as it came, so a test may compare it byte by byte.
"""

import io
import struct
import zlib
from typing import Any

import pillow_heif
from PIL import Image

from gateway_server.metadata import strip_metadata


def make_photo(
    seed: int = 0, *, kind: str = "JPEG", size: tuple[int, int] = (64, 48), **how: Any
) -> bytes:
    """`seed` decides the content, by colour and a row of bits; `how` goes to the encoder."""
    colour = (seed * 37 % 256, seed * 59 % 256, 128)
    data, picture = io.BytesIO(), Image.new("RGB", size, colour)
    for place in range(min(size[0] // 8, seed.bit_length())):
        bit = 255 * (seed >> place & 1)
        picture.paste((bit, bit, bit), (8 * place, 0, 8 * place + 8, min(8, size[1])))
    if kind == "HEIC":
        pillow_heif.from_pillow(picture).save(data, quality=50)
    else:
        picture.save(data, kind, **how)
    if kind in {"GIF", "BMP", "TIFF"}:  # nothing that the gateway takes
        return data.getvalue()
    return strip_metadata(data.getvalue(), f"image/{kind.lower()}")


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
