"""Pictures made on the spot: nobody is in them, and every test knows what is."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

CORNERS = {  # where a marked picture shows which colour, as (x, y) shares of the sides
    "red": (0.25, 0.25),
    "green": (0.75, 0.25),
    "blue": (0.25, 0.75),
    "white": (0.75, 0.75),
}
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255,) * 3}
ORIENTATION_TAG = 0x0112


def marked(width: int = 64, height: int = 48) -> Image.Image:
    """Four coloured quarters: red, green over blue, white; no two turns of it look alike."""
    rgb = np.zeros((height, width, 3), np.uint8)
    for name, (x, y) in CORNERS.items():
        columns = slice(0, width // 2) if x < 0.5 else slice(width // 2, width)
        rows = slice(0, height // 2) if y < 0.5 else slice(height // 2, height)
        rgb[rows, columns] = COLOURS[name]
    return Image.fromarray(rgb)


def shaded(width: int, height: int) -> Image.Image:
    """Smooth shades that survive lossy compression: red grows to the right, green downwards."""
    across = np.tile(np.linspace(0, 255, width), (height, 1))
    down = np.tile(np.linspace(0, 255, height)[:, None], (1, width))
    return Image.fromarray(np.stack([across, down, 255 - across], axis=-1).astype(np.uint8))


def encoded(picture: Image.Image, file_format: str, **options) -> bytes:
    file = BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def turned(orientation: object) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    return exif


def shown_quarters(rgb: np.ndarray) -> list[str]:
    """The nearest colour names in the four quarters, in the order of CORNERS."""
    height, width = rgb.shape[:2]
    return [
        min(
            COLOURS,
            key=lambda name: np.abs(
                rgb[int(y * height), int(x * width)] - np.array(COLOURS[name], float)
            ).sum(),
        )
        for x, y in CORNERS.values()
    ]


def bomb_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"") + _chunk(b"IEND", b"")
    )


def bomb_webp(width: int, height: int) -> bytes:
    """An extended WebP whose canvas claims any size around a small picture."""
    small = encoded(marked(), "WEBP")
    canvas = (
        struct.pack("<I", 0)
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little")
    )
    chunks = b"VP8X" + struct.pack("<I", len(canvas)) + canvas + small[12:]
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def many_scans(jpeg: bytes, scans: int) -> bytes:
    """A progressive JPEG with its last scan repeated until it has `scans` more."""
    start = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[start:-2] * scans + jpeg[-2:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
