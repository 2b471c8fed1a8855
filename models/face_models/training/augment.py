"""Seeded views of faces: geometry, light, colour, sharpness, noise, occlusion.

OpenCV, one face at a time: on a CPU that is several times faster than the same on batched tensors,
and a view costs a small part of the training step that it feeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from face_models.photo import Rgb

Faces = NDArray[np.uint8]  # (n, h, w, 3)

LEVELS = np.arange(256, dtype=np.float32) / 255
NOISE_BANK_SIDE = 1024  # pixels; noise is a random window of one seeded field
OCCLUDER_STRIPES = 4  # a textured occluder is this many blocks of colour a side


@dataclass(frozen=True)
class AugmentSettings:
    """Half-widths of uniform ranges, and chances (0..1) of the steps that not every face meets."""

    mirror_chance: float = 0.5
    scale: float = 0.10
    turn_deg: float = 10.0
    shift: float = 0.05  # of the face's width
    brightness: float = 0.35
    contrast: float = 0.35
    saturation: float = 0.4
    gamma: float = 0.35
    cast: float = 0.08  # of each channel's level
    grey_chance: float = 0.1
    blur_chance: float = 0.1
    blur_sigma_px: tuple[float, float] = (0.4, 1.6)
    shrink_chance: float = 0.25
    shrink_min_px: int = 24
    noise_chance: float = 0.25
    noise_sigma: float = 18.0  # grey levels
    occlusion_chance: float = 0.25
    occlusion_side: tuple[float, float] = (0.15, 0.5)  # of the face's width


def augment(
    faces: Faces, settings: AugmentSettings, random: np.random.Generator
) -> tuple[Faces, NDArray[np.bool_]]:
    """A view of every face, of the same size; and which of them are mirrored, (n,)."""
    mirrored = random.random(len(faces)) < settings.mirror_chance
    views = np.empty_like(faces)
    for row, face in enumerate(faces):
        views[row] = _view(face, bool(mirrored[row]), settings, random)
    return views, mirrored


def _view(face: Rgb, mirrored: bool, settings: AugmentSettings, random: np.random.Generator) -> Rgb:
    view = _reframe(face, mirrored, settings, random)
    view = _recolour(view, settings, random)
    if random.random() < settings.blur_chance:
        view = _rgb(cv2.GaussianBlur(view, (0, 0), random.uniform(*settings.blur_sigma_px)))
    if random.random() < settings.shrink_chance:
        view = _shrink(view, settings.shrink_min_px, random)
    if random.random() < settings.noise_chance:
        view = _add_noise(view, random.uniform(0, settings.noise_sigma), random)
    if random.random() < settings.occlusion_chance:
        _occlude(view, settings.occlusion_side, random)
    return view


def _rgb(picture: cv2.typing.MatLike) -> Rgb:
    """OpenCV answers bytes with bytes, but its types do not say so."""
    return np.asarray(picture, dtype=np.uint8)


def _around_zero(half_width: float, random: np.random.Generator) -> float:
    return float(random.uniform(-half_width, half_width))


def _reframe(
    face: Rgb, mirrored: bool, settings: AugmentSettings, random: np.random.Generator
) -> Rgb:
    """Turn, scale, shift and mirror about the middle; the border goes on outwards."""
    side = face.shape[0]
    middle = (side - 1) / 2
    angle = np.deg2rad(_around_zero(settings.turn_deg, random))
    scale = 1 + _around_zero(settings.scale, random)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirrored:
        turn[:, 0] *= -1
    shift = [side * _around_zero(settings.shift, random) for _ in "xy"]
    matrix = np.column_stack([turn, middle + np.array(shift) - turn @ [middle, middle]])
    return _rgb(cv2.warpAffine(face, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE))


def _recolour(view: Rgb, settings: AugmentSettings, random: np.random.Generator) -> Rgb:
    saturation = 1 + _around_zero(settings.saturation, random)
    if random.random() < settings.grey_chance:
        saturation = 0.0
    grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)
    mean = float(grey.mean()) / 255
    mixed = cv2.addWeighted(
        view, saturation, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), 1 - saturation, 0
    )
    return _rgb(cv2.LUT(mixed, _tone_curves(mean, settings, random)))


def _tone_curves(mean: float, settings: AugmentSettings, random: np.random.Generator) -> Rgb:
    """(1, 256, 3): contrast about the mean level, brightness, gamma, and a cast per channel."""
    contrast = 1 + _around_zero(settings.contrast, random)
    brightness = 1 + _around_zero(settings.brightness, random)
    gamma = 1 + _around_zero(settings.gamma, random)
    curve = (((LEVELS - mean) * contrast + mean) * brightness).clip(0, 1) ** gamma
    cast = 1 + random.uniform(-settings.cast, settings.cast, 3)
    return _rgb((255 * curve[:, None] * cast).round().clip(0, 255)[None])


def _shrink(view: Rgb, min_px: int, random: np.random.Generator) -> Rgb:
    """As if the face came from few pixels: down to a small side and up again."""
    side = view.shape[0]
    small = int(random.integers(min_px, max(min_px + 1, side * 3 // 4)))
    down = cv2.resize(view, (small, small), interpolation=cv2.INTER_AREA)
    up = random.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC])
    return _rgb(cv2.resize(down, (side, side), interpolation=int(up)))


_noise_bank: list[NDArray[np.float32]] = []


def _add_noise(view: Rgb, sigma: float, random: np.random.Generator) -> Rgb:
    if not _noise_bank:
        field = np.random.default_rng(0).standard_normal((NOISE_BANK_SIDE, NOISE_BANK_SIDE, 3))
        _noise_bank.append(field.astype(np.float32))
    side = view.shape[0]
    x, y = random.integers(NOISE_BANK_SIDE - side, size=2)
    noise = _noise_bank[0][y : y + side, x : x + side]
    return _rgb((view + sigma * noise).round().clip(0, 255))


def _occlude(view: Rgb, sides: tuple[float, float], random: np.random.Generator) -> None:
    """A plain or patterned block over a part of the face: mask, hand, hair, sunglasses stand-in."""
    side = view.shape[0]
    width, height = (side * random.uniform(*sides, 2)).astype(int)
    left, top = (random.uniform(0, side, 2) - [width / 2, height / 2]).astype(int)
    blocks = 1 if random.random() < 0.5 else OCCLUDER_STRIPES
    pattern = random.integers(0, 256, (blocks, blocks, 3), dtype=np.uint8)
    block = cv2.resize(pattern, (max(width, 1), max(height, 1)), interpolation=cv2.INTER_LINEAR)
    y, x = max(top, 0), max(left, 0)
    seen = view[y : max(top + height, 0), x : max(left + width, 0)]
    seen[:] = block[y - top :, x - left :][: seen.shape[0], : seen.shape[1]]
