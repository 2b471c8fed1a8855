"""Training canvases: photos scaled, turned and mirrored into cells: single faces make crowds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from face_models.landmarks import MIRRORED_LANDMARKS, on_pixel_centres
from face_models.training.detector.faceless import doodle, gradient, snow
from face_models.training.detector.lighting import relight, relight_cell
from face_models.training.detector.photos import Floats, LabelledPhoto, Rgb, as_rgb
from face_models.training.detector.settings import CanvasSettings

FOUND_FROM, SEEN_FROM = 0.65, 0.25  # visible share of a face: must be found; may be found
SMALLEST_FACE_PX = 9.0  # smaller faces may be found, need not
LARGEST_SHARE = 1.1  # of the cell's shorter side
PLACE_TRIES = 6
DRAWN_SHARE = 0.25  # of the faceless pictures; the others are pieces of photos
FACELESS_SCALE = (0.6, 4.0)
COVER_SIDE = (0.2, 0.65)  # of the face's own sides

Cell = tuple[int, int, int, int]  # x, y, w, h


@dataclass(frozen=True)
class Faces:
    boxes: Floats  # (n, 4) corners
    landmarks: Floats  # (n, 5, 2)
    found: Floats  # (n,) 1: must be found, 0: may be found


@dataclass(frozen=True)
class Canvas:
    rgb: Rgb
    faces: Faces


NO_FACES = Faces(
    boxes=np.zeros((0, 4), np.float32),
    landmarks=np.zeros((0, 5, 2), np.float32),
    found=np.zeros(0, np.float32),
)


class Composer:
    """`difficulty`: 0..1 of every face of every photo; a share of cells is drawn by its square."""

    def __init__(
        self,
        photos: Sequence[LabelledPhoto],
        settings: CanvasSettings,
        difficulty: Sequence[Floats] = (),
    ) -> None:
        self._photos = photos
        self._settings = settings
        self._places = [(photo, i) for photo in photos for i in range(len(photo.boxes))]
        weights = np.concatenate([*difficulty, np.zeros(0)]).astype(np.float64) ** 2
        self._by_difficulty = weights.cumsum() / weights.sum() if weights.any() else None

    def compose(self, random: np.random.Generator) -> Canvas:
        side = self._settings.side_px
        rgb = np.empty((side, side, 3), np.uint8)
        found = []
        for cell in cells_of(side, self._cell_count(random), random):
            x, y, width, height = cell
            content, faces = self._fill(width, height, random)
            rgb[y : y + height, x : x + width] = content
            found.append(moved(faces, x, y))
        return Canvas(relight(rgb, random), joined(found))

    def _cell_count(self, random: np.random.Generator) -> int:
        if random.random() >= self._settings.crowd_share:
            return 1
        low, high = self._settings.crowd_cells
        return int(random.integers(low, high + 1))

    def _fill(self, width: int, height: int, random: np.random.Generator) -> tuple[Rgb, Faces]:
        if random.random() < self._settings.faceless_share:
            return self._faceless(self._any_photo(random), width, height, random), NO_FACES
        photo, face = self._any_face(random)
        matrix = self._placement(photo.boxes[face], width, height, random)
        rgb = warped(photo, matrix, self._background(width, height, random))
        faces = visible_faces(photo, matrix, width, height)
        for box in faces.boxes[random.random(len(faces.boxes)) < self._settings.covered_share]:
            cover(rgb, box, self._any_photo(random).rgb, random)
        return relight_cell(rgb, random), faces

    def _background(self, width: int, height: int, random: np.random.Generator) -> Rgb:
        if random.random() < 0.5:
            return gradient(width, height, random)
        return self._faceless(self._any_photo(random), width, height, random)

    def _any_face(self, random: np.random.Generator) -> tuple[LabelledPhoto, int]:
        if self._by_difficulty is None or random.random() >= self._settings.hard_share:
            photo = self._any_photo(random)
            return photo, int(random.integers(len(photo.boxes)))
        return self._places[int(np.searchsorted(self._by_difficulty, random.random()))]

    def _any_photo(self, random: np.random.Generator) -> LabelledPhoto:
        return self._photos[int(random.integers(len(self._photos)))]

    def _placement(
        self, box: Floats, width: int, height: int, random: np.random.Generator
    ) -> Floats:
        """Photo pixels -> cell pixels: the face gets a random height, turn and place."""
        x, y, w, h = box
        face_px = self._face_px(min(width, height), random)
        linear = turned(face_px / h, self._turn(random), mirrored=random.random() < 0.5)
        reach = face_px * min(w / h, 1.0) / 2
        target = [place_along(side, reach, random) for side in (width, height)]
        return through(linear, (x + w / 2, y + h / 2), target)

    def _face_px(self, cell_side: int, random: np.random.Generator) -> float:
        low, high = self._settings.face_px
        return log_uniform(low, max(low + 1, min(high, LARGEST_SHARE * cell_side)), random)

    def _turn(self, random: np.random.Generator) -> float:
        steep = random.random() < self._settings.steep_share
        most = self._settings.steep_turn_deg if steep else self._settings.turn_deg
        return math.radians(random.uniform(-most, most))

    def _faceless(
        self, photo: LabelledPhoto, width: int, height: int, random: np.random.Generator
    ) -> Rgb:
        if random.random() < DRAWN_SHARE:
            return [gradient, doodle, snow][random.integers(3)](width, height, random)
        for _ in range(PLACE_TRIES):
            linear = turned(log_uniform(*FACELESS_SCALE, random), random.uniform(-0.5, 0.5))
            middle = random.uniform((0, 0), photo.rgb.shape[1::-1]).tolist()
            matrix = through(linear, middle, (width / 2, height / 2))
            if not len(visible_faces(photo, matrix, width, height, seen_from=0.0).boxes):
                return warped(photo, matrix, gradient(width, height, random))
        return gradient(width, height, random)


def cover(rgb: Rgb, box: Floats, other: Rgb, random: np.random.Generator) -> None:
    """A piece of another photo, round or square, over a part of the face: a hand, a cap, a mask."""
    x1, y1, x2, y2 = box.tolist()
    middle = round(random.uniform(x1, x2)), round(random.uniform(y1, y2))
    half = tuple(
        max(1, round(side * random.uniform(*COVER_SIDE) / 2)) for side in (x2 - x1, y2 - y1)
    )
    mask = np.zeros(rgb.shape[:2], np.uint8)
    if random.random() < 0.5:
        cv2.ellipse(mask, middle, half, random.uniform(0, 180), 0, 360, 1, cv2.FILLED)
    else:
        low = (middle[0] - half[0], middle[1] - half[1])
        high = (middle[0] + half[0], middle[1] + half[1])
        cv2.rectangle(mask, low, high, 1, cv2.FILLED)
    cv2.copyTo(cv2.resize(other, (rgb.shape[1], rgb.shape[0])), mask, rgb)


def cells_of(side: int, count: int, random: np.random.Generator) -> list[Cell]:
    """Cuts the largest cell in two, across its longer side, until there are `count`."""
    cells: list[Cell] = [(0, 0, side, side)]
    while len(cells) < count:
        x, y, w, h = cells.pop(max(range(len(cells)), key=lambda i: cells[i][2] * cells[i][3]))
        share = random.uniform(0.35, 0.65)
        if w >= h:
            cut = int(w * share)
            cells += [(x, y, cut, h), (x + cut, y, w - cut, h)]
        else:
            cut = int(h * share)
            cells += [(x, y, w, cut), (x, y + cut, w, h - cut)]
    return cells


def turned(scale: float, angle: float, *, mirrored: bool = False) -> Floats:
    """The linear part (2, 2) of a similarity; `angle` in radians."""
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]], np.float32)
    return linear * np.array([-1.0, 1.0], np.float32) if mirrored else linear


def through(linear: Floats, source: Sequence[float], target: Sequence[float]) -> Floats:
    """The affine matrix (2, 3) with that linear part that takes the source point to the target."""
    offset = np.asarray(target) - linear @ np.asarray(source)
    return np.column_stack([linear, offset]).astype(np.float32)


def place_along(side: int, reach: float, random: np.random.Generator) -> float:
    """Where the middle of a face may lie, so that all of it is seen if there is room."""
    return random.uniform(min(reach, side / 2), max(side - reach, side / 2))


def warped(photo: LabelledPhoto, matrix: Floats, background: Rgb) -> Rgb:
    """The photo on the background, from the halved copy that needs no more than halving."""
    scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
    level = min(max(int(-math.log2(max(scale, 1e-6)) + 0.4), 0), len(photo.halves) - 1)
    from_half = np.column_stack([matrix[:, :2] * 2.0**level, matrix[:, 2]])
    height, width = background.shape[:2]
    picture = cv2.warpAffine(
        photo.halves[level],
        on_pixel_centres(from_half.astype(np.float64)),
        (width, height),
        dst=background.copy(),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_TRANSPARENT,
    )
    return as_rgb(picture)


def visible_faces(
    photo: LabelledPhoto, matrix: Floats, width: int, height: int, seen_from: float = SEEN_FROM
) -> Faces:
    boxes, landmarks = placed_boxes(photo.boxes, matrix), placed_points(photo.landmarks, matrix)
    if np.linalg.det(matrix[:, :2]) < 0:
        landmarks = landmarks[:, MIRRORED_LANDMARKS]
    inside = np.clip(boxes, 0, (width, height, width, height))
    size, seen = boxes[:, 2:] - boxes[:, :2], inside[:, 2:] - inside[:, :2]
    share = seen.prod(axis=1) / np.maximum(size.prod(axis=1), 1e-6)
    found = (share >= FOUND_FROM) & (size.max(axis=1) >= SMALLEST_FACE_PX)
    kept = share > seen_from
    return Faces(boxes[kept], landmarks[kept], found[kept].astype(np.float32))


def placed_points(points: Floats, matrix: Floats) -> Floats:
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def placed_boxes(boxes: Floats, matrix: Floats) -> Floats:
    """Corners of the upright boxes around the turned ellipses; turned boxes would be too wide."""
    middle = placed_points((boxes[:, :2] + boxes[:, 2:] / 2).astype(np.float32), matrix)
    half = np.sqrt((boxes[:, 2:] / 2) ** 2 @ (matrix[:, :2] ** 2).T)
    return np.concatenate([middle - half, middle + half], axis=1).astype(np.float32)


def moved(faces: Faces, x: int, y: int) -> Faces:
    shift = np.array([x, y], np.float32)
    return Faces(faces.boxes + np.tile(shift, 2), faces.landmarks + shift, faces.found)


def joined(parts: Sequence[Faces]) -> Faces:
    return Faces(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
        np.concatenate([part.found for part in parts]),
    )


def log_uniform(low: float, high: float, random: np.random.Generator) -> float:
    return math.exp(random.uniform(math.log(low), math.log(high)))
