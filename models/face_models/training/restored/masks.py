"""Masks over the lower face, drawn on the aligned template: shapes, colours, folds, by seed.

An outline is given in the face's own units: x from the middle of the eyes, in distances between
them; y from the eyes' line downwards, in distances from it to the mouth's line. So 0.49 is the
nose's tip, 1 the mouth, and 1.5 about the chin, which is where an ArcFace crop ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from face_models.align import Landmarks, template
from face_models.photo import Rgb
from face_models.training.robustness.conditions import seeded

Region = NDArray[np.bool_]  # (h, w), true where something hides the face
Points = NDArray[np.float64]  # (n, 2)
Colour = tuple[int, int, int]

HALF_OUTLINES: Final[Mapping[str, Sequence[tuple[float, float]]]] = MappingProxyType(
    {
        "surgical": ((0, 0.27), (0.35, 0.30), (1.05, 0.38), (0.98, 1.05), (0.55, 1.5), (0, 1.62)),
        "cloth": ((0, 0.38), (0.5, 0.42), (1.1, 0.52), (1.0, 1.1), (0.6, 1.55), (0, 1.7)),
        "bandana": ((0, 0.3), (0.6, 0.36), (1.2, 0.45), (1.25, 2.2), (0, 2.4)),
        "below the nose": ((0, 0.7), (0.4, 0.66), (1.05, 0.7), (0.98, 1.1), (0.5, 1.55), (0, 1.7)),
        "respirator": ((0, 0.2), (0.3, 0.3), (0.95, 0.62), (0.88, 1.1), (0.4, 1.55), (0, 1.7)),
    }
)  # fmt: skip
"""The right half from the middle of the upper edge to that of the lower; the left mirrors it."""

COLOURS: Final[Mapping[str, Colour]] = MappingProxyType(
    {
        "white": (232, 236, 238),
        "blue": (150, 185, 205),
        "black": (34, 34, 38),
        "grey": (132, 134, 136),
        "pink": (224, 172, 184),
        "skin": (205, 165, 140),
        "navy": (44, 56, 96),
        "mustard": (190, 150, 50),
    }
)
UNSEEN_SHAPES: Final = ("respirator",)
UNSEEN_COLOURS: Final = ("navy", "mustard")
"""Kept out of all training: how well a network copes with them says what others will do to it."""

PATTERNS: Final = ("plain", "folds", "stripes", "checks")
CORNER_JITTER: Final = 0.03  # standard deviation of every corner, in the outline's units
SHIFT_JITTER: Final = 0.03  # of the whole mask
SCALE_JITTER: Final = 0.05
FINENESS: Final = 4  # the outline is drawn so many times larger, for a soft edge
SIDE_SHADE: Final = 0.22  # light lost one eye distance beside the middle
FOLDS: Final = 4
FOLD_DEPTH: Final = 0.10
WEAVE_SIGMA: Final = 3.0  # grey levels
USUAL_LEVEL: Final = 128.0  # of a well-lit face; a mask is as dark as the photo
LIGHT_RANGE: Final = (0.45, 1.15)


@dataclass(frozen=True)
class Style:
    """One mask as it could be bought."""

    shape: str
    colour: str
    pattern: str


@dataclass(frozen=True, eq=False)
class Masked:
    """A face behind a mask; `region` is true where the mask makes up half a pixel or more."""

    face: Rgb
    region: Region
    style: Style


def styles(*, unseen: bool) -> tuple[Style, ...]:
    """Every mask that training may see; with `unseen`, those that it must not as well."""
    return tuple(
        Style(shape, colour, pattern)
        for shape in HALF_OUTLINES
        for colour in COLOURS
        for pattern in PATTERNS
        if unseen or is_seen(shape, colour)
    )


def is_seen(shape: str, colour: str) -> bool:
    return shape not in UNSEEN_SHAPES and colour not in UNSEEN_COLOURS


def masked(face: Rgb, name: object, seed: int) -> Masked:
    """Any mask, which depends on nothing but the face's name and the seed."""
    random = seeded(seed, "mask", name)
    choice = styles(unseen=True)
    return wear(face, choice[int(random.integers(len(choice)))], random)


