"""Training crops of the landmark network: faces about upright, as a rough look leaves them.

Two kinds of faces are learned from. Of a photo's face every landmark is labelled. A training face
of the embedding networks was aligned before it was stored: whatever its landmarks are, the
similarity transform that takes them to the template in least squares is the identity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from face_models.align import TEMPLATE_112, Affine, similarity
from face_models.landmarks import (
    CROP_PX,
    EYE_DISTANCE_PX,
    MIRRORED_LANDMARKS,
    TEMPLATE,
    on_pixel_centres,
    points_before,
)
from face_models.training.detector.canvas import placed_points, warped
from face_models.training.detector.faceless import gradient
from face_models.training.detector.lighting import relight
from face_models.training.detector.photos import Floats, LabelledPhoto, Rgb, as_rgb

LEAST_FACE_PX = 28.0  # labels of smaller faces are too rough to learn from
SCALE_JITTER, TURN_JITTER_DEG, SHIFT_JITTER = 0.22, 14.0, 0.16  # standard deviations, but the scale
SPREADS, SPREAD_SHARES = (0.3, 1.0, 2.0), (0.35, 0.5, 0.15)  # a second look; a first; a poor first
BLACK_SHARE = 0.5  # of the crops: black outside the photo, as in serving
RELIT_SHARE = 0.6
SHRINK_SHARE, LEAST_SIDE_PX = 0.15, 28  # some faces have no more pixels than that
WINDOW_SHARE = 0.25  # of the crops of photos; all of those of aligned faces
WINDOW_MIDDLE, WINDOW_RADII, WINDOW_SHIFT = (56.0, 62.0), (38.0, 46.0), 5.0  # in 112 px

TO_CROP: Affine = similarity(TEMPLATE_112, TEMPLATE)


@dataclass(frozen=True)
class Crop:
    """`offsets`: of the landmarks from the template, in eye distances; None where not labelled.

    `places`: likewise, of the points that a perfect alignment takes to the template.
    """

    rgb: Rgb  # (CROP_PX, CROP_PX, 3)
    offsets: Floats | None  # (10,)
    places: Floats  # (10,)


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
    rgb, places = warped(portrait.photo, matrix, background(random)), aligned_places(landmarks)
    if random.random() < WINDOW_SHARE:
        rgb = seen_through_window(rgb, places, random)
    return Crop(worn(rgb, random), offsets_of(landmarks), offsets_of(places))


def aligned_crop_of(face: Rgb, random: np.random.Generator) -> Crop:
    """Of a face (112, 112, 3) on the template; a round window hides where its picture ends.

    The edges would betray the turn and the place that are to be read from the face.
    """
    matrix = misplaced(TO_CROP.astype(np.float32), random)
    points = placed_points(TEMPLATE_112, matrix)
    if random.random() < 0.5:
        matrix = mirrored(matrix)
        points = placed_points(TEMPLATE_112, matrix)[MIRRORED_LANDMARKS]
    rgb = cv2.warpAffine(
        face,
        on_pixel_centres(matrix.astype(np.float64)),
        (CROP_PX, CROP_PX),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    places = aligned_places(points)
    rgb = seen_through_window(as_rgb(rgb), places, random)
    return Crop(worn(rgb, random), None, offsets_of(places))


def aligned_places(landmarks: Floats) -> Floats:
    """The points (5, 2) that alignment by these landmarks takes to the template."""
    return points_before(TEMPLATE, similarity(landmarks, TEMPLATE))


def offsets_of(points: Floats) -> Floats:
    return ((points - TEMPLATE) / EYE_DISTANCE_PX).reshape(10)


def mirrored(matrix: Floats) -> Floats:
    flipped = matrix * np.array([[-1.0], [1.0]], np.float32)
    flipped[0, 2] += CROP_PX
    return flipped


def misplaced(matrix: Floats, random: np.random.Generator) -> Floats:
    """The transform followed by a turn, scale and shift about the crop's middle."""
    spread = random.choice(SPREADS, p=SPREAD_SHARES)
    angle = math.radians(random.normal(0, spread * TURN_JITTER_DEG))
    scale = math.exp(random.uniform(-spread * SCALE_JITTER, spread * SCALE_JITTER))
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    middle = CROP_PX / 2
    shift = random.normal(0, spread * SHIFT_JITTER * EYE_DISTANCE_PX, 2)
    shift += middle - linear @ (middle, middle)
    return np.column_stack([linear @ matrix[:, :2], linear @ matrix[:, 2] + shift]).astype(
        np.float32
    )


def background(random: np.random.Generator) -> Rgb:
    if random.random() < BLACK_SHARE:
        return np.zeros((CROP_PX, CROP_PX, 3), np.uint8)
    return gradient(CROP_PX, CROP_PX, random)


def seen_through_window(rgb: Rgb, places: Floats, random: np.random.Generator) -> Rgb:
    """The inner face in an ellipse, the background around it."""
    matrix = similarity(TEMPLATE_112, places)
    middle = np.array(WINDOW_MIDDLE) + random.uniform(-WINDOW_SHIFT, WINDOW_SHIFT, 2)
    radii = random.uniform(*WINDOW_RADII, 2) * math.hypot(matrix[0, 0], matrix[1, 0])
    centre = matrix[:, :2] @ middle + matrix[:, 2]
    mask = np.zeros((CROP_PX, CROP_PX), np.uint8)
    cv2.ellipse(
        mask, (centre.tolist(), (2 * radii).tolist(), random.uniform(0, 180)), 1, cv2.FILLED
    )
    return as_rgb(cv2.copyTo(rgb, mask, background(random)))


def worn(rgb: Rgb, random: np.random.Generator) -> Rgb:
    """As few pixels as a small face has, at times; mostly in other light."""
    if random.random() < SHRINK_SHARE:
        side = int(random.integers(LEAST_SIDE_PX, CROP_PX))
        small = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)
        rgb = as_rgb(cv2.resize(small, (CROP_PX, CROP_PX), interpolation=cv2.INTER_LINEAR))
    return relight(rgb, random) if random.random() < RELIT_SHARE else rgb
