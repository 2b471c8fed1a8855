"""A photo as a phone sends it: turned upright, made smaller, encoded anew, telling nothing else."""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from mobile_client_mock.errors import UnusablePhoto

LONGEST_SIDE_PX = 1280
JPEG_QUALITY = 85
MARK_PX = 8  # one block of a JPEG: no mark smears into the next
_SHADED = [value + 8 if value < 128 else value - 8 for value in range(256)] * 3


@dataclass(frozen=True)
class Upload:
    """The file's own name stays on the phone."""

    data: bytes
    name: str = "photo.jpg"
    media_type: str = "image/jpeg"


def read_original(file: Path) -> Upload:
    """The file's bytes as they are, metadata and all; the gateway looks at the content."""
    return Upload(_read(file), name="photo", media_type="application/octet-stream")


def shrink(file: Path) -> Upload:
    """JPEG of at most LONGEST_SIDE_PX, upright, without EXIF: no place, no time, no camera."""
    data = _read(file)
    try:
        with warnings.catch_warnings():
            # Phones do take 108-megapixel photos; twice the limit is still an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Upload(_encode(_upright(data)))
    except UnidentifiedImageError as error:  # its own words name a buffer in memory
        raise UnusablePhoto(f"{file} is not a photo of a known kind") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnusablePhoto(f"{file} is not a photo that can be read: {error}") from error


def remake(photo: Upload, token: bytes) -> Upload:
    """The same picture to the eye, another to a cache: `token`'s bits shade its upper edge."""
    with Image.open(io.BytesIO(photo.data)) as image:
        marked = image.convert("RGB")
    for place in _marks(token, marked.width):
        marked.paste(marked.crop(place).point(_SHADED), place)
    return Upload(_encode(marked))


def _marks(token: bytes, width_px: int) -> Iterator[tuple[int, int, int, int]]:
    """The box of each bit that is set: row by row, from the upper left corner."""
    columns = max(1, width_px // MARK_PX)
    bits = int.from_bytes(token, "big")
    for bit in range(8 * len(token)):
        if bits >> bit & 1:
            x, y = MARK_PX * (bit % columns), MARK_PX * (bit // columns)
            yield (x, y, x + MARK_PX, y + MARK_PX)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UnusablePhoto(f"{file} cannot be read: {error.strerror}") from error


def _upright(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (LONGEST_SIDE_PX, LONGEST_SIDE_PX))  # a big JPEG is never decoded fully
        upright = ImageOps.exif_transpose(image)
        upright.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX), Image.Resampling.LANCZOS)
        return _on_white(upright)


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _encode(image: Image.Image) -> bytes:
    bare = Image.new("RGB", image.size)  # knows no EXIF, no comment, no colour profile
    bare.paste(image)
    encoded = io.BytesIO()
    bare.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return encoded.getvalue()
