"""Pictures to measure on, composed of held-out photos: faces by size, by roll and in crowds.

A scene follows from its seed. Every face in it is one of a photo's labelled faces; those that the
frame cuts off are no question.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from face_models.training.detector.canvas import (
    Faces,
    cells_of,
    joined,
    log_uniform,
    moved,
    through,
    turned,
    visible_faces,
    warped,
)
from face_models.training.detector.faceless import gradient
from face_models.training.detector.lighting import relight
from face_models.training.detector.photos import Floats, LabelledPhoto, Labels, Rgb

SURE_LABEL = 0.8  # the labeller's score: below it, some labels are shoulders
FACE_HEIGHTS_PX = (24, 32, 48, 64, 96, 160)
SIZE_FRAME = (640, 480)  # width, height
PORTRAIT_PX = 250
PORTRAIT_SHARES = (0.3, 0.45, 0.6, 0.75)  # of its height
ROLLS_DEG = (0, 15, 30, 45, 60, 75, 90)  # to either side
ROLL_FRAME, ROLL_FACE_PX = (320, 320), 110.0
CROWDS = (4, 9, 16, 25)  # photos in a frame
CROWD_SIDE_PX = 640
CROWD_FACE_PX, CROWD_TURN_DEG, CELL_SHARE = 28.0, 20.0, 0.8  # the smallest; the most; of a cell


@dataclass(frozen=True)
class Sitter:
    """One surely labelled face of a photo."""

    photo: LabelledPhoto
    box: Floats  # (4,) x, y, w, h


Scene = tuple[Rgb, Labels]


def sitters_of(photos: Sequence[LabelledPhoto]) -> list[Sitter]:
    return [Sitter(photo, box) for photo in map(surely_labelled, photos) for box in photo.boxes]


def surely_labelled(photo: LabelledPhoto) -> LabelledPhoto:
    """Without the faces that their labeller doubted."""
    sure = photo.scores >= SURE_LABEL
    return replace(
        photo,
        boxes=photo.boxes[sure],
        landmarks=photo.landmarks[sure],
        scores=photo.scores[sure],
    )


def scenes_of_size(
    sitters: Sequence[Sitter], height_px: float, random: np.random.Generator
) -> Iterator[Scene]:
    """Every sitter once, his face so high, somewhere in a large frame."""
    for sitter in sitters:
        yield scene(sitter, SIZE_FRAME, height_px, 0.0, random)


def portraits_of(
    sitters: Sequence[Sitter], share: float, random: np.random.Generator
) -> Iterator[Scene]:
    """Every sitter once, his face so high a share of a small frame; light and camera vary."""
    for sitter in sitters:
        rgb, labels = scene(sitter, (PORTRAIT_PX, PORTRAIT_PX), share * PORTRAIT_PX, 0.0, random)
        yield relight(rgb, random), labels


def scenes_of_roll(
    sitters: Sequence[Sitter], roll_deg: float, random: np.random.Generator
) -> Iterator[Scene]:
    """Every sitter once, turned by `roll_deg` to a random side, about as large as in a portrait."""
    for sitter in sitters:
        roll = roll_deg * random.choice([-1, 1])
        yield scene(sitter, ROLL_FRAME, ROLL_FACE_PX, roll, random)


def crowds_of(
    sitters: Sequence[Sitter], count: int, random: np.random.Generator
) -> Iterator[Scene]:
    """Every sitter once, `count` in a frame."""
    for start in range(0, len(sitters), count):
        yield crowd(sitters[start : start + count], random)


def scene(
    sitter: Sitter,
    frame: tuple[int, int],
    height_px: float,
    roll_deg: float,
    random: np.random.Generator,
) -> Scene:
    rgb, faces = placed(sitter, frame, height_px, roll_deg, random)
    return rgb, must_be_found(faces)


def crowd(sitters: Sequence[Sitter], random: np.random.Generator) -> Scene:
    rgb = np.empty((CROWD_SIDE_PX, CROWD_SIDE_PX, 3), np.uint8)
    found = []
    for sitter, (x, y, width, height) in zip(
        sitters, cells_of(CROWD_SIDE_PX, len(sitters), random), strict=True
    ):
        largest = max(CELL_SHARE * min(width, height), CROWD_FACE_PX + 1)
        face_px = log_uniform(CROWD_FACE_PX, largest, random)
        turn = random.uniform(-CROWD_TURN_DEG, CROWD_TURN_DEG)
        content, faces = placed(sitter, (width, height), face_px, turn, random)
        rgb[y : y + height, x : x + width] = content
        found.append(moved(faces, x, y))
    return rgb, must_be_found(joined(found))


def placed(
    sitter: Sitter,
    frame: tuple[int, int],
    height_px: float,
    roll_deg: float,
    random: np.random.Generator,
) -> tuple[Rgb, Faces]:
    """The sitter's photo on a gradient, his face wholly within the frame if there is room."""
    x, y, w, h = sitter.box.tolist()
    reach = math.hypot(w, h) / h * height_px / 2
    middle = [random.uniform(min(reach, s / 2), max(s - reach, s / 2)) for s in frame]
    linear = turned(height_px / h, math.radians(roll_deg))
    matrix = through(linear, (x + w / 2, y + h / 2), middle)
    rgb = warped(sitter.photo, matrix, gradient(*frame, random))
    return rgb, visible_faces(sitter.photo, matrix, *frame)


def must_be_found(faces: Faces) -> Labels:
    kept = faces.found > 0
    corners = faces.boxes[kept]
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return Labels(boxes, faces.landmarks[kept])
