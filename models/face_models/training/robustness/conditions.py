"""What befalls a photo: seeded occlusion, light, noise, blur, few pixels, compression.

Each condition is a function of a picture, the box of the face in it, a severity and a generator, so
that it can be laid over an aligned crop as well as over a photo before detection. Severities named
`PAPER_…` are those of the Grad-CAM++ study that this project follows (its figure 3).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np

from face_models.align import CROP_PX
from face_models.photo import Rgb

Box = tuple[float, float, float, float]  # x, y, width, height in pixels; may reach outside
Spoil = Callable[[Rgb, Box, float, np.random.Generator], Rgb]

FACE_IN_CROP: Box = (0.17 * CROP_PX, 0.12 * CROP_PX, 0.66 * CROP_PX, 0.94 * CROP_PX)
"""Where a detector's box lies in an aligned crop: median of faces that look into the camera."""

PAPER_OCCLUSION = (0.1, 0.2, 0.3, 0.4)  # share of the face's area
PAPER_BRIGHTNESS = (0.7, 0.85, 1.15, 1.3)  # factor of every level
PAPER_NOISE = (0.05, 0.1, 0.15, 0.2)  # standard deviation, as a share of full scale
PAPER_SEVERITIES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "occlusion": PAPER_OCCLUSION,
        "brightness": PAPER_BRIGHTNESS,
        "gaussian noise": PAPER_NOISE,
    }
)
"""By the names of the conditions below."""

ASPECT_RATIOS = (0.5, 2.0)  # of an occluding rectangle: width to height
EYES_BAND = (0.27, 0.47)  # from, to: shares of the face box's height
LOWER_FACE = (0.55, 1.0)  # what a mask covers: from the nose's tip on
BLACK = (0, 0, 0)
MASK_COLOUR = (150, 185, 205)  # a surgical mask's blue


@dataclass(frozen=True)
class Condition:
    """One way to spoil a photo, mild to severe or, where both ends are bad, in rising order."""

    name: str
    unit: str
    severities: tuple[float, ...]
    spoil: Spoil


def seeded(*parts: object) -> np.random.Generator:
    """The same generator for the same parts, whatever was drawn before."""
    return np.random.default_rng(zlib.crc32("|".join(map(str, parts)).encode()))


def occlude(picture: Rgb, face: Box, share: float, random: np.random.Generator) -> Rgb:
    """A black rectangle over `share` of the face's visible area, anywhere within it."""
    left, top, right, bottom = _visible(picture, face)
    wide, high = right - left, bottom - top
    narrowest, widest = share * wide / high, wide / (share * high)  # a side fills the face
    lowest, highest = max(ASPECT_RATIOS[0], narrowest), min(ASPECT_RATIOS[1], widest)
    ratio = np.exp(random.uniform(*np.log([min(lowest, highest), highest])))
    width = min(round(np.sqrt(share * wide * high * ratio)), wide)
    height = min(round(share * wide * high / max(width, 1)), high)
    x = left + int(random.integers(wide - width + 1))
    y = top + int(random.integers(high - height + 1))
    return _filled(picture, (x, y, x + width, y + height), BLACK)


def cover_eyes(picture: Rgb, face: Box, _severity: float, _: np.random.Generator) -> Rgb:
    """A black bar over both eyes, as wide as the face."""
    return _filled(picture, _band(picture, face, EYES_BAND), BLACK)


def cover_lower_face(picture: Rgb, face: Box, _severity: float, _: np.random.Generator) -> Rgb:
    """A mask over nose tip, mouth and chin, as wide as the face."""
    return _filled(picture, _band(picture, face, LOWER_FACE), MASK_COLOUR)


def brighten(picture: Rgb, _face: Box, factor: float, _: np.random.Generator) -> Rgb:
    """Every level times `factor`; what exceeds full scale is lost."""
    return _bytes(picture * np.float32(factor))


def add_noise(picture: Rgb, _face: Box, sigma: float, random: np.random.Generator) -> Rgb:
    """Gaussian noise, `sigma` as a share of full scale, independent in pixels and channels."""
    noise = random.standard_normal(picture.shape, dtype=np.float32)
    return _bytes(picture + 255 * np.float32(sigma) * noise)


def salt_and_pepper(picture: Rgb, _face: Box, share: float, random: np.random.Generator) -> Rgb:
    """That share of the pixels becomes black or white, evenly."""
    drawn = random.random(picture.shape[:2], dtype=np.float32)
    spoilt = picture.copy()
    spoilt[drawn < share] = 255
    spoilt[drawn < share / 2] = 0
    return spoilt


def blur(picture: Rgb, face: Box, share: float, _: np.random.Generator) -> Rgb:
    """Gaussian blur, its sigma as a share of the face's width."""
    return _bytes(cv2.GaussianBlur(picture, (0, 0), share * face[2]))


def coarsen(picture: Rgb, face: Box, width_px: float, _: np.random.Generator) -> Rgb:
    """As if the face had been `width_px` wide: shrunk by averaging, enlarged again."""
    scale = min(width_px / face[2], 1)
    side = (max(round(picture.shape[1] * scale), 1), max(round(picture.shape[0] * scale), 1))
    small = cv2.resize(picture, side, interpolation=cv2.INTER_AREA)
    return _bytes(cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def compress(picture: Rgb, _face: Box, quality: float, _: np.random.Generator) -> Rgb:
    """Through a JPEG file of that quality."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    data = cv2.imencode(".jpg", picture[..., ::-1], options)[1]
    return _bytes(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1])


CONDITIONS = (
    Condition("occlusion", "share of the face", PAPER_OCCLUSION, occlude),
    Condition("eyes covered", "bar", (1,), cover_eyes),
    Condition("lower face covered", "mask", (1,), cover_lower_face),
    Condition("brightness", "factor", (0.3, 0.5, *PAPER_BRIGHTNESS, 1.6, 2.0), brighten),
    Condition("gaussian noise", "sigma / full scale", PAPER_NOISE, add_noise),
    Condition("salt and pepper", "share of pixels", (0.02, 0.05, 0.1, 0.2), salt_and_pepper),
    Condition("blur", "sigma / face width", (0.01, 0.02, 0.04, 0.08), blur),
    Condition("low resolution", "face width, px", (48, 32, 24, 16, 12), coarsen),
    Condition("jpeg", "quality", (50, 20, 10, 5), compress),
)


def _visible(picture: Rgb, face: Box) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the face within the picture, whole pixels."""
    height, width = picture.shape[:2]
    left, top = max(round(face[0]), 0), max(round(face[1]), 0)
    right, bottom = min(round(face[0] + face[2]), width), min(round(face[1] + face[3]), height)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _band(picture: Rgb, face: Box, rows: tuple[float, float]) -> tuple[int, int, int, int]:
    x, y, width, height = face
    return _visible(picture, (x, y + rows[0] * height, width, (rows[1] - rows[0]) * height))


def _filled(picture: Rgb, corners: tuple[int, int, int, int], colour: tuple[int, int, int]) -> Rgb:
    left, top, right, bottom = corners
    spoilt = picture.copy()
    spoilt[top:bottom, left:right] = colour
    return spoilt


def _bytes(picture: cv2.typing.MatLike) -> Rgb:
    return np.asarray(np.rint(np.clip(picture, 0, 255)), dtype=np.uint8)
