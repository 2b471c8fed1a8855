"""What a photo's first bytes say about it. No pixel is decoded here."""

from pathlib import Path

from PIL import Image

from gateway_server.problems import TooManyPixels, UnreadableImage

SIGNATURE_BYTES = 12
_PILLOW_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
TYPES = tuple(_PILLOW_FORMATS)


def sniff_type(head: bytes) -> str | None:
    """The media type that a file's first 12 bytes show; None for a type that is not taken."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return None


def read_size(path: Path, media_type: str) -> tuple[int, int]:
    """Width and height as the file's header states them; no pixel is decoded."""
    try:
        with Image.open(path, formats=[_PILLOW_FORMATS[media_type]]) as image:
            return image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels(str(error)) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableImage("The photo's header is damaged") from error
