"""A photo without what it says about its maker: places, times, devices, comments, previews, tails.

No pixel is coded anew. Kept is only what changes how the picture looks: its turn, its colours, its
transparency. What looks like pixels stays as it is: nothing here decodes a picture, so that bytes
hidden in the coded data itself are not found.

    jpeg.py          segments: only those that a decoder needs; nothing after the picture's end
    png.py           chunks: the same; an animation shows its first frame
    webp.py          chunks: the same, also within an animation's frames
    heic.py          offsets are absolute there: what goes is overwritten where it lies
    heic_boxes.py    the boxes that a HEIC is made of
    orientation.py   the one value of the EXIF block that survives
    pieces.py        how many pieces a photo may be made of
"""

from collections.abc import Callable, Mapping

from gateway_server.metadata.heic import strip_heic
from gateway_server.metadata.jpeg import strip_jpeg
from gateway_server.metadata.png import strip_png
from gateway_server.metadata.webp import strip_webp
from gateway_server.problems import UnsupportedImageType

_STRIPPERS: Mapping[str, Callable[[bytes], bytes]] = {
    "image/jpeg": strip_jpeg,
    "image/png": strip_png,
    "image/webp": strip_webp,
    "image/heic": strip_heic,
}


def strip_metadata(data: bytes, media_type: str) -> bytes:
    """The same picture, bare. Doing it twice changes nothing more.

    Raises UnreadableImage where the file's structure cannot be followed to its pixels.
    """
    strip = _STRIPPERS.get(media_type)
    if strip is None:
        raise UnsupportedImageType(f"{media_type} is none of {', '.join(_STRIPPERS)}")
    return strip(data)
