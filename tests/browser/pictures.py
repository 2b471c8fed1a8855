"""Photos as they go wrong, made from the demo people."""

import io
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from demo.people import Subject

Payload = dict[str, Any]  # a file as Playwright hands it to a page
SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="300" height="300">
<script>document.title = "owned"</script></svg>"""


def portrait(person: Subject, side_px: int = 448) -> Image.Image:
    assert person.probe is not None
    with Image.open(person.probe) as image:
        return image.convert("RGB").resize((side_px, side_px), Image.Resampling.LANCZOS)


def close(person: Subject, margin: float = 0.18) -> Image.Image:
    """The same from so near that the face fills the frame."""
    image = portrait(person)
    cut = round(margin * image.width)
    return image.crop((cut, cut, image.width - cut, image.height - cut))


def as_file(image: Image.Image, name: str = "photo.jpg") -> Payload:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92)
    return {"name": name, "mimeType": "image/jpeg", "buffer": file.getvalue()}


def numbered(person: Subject, number: int) -> Payload:
    """A photo unlike any other: its number is a stroke along the lower edge."""
    image = portrait(person)
    image.paste((200, 40, 40), (0, image.height - 6, 10 + 8 * number, image.height))
    return as_file(image, f"{number}.jpg")


def darkened(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(0.12)


def overexposed(image: Image.Image) -> Image.Image:
    return image.point([min(255, 140 + 2 * level) for level in range(256)] * 3)


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(image.width / 50))


def small_in_a_large_one(image: Image.Image) -> Image.Image:
    """Large enough to be found, too small to be recognised."""
    scene = Image.new("RGB", (640, 480), (126, 128, 125))
    scene.paste(image.resize((96, 96), Image.Resampling.LANCZOS), (270, 190))
    return scene


def beside_each_other(one: Image.Image, other: Image.Image) -> Image.Image:
    both = Image.new("RGB", (one.width + other.width, one.height))
    both.paste(one, (0, 0))
    both.paste(other, (one.width, 0))
    return both


def without_a_face(seed: int) -> Image.Image:
    """Colours that flow into each other, with some grain: sharp, well lit, and nobody there."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(60, 200, (7, 9, 3), np.uint8))
    smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), np.int16)
    grain = random.integers(-25, 26, smooth.shape, np.int16)
    return Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))
