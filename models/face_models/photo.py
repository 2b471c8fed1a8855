"""Bytes -> upright RGB pixels: type by content, limits before decoding, EXIF turn, reduced scale.

A photo comes from a stranger, so every limit is checked on the header, before memory is spent on
pixels, and whatever Pillow raises about damaged bytes becomes one refusal. No Pillow global is
touched: threads may read photos side by side.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from face_models.errors import (
    EmptyPhoto,
    TooManyBytes,
    TooManyPixels,
    UnreadableImage,
    UnsupportedType,
)

Rgb = NDArray[np.uint8]  # (H, W, 3)

MIB: Final = 1024 * 1024
MAX_JPEG_SCANS: Final = 32
"""Encoders write one to about a dozen; thousands of tiny scans over a large canvas keep a decoder
busy for hours (libjpeg-turbo, "Two Issues with the JPEG Standard", 2015)."""

_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
_GENERIC_HEIF_BRANDS: Final = frozenset({b"mif1", b"msf1"})

_DAMAGE: Final = (
    OSError,
    SyntaxError,  # Pillow's word for a header it cannot parse
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_TURNS: Final = {  # EXIF Orientation -> what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})

_AVERAGED_MODES: Final = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})  # mean value = mean colour


@dataclass(frozen=True, slots=True)
class PhotoLimits:
    """What is accepted, and how far a large photo is reduced.

    `target_side_px`: a photo is decoded at the smallest whole fraction (1/2, 1/3 …) whose longest
    side is still at least this long; JPEG, the phones' format, knows 1/2, 1/4 and 1/8 only.
    """

    max_bytes: int = 20 * MIB
    max_pixels: int = 50_000_000
    target_side_px: int = 1600


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """An upright photo; `width` and `height` are the full picture's, `rgb` may be smaller.

    `scale`: pixels of `rgb` per pixel of the full picture, in (0, 1].
    """

    rgb: Rgb
    width: int
    height: int
    scale: float


def read_photo(data: bytes, limits: PhotoLimits = PhotoLimits()) -> Photo:
    """Check, decode at reduced scale, flatten to RGB and turn upright.

    Animations give their first frame, transparency shows white.

    Raises:
        EmptyPhoto, TooManyBytes, UnsupportedType, TooManyPixels, UnreadableImage
    """
    media_type = _accepted_type(data, limits)
    with _damage_refused():
        image = _open(data, media_type, limits)
        width, height = image.size
        rgb, factor = _decode(image, limits.target_side_px)
        orientation = _orientation(image)
    if orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[orientation])
    if orientation in _SIDEWAYS:
        width, height = height, width
    return Photo(np.asarray(rgb), width, height, scale=1 / factor)


def sniff_type(data: bytes) -> str | None:
    """Media type by content, never by name; None for whatever is not read here."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp" and _is_heic(data):
        return "image/heic"
    return None


def _is_heic(data: bytes) -> bool:
    """HEVC-coded HEIF by its brands; AVIF shares the box but not the codec."""
    major = data[8:12]
    if major in _HEIC_BRANDS:
        return True
    box = data[16 : min(int.from_bytes(data[:4], "big"), 256)]
    compatible = {box[i : i + 4] for i in range(0, len(box), 4)}
    return major in _GENERIC_HEIF_BRANDS and not compatible.isdisjoint(_HEIC_BRANDS)


def _accepted_type(data: bytes, limits: PhotoLimits) -> str:
    if not data:
        raise EmptyPhoto("The photo has no bytes.")
    if len(data) > limits.max_bytes:
        raise TooManyBytes(f"The photo has {len(data)} bytes; at most {limits.max_bytes} are read.")
    media_type = sniff_type(data)
    if media_type is None:
        raise UnsupportedType("The content is not a JPEG, PNG, WebP or HEIC picture.")
    return media_type


@contextmanager
def _damage_refused() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise UnreadableImage(f"The picture is damaged or incomplete: {error}") from error


def _open(data: bytes, media_type: str, limits: PhotoLimits) -> ImageFile:
    """Parse the header and check the picture's size; no pixel is decoded."""
    image: ImageFile
    if media_type == "image/jpeg":
        _check_scans(data)
        image = JpegImageFile(BytesIO(data))
    elif media_type == "image/png":
        image = PngImageFile(BytesIO(data))
    elif media_type == "image/webp":
        _check_pixels(_webp_size(data), limits)  # libwebp allocates its canvas on opening
        image = WebPImageFile(BytesIO(data))
    else:
        image = _open_heic(data)
    _check_pixels(image.size, limits)
    return image


def _open_heic(data: bytes) -> ImageFile:
    try:
        import pillow_heif
    except ImportError as error:
        raise UnsupportedType("HEIC pictures are not read by this installation.") from error
    opener: Callable[[BytesIO], ImageFile] = pillow_heif.HeifImageFile
    return opener(BytesIO(data))


def _check_pixels(size: tuple[int, int], limits: PhotoLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise TooManyPixels(
            f"The picture is {width} x {height}; at most {limits.max_pixels} pixels are read."
        )


def _webp_size(data: bytes) -> tuple[int, int]:
    """Canvas size from the first chunk (RFC 9649, sections 2.5 to 2.7)."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError(f"unknown WebP chunk {chunk!r}")


_SCAN_END: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""A marker with a length: not a stuffed byte, TEM, a restart or a fill byte."""


def _check_scans(data: bytes) -> None:
    """Count the scans of a JPEG by walking its markers (ITU-T T.81, annex B)."""
    position, scans = 2, 0
    while marker := _SCAN_END.search(data, position):
        kind = marker[0][1]
        if kind == 0xD9:  # end of image; thumbnails and videos may follow
            return
        scans += kind == 0xDA
        if scans > MAX_JPEG_SCANS:
            raise UnreadableImage(f"The JPEG has more than {MAX_JPEG_SCANS} scans.")
        length = data[marker.end() : marker.end() + 2]
        position = marker.end() + max(int.from_bytes(length, "big"), 2)


def _decode(image: ImageFile, target_side_px: int) -> tuple[Image.Image, int]:
    """Pixels at 1/factor of the full size, and that factor."""
    longest = max(image.size)
    wanted = max(longest // target_side_px, 1)
    if isinstance(image, JpegImageFile):
        _draft(image, wanted)
    image.load()
    already = round(longest / max(image.size))
    further = max(wanted // already, 1)
    return _reduced(image, further), already * further


def _draft(image: JpegImageFile, factor: int) -> None:
    """Let libjpeg decode 8x8 blocks as 4x4, 2x2 or 1x1: the largest of 2, 4, 8 up to `factor`."""
    width, height = image.size
    image.draft(None, (max(width // factor, 1), max(height // factor, 1)))


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """RGB at 1/factor of the size; flattened last where that is possible, on fewer pixels."""
    if factor == 1:
        return _flattened(image)
    if image.mode in _AVERAGED_MODES:
        return _flattened(image.reduce(factor))
    return _flattened(image).reduce(factor)


def _flattened(image: Image.Image) -> Image.Image:
    """8-bit RGB from whatever mode the file had; transparency over white."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion would clip
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGB", layer.size, "white")
    white.paste(layer, mask=layer.getchannel("A"))
    return white


def _orientation(image: ImageFile) -> int:
    """EXIF Orientation, 1 where there is none or it cannot be read: the pixels are still good."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:
        return 1
    return value if isinstance(value, int) else 1