def wear(face: Rgb, style: Style, random: np.random.Generator) -> Masked:
    """The aligned face (side, side, 3) behind such a mask."""
    side = face.shape[0]
    cover = coverage(outline(style.shape, template(side), random), side)
    cloth = _cloth(style, side, random) * _light(face)
    picture = face * (1 - cover[..., None]) + cloth * cover[..., None]
    return Masked(_bytes(picture), cover >= 0.5, style)


def outline(shape: str, landmarks: Landmarks, random: np.random.Generator | None = None) -> Points:
    """Corners in pixels; without a generator exactly as defined."""
    half = np.array(HALF_OUTLINES[shape], dtype=np.float64)
    corners = np.concatenate([half, half[-2:0:-1] * [-1, 1]])
    if random is not None:
        corners = corners * (1 + random.normal(0, SCALE_JITTER, 2))
        corners = corners + random.normal(0, SHIFT_JITTER, 2)
        corners = corners + random.normal(0, CORNER_JITTER, corners.shape)
    right_eye, left_eye, _, right_mouth, left_mouth = landmarks.astype(np.float64)
    eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
    return np.asarray(
        eyes + corners[:, :1] * (left_eye - right_eye) + corners[:, 1:] * (mouth - eyes)
    )


def coverage(corners: Points, side: int) -> NDArray[np.float32]:
    """(side, side) 0..1: the share of each pixel inside the outline."""
    fine = np.zeros((side * FINENESS, side * FINENESS), dtype=np.uint8)
    drawn = np.rint((corners + 0.5) * FINENESS - 0.5).astype(np.int32)
    cv2.fillPoly(fine, [drawn], 255)
    return np.asarray(
        cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA) / np.float32(255)
    )


def _cloth(style: Style, side: int, random: np.random.Generator) -> NDArray[np.float32]:
    """(side, side, 3) levels of the fabric in even light."""
    plain = np.array(COLOURS[style.colour], dtype=np.float32)
    fabric = (
        np.broadcast_to(plain, (side, side, 3)) * _pattern(style.pattern, side, random)[..., None]
    )
    across = (np.arange(side) - (side - 1) / 2) / (side * 35.0 / 112)
    shade = 1 - SIDE_SHADE * np.clip(across**2, 0, 1.5)
    weave = random.normal(0, WEAVE_SIGMA, (side, side, 1))
    return np.asarray(fabric * shade[None, :, None] + weave, dtype=np.float32)


def _pattern(name: str, side: int, random: np.random.Generator) -> NDArray[np.float32]:
    """(side, side) factor of the level."""
    down = np.arange(side)[:, None] / side * np.ones((1, side))
    phase, pitch = random.uniform(0, 1), random.uniform(5, 14)
    if name == "folds":
        wave = np.abs(np.sin(np.pi * FOLDS * (2 * down + phase))) ** 8
        return np.asarray(1 - FOLD_DEPTH * wave, dtype=np.float32)
    if name == "stripes":
        return np.asarray(np.where((pitch * (down.T + phase)) % 1 < 0.5, 1.0, 0.72), np.float32)
    if name == "checks":
        cells = np.floor(pitch * (down + phase)) + np.floor(pitch * (down.T + phase))
        return np.asarray(np.where(cells % 2 == 0, 1.0, 0.8), np.float32)
    return np.ones((side, side), dtype=np.float32)


def _light(face: Rgb) -> float:
    """How light the photo is beside a well-lit one."""
    return float(np.clip(face.mean() / USUAL_LEVEL, *LIGHT_RANGE))


def _bytes(picture: NDArray[np.floating]) -> Rgb:
    return np.asarray(np.rint(np.clip(picture, 0, 255)), dtype=np.uint8)
