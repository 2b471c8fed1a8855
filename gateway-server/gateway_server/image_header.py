"""What a photo's first bytes say about it: its type and its size. No pixel is decoded here."""

import struct
from pathlib import Path

from PIL import Image

from gateway_server.problems import TooManyPixels, UnreadableImage, UnsupportedImageType

SIGNATURE_BYTES = 64  # enough for the brands of a HEIC
TYPES = ("image/jpeg", "image/png", "image/webp", "image/heic")
_WEBP_HEADER_BYTES = 30
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
_GENERIC_HEIF_BRANDS = frozenset({b"mif1", b"msf1"})  # AVIF names these too
_DAMAGE = (OSError, ValueError, SyntaxError, LookupError, RuntimeError, struct.error)


def sniff_type(head: bytes) -> str | None:
    """The media type that a file's first 64 bytes show; None for a type that is not taken."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp" and _is_heic(head):
        return "image/heic"
    return None


def _is_heic(head: bytes) -> bool:
    major, box_bytes = head[8:12], min(int.from_bytes(head[:4]), SIGNATURE_BYTES)
    compatible = {head[at : at + 4] for at in range(16, box_bytes, 4)}
    return major in _HEIC_BRANDS or (
        major in _GENERIC_HEIF_BRANDS and not compatible.isdisjoint(_HEIC_BRANDS)
    )


def read_size(path: Path, media_type: str) -> tuple[int, int]:
    """Width and height as the file's header states them, before any turn."""
    try:
        width, height = _stated_size(path, media_type)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels(str(error)) from error
    except _DAMAGE as error:
        raise UnreadableImage("The photo's header is damaged") from error
    if not width or not height:
        raise UnreadableImage(f"The photo's header says {width}x{height}")
    return width, height


def _stated_size(path: Path, media_type: str) -> tuple[int, int]:
    if media_type == "image/webp":
        return _webp_size(path)
    if media_type == "image/heic":
        return _heic_size(path)
    with Image.open(path, formats=["JPEG", "PNG"]) as image:
        return image.size


def _webp_size(path: Path) -> tuple[int, int]:
    """RFC 9649, 2.5 to 2.7; read here, for libwebp would allocate the whole canvas to tell it."""
    with path.open("rb") as file:
        head = file.read(_WEBP_HEADER_BYTES)
    match head[12:16]:
        case b"VP8X":
            sides = struct.unpack("<24x3s3s", head)
            width, height = (int.from_bytes(side, "little") + 1 for side in sides)
            return width, height
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", head, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", head, 26)
            return width & 0x3FFF, height & 0x3FFF
    raise ValueError("an unknown kind of WebP")


def _heic_size(path: Path) -> tuple[int, int]:
    try:
        import pillow_heif
    except ImportError as error:
        raise UnsupportedImageType("This installation reads no HEIC; send a JPEG") from error
    width, height = pillow_heif.open_heif(path).size
    return width, height
