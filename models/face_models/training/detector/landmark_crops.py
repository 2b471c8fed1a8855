"""Training crops of the landmark network: faces about upright, as a rough look leaves them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from face_models.align import similarity
from face_models.landmarks import CROP_PX, EYE_DISTANCE_PX, TEMPLATE
from face_models.training.detector.canvas import MIRRORED_LANDMARKS, placed_points, warped
from face_models.training.detector.faceless import gradient
from face_models.training.detector.lighting import relight
from face_models.training.detector.photos import Floats, LabelledPhoto, Rgb

LEAST_FACE_PX = 28.0  # labels of smaller faces are too rough to learn from
SCALE_JITTER, TURN_JITTER_DEG, SHIFT_JITTER = 0.22, 14.0, 0.16  # standard deviations, but the scale


@dataclass(frozen=True)
class Crop:
    rgb: Rgb  # (CROP_PX, CROP_PX, 3)
    offsets: Floats  # (10,) from the template, in eye distances


@dataclass(frozen=True)
class Portrait:
    """One labelled face of a photo, and its similarity transform onto the template."""

    photo: LabelledPhoto
    landmarks: Floats  # (5, 2)
    matrix: Floats  # (2, 3)


def portraits_of(photos: Sequence[LabelledPhoto]) -> list[Portrait]:
    return [
        Portrait(photo, landmarks, similarity(landmarks, TEMPLATE).astype(np.float32))
        for photo in photos
        for box, landmarks in zip(photo.boxes, photo.landmarks, strict=True)
        if box[3] >= LEAST_FACE_PX
    ]


def crop_of(portrait: Portrait, random: np.random.Generator) -> Crop:
    """A random mirror image, misplaced as rough landmarks misplace it, in random light."""
    matrix = misplaced(portrait.matrix, random)
    landmarks = placed_points(portrait.landmarks, matrix)
    if random.random() < 0.5:
        matrix = mirrored(matrix)
        landmarks = placed_points(portrait.landmarks, matrix)[MIRRORED_LANDMARKS]
    rgb = warped(portrait.photo, matrix, gradient(CROP_PX, CROP_PX, random))
    return Crop(relight(rgb, random), offsets_of(landmarks))


def offsets_of(landmarks: Floats) -> Floats:
    return ((landmarks - TEMPLATE) / EYE_DISTANCE_PX).reshape(10)


def mirrored(matrix: Floats) -> Floats:
    flipped = matrix * np.array([[-1.0], [1.0]], np.float32)
    flipped[0, 2] += CROP_PX
    return flipped


def misplaced(matrix: Floats, random: np.random.Generator) -> Floats:
    """The transform followed by a small turn, scale and shift about the crop's middle."""
    angle = math.radians(random.normal(0, TURN_JITTER_DEG))
    scale = math.exp(random.uniform(-SCALE_JITTER, SCALE_JITTER))
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    middle = CROP_PX / 2
    shift = random.normal(0, SHIFT_JITTER * EYE_DISTANCE_PX, 2) + middle - linear @ (middle, middle)
    return np.column_stack([linear @ matrix[:, :2], linear @ matrix[:, 2] + shift]).astype(
        np.float32
    )
