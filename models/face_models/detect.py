"""RGB -> faces with box, score, 5 landmarks, searched at the scales and turns the photo needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from face_models.boxes import iou, nesting
from face_models.engine import open_session
from face_models.errors import WeightsError
from face_models.landmarks import LANDMARKS_FILE, MIRRORED_LANDMARKS, LandmarkReader

Rgb = NDArray[np.uint8]  # (H, W, 3)
Floats = NDArray[np.float32]

STRIDES: Final = (8, 16, 32)
ANSWERS_PER_CELL: Final = 15  # face logit, centre x y, log size w h, 5 landmarks x y; all in cells
LARGEST_LOG_SIZE: Final = 6.0  # e^6 cells: larger than any view, and exp() stays finite

INPUT_SIDE_PX: Final = 320
FINE_SIDES_PX: Final = (640, 1280)
COARSE_SHARE: Final = 0.6  # of the input side: from there large faces are seen better,
COARSE_MARGIN_SHARE: Final = 0.1  # and a face that fills the frame shows its outline
COARSE_SCORE: Final = 0.5  # it must be surer there: from afar a smear looks like a face
LANDMARKS_NEED_PX: Final = 40.0  # height in a view below which a closer look betters the landmarks
STEEP_COSINE: Final = 0.7  # of the angle from the photo's upright: about 45 degrees

SCORE_THRESHOLD: Final = 0.43
LAST_RESORT_SCORE: Final = 0.38  # of the surest face, where a photo shows no other
THOROUGH_SIDE_PX: Final = 640  # a photo with the pixels is searched so fine whatever was found

SAME_FACE_IOU: Final = 0.4
SAME_FACE_NESTING: Final = 0.75  # of the smaller box inside the other, seen in different views
MOST_CANDIDATES: Final = 1024  # of one look: bounds what a picture made of faces costs
MOST_FACES: Final = 64  # of one photo, the surest; each is cropped and judged
QUARTER_TURNS: Final = (1, -1)  # of a photo that shows nobody upright
GREY: Final = 127
STRETCHED_PERCENTILES: Final = (1, 99)  # of the levels: they become black and white


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One face, in pixels of the photo searched; the box may reach beyond it."""

    box: tuple[float, float, float, float]  # x, y, w, h
    score: float  # 0..1
    landmarks: (
        Floats  # (5, 2) right eye, left eye, nose, right, left mouth corner; right = image left
    )


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """n answers of the network, in pixels of its input."""

    scores: Floats  # (n,)
    boxes: Floats  # (n, 4) corners x1, y1, x2, y2
    landmarks: Floats  # (n, 5, 2)

    def take(self, chosen: NDArray[np.intp]) -> Candidates:
        return Candidates(self.scores[chosen], self.boxes[chosen], self.landmarks[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A photo, shrunk or grown, on a grey canvas of whole cells of the coarsest grid."""

    canvas: Rgb
    scale: float  # canvas pixels per photo pixel
    margin_px: int  # from the canvas's upper left corner to the photo's


class Detector:
    """Two networks: one finds the faces, one reads the landmarks of each face found.

    The second lies in `landmark_weights`, by default beside the first. Safe to share between
    threads: it holds nothing but ONNX Runtime sessions and two numbers.

    Raises:
        WeightsError: on construction, when a file is missing or is not what it should be.
    """

    def __init__(
        self,
        weights: Path,
        threads: int = 1,
        *,
        landmark_weights: Path | None = None,
        input_side_px: int = INPUT_SIDE_PX,
        score_threshold: float = SCORE_THRESHOLD,
    ) -> None:
        self._session = open_session(weights, threads)
        beside = weights.with_name(LANDMARKS_FILE)
        self._reader = LandmarkReader(landmark_weights or beside, threads)
        self._input_side_px = input_side_px
        self._score_threshold = score_threshold
        self._prove(weights)

    def detect(self, rgb: Rgb) -> list[Detection]:
        """Best first."""
        found = self.search(rgb)
        landmarks = self._reader.read(rgb, [face.landmarks for face in found])
        pairs = zip(found, landmarks, strict=True)
        return [replace(face, landmarks=exact) for face, exact in pairs]

    def search(self, rgb: Rgb) -> list[Detection]:
        """Rough landmarks of at most 64 faces, the surest first.

        Looks from afar first, where large faces are seen better; then closer, until the small faces
        beside a large one are seen too and a face is large enough in view to place its landmarks;
        turns the photo if nobody in it is upright.
        Where it finds nobody, it answers the likeliest face there is: to miss one is worse.
        """
        return self._search(rgb, self._score_threshold) or self._last_resort(rgb)

    def _last_resort(self, rgb: Rgb) -> list[Detection]:
        """The likeliest face: where one look fails, another of the same photo may not."""
        threshold = min(self._score_threshold, LAST_RESORT_SCORE)
        mirrored = self._search(np.ascontiguousarray(rgb[:, ::-1]), threshold)
        found = [
            *self._search(rgb, threshold),
            *(mirrored_back(face, rgb.shape[1]) for face in mirrored),
            *self._search(stretched(rgb), threshold),
        ]
        return surest(found)[:1]

    def _search(self, rgb: Rgb, score_threshold: float) -> list[Detection]:
        large = self._from_afar(rgb, score_threshold)
        small: list[Detection] = []  # in every view yet: of them a closer look counts
        for view in self._views(rgb):
            seen = self.look(view, score_threshold)
            both = merged(large, seen)
            again = [face for face in seen if face in both]
            overlooked = [face for face in small if not same_face([face], again).any()]
            large = large_in(view, both)
            small = [*overlooked, *(face for face in both if face not in large)]
            if large and view.scale >= thorough_scale(rgb):
                break
        found = best_first([*large, *small])
        if not any(is_upright(face) for face in found):
            found = surest([*found, *self._search_turned(rgb, score_threshold)])
        return found[:MOST_FACES]

    def _from_afar(self, rgb: Rgb, score_threshold: float) -> list[Detection]:
        """Large faces alone: small ones are seen better closer."""
        side = self._input_side_px
        view = view_of(rgb, round(side * COARSE_SHARE), round(side * COARSE_MARGIN_SHARE))
        return large_in(view, self.look(view, max(score_threshold, COARSE_SCORE)))

    def look(self, view: View, score_threshold: float | None = None) -> list[Detection]:
        """One run of the network."""
        threshold = self._score_threshold if score_threshold is None else score_threshold
        answers = self._session.run(None, {"rgb": network_input(view.canvas)})
        return faces_in(view, [level[0] for level in answers], threshold)

    def _search_turned(self, rgb: Rgb, score_threshold: float) -> Iterator[Detection]:
        for turns in QUARTER_TURNS:
            view = view_of(np.rot90(rgb, turns), self._input_side_px)
            for face in self.look(view, score_threshold):
                yield turned_back(face, turns, rgb.shape)

    def _views(self, rgb: Rgb) -> Iterator[View]:
        """The whole photo, ever closer, as far as it has pixels."""
        side, longest = self._input_side_px, max(rgb.shape[:2])
        yield view_of(rgb, side)
        yield from (view_of(rgb, fine) for fine in FINE_SIDES_PX if side < fine <= 2 * longest)

    def _prove(self, weights: Path) -> None:
        """One look at nothing: a wrong graph is found now, and the first photo is not slow."""
        side = whole_cells(self._input_side_px)
        wanted = [(1, ANSWERS_PER_CELL, side // stride, side // stride) for stride in STRIDES]
        names = [entry.name for entry in self._session.get_inputs()]
        if names != ["rgb"]:
            raise WeightsError(f"{weights} takes {names}; a detector takes ['rgb'].")
        canvas = np.full((side, side, 3), GREY, np.uint8)
        shapes = [level.shape for level in self._session.run(None, {"rgb": network_input(canvas)})]
        if shapes != wanted:
            raise WeightsError(f"{weights} answers with {shapes}; a detector with {wanted}.")


def large_in(view: View, faces: Sequence[Detection]) -> list[Detection]:
    return [face for face in faces if face.box[3] * view.scale >= LANDMARKS_NEED_PX]


def is_upright(face: Detection) -> bool:
    """By the way from the eyes to the mouth, or if its landmarks say nothing."""
    across, down = face.landmarks[3:].mean(axis=0) - face.landmarks[:2].mean(axis=0)
    return bool(down >= STEEP_COSINE * np.hypot(across, down))


def thorough_scale(rgb: Rgb) -> float:
    """The scale of a view that hides no face worth finding; 1 for small photos."""
    height, width = rgb.shape[:2]
    return float(min(1.0, THOROUGH_SIDE_PX / max(height, width)))


def view_of(rgb: Rgb, side_px: int, margin_px: int = 0) -> View:
    """The photo with its longest side at `side_px`, a margin around it, padded to whole cells."""
    nearer, halvings = halved_towards(rgb, side_px)
    height, width = nearer.shape[:2]
    scale = side_px / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    photo = cv2.resize(nearer, size, interpolation=cv2.INTER_LINEAR)
    columns, rows = (whole_cells(length + 2 * margin_px) for length in size)
    canvas = np.full((rows, columns, 3), GREY, np.uint8)
    canvas[margin_px : margin_px + size[1], margin_px : margin_px + size[0]] = photo
    return View(canvas, scale / 2**halvings, margin_px)


def halved_towards(rgb: Rgb, side_px: int) -> tuple[Rgb, int]:
    """Halved while its longest side is twice `side_px` or more, and how often that was.

    Blocks of 2 x 2 are averaged; a last odd row or column is left out. What remains to shrink is
    less than twofold, where four neighbours leave nothing out. Averages over areas that are no
    whole pixels find as many faces in several times the time (tests/benchmarks/choices.py).
    """
    halvings = 0
    while max(rgb.shape[:2]) >= 2 * side_px and min(rgb.shape[:2]) >= 2:
        height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
        even = rgb[: 2 * height, : 2 * width]
        rgb = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        halvings += 1
    return rgb, halvings


def whole_cells(length_px: int) -> int:
    """The next multiple of the coarsest stride."""
    return -(-length_px // STRIDES[-1]) * STRIDES[-1]


def network_input(canvas: Rgb) -> Rgb:
    """(H, W, 3) -> (1, 3, H, W), as the exported graph takes it."""
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None])


def faces_in(view: View, levels: Sequence[Floats], score_threshold: float) -> list[Detection]:
    """The network's answers to a view -> faces in pixels of the photo, best first."""
    found = suppress(decode(levels, score_threshold))
    boxes = (found.boxes - view.margin_px) / view.scale
    landmarks = ((found.landmarks - view.margin_px) / view.scale).astype(np.float32)
    return [
        Detection((x1, y1, x2 - x1, y2 - y1), score, points)
        for score, (x1, y1, x2, y2), points in zip(
            found.scores.tolist(), boxes.tolist(), landmarks, strict=True
        )
    ]


def stretched(rgb: Rgb) -> Rgb:
    """Its light over the whole range: what is dark or pale becomes plain."""
    low, high = np.percentile(rgb, STRETCHED_PERCENTILES)
    levels = (np.arange(256) - low) * (255 / max(high - low, 1.0))
    return np.asarray(cv2.LUT(rgb, levels.clip(0, 255).round().astype(np.uint8)), np.uint8)


def mirrored_back(face: Detection, width_px: int) -> Detection:
    """Found in the mirror image -> in the photo; what was its right is its left."""
    x, y, w, h = face.box
    landmarks = face.landmarks[MIRRORED_LANDMARKS].copy()
    landmarks[:, 0] = width_px - landmarks[:, 0]
    return Detection((width_px - x - w, y, w, h), face.score, landmarks)


def turned_back(face: Detection, turns: int, shape: tuple[int, ...]) -> Detection:
    """Found in `np.rot90(photo, turns)`, `turns` 1 or -1 -> in the photo, whose shape is given."""
    x, y, w, h = face.box
    corners = unturned(np.array([[x, y], [x + w, y + h]]), turns, shape)
    (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    landmarks = unturned(face.landmarks, turns, shape).astype(np.float32)
    return Detection((x1, y1, x2 - x1, y2 - y1), face.score, landmarks)


def unturned(
    points: NDArray[np.floating], turns: int, shape: tuple[int, ...]
) -> NDArray[np.floating]:
    """(n, 2) x, y."""
    height, width = shape[:2]
    x, y = points[:, 0], points[:, 1]
    return np.stack([width - y, x] if turns == 1 else [y, height - x], axis=1)


def decode(levels: Sequence[Floats], score_threshold: float) -> Candidates:
    """One (15, rows, columns) per stride -> the cells that say "face"."""
    parts = [
        _decode_level(level, stride, score_threshold)
        for level, stride in zip(levels, STRIDES, strict=True)
    ]
    return Candidates(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
    )


def _decode_level(level: Floats, stride: int, score_threshold: float) -> Candidates:
    least_logit = np.log(score_threshold / (1 - score_threshold))
    rows, columns = np.nonzero(level[0] >= least_logit)
    answers = level[:, rows, columns].T
    centres = np.stack([columns, rows], axis=1).astype(np.float32) + np.float32(0.5)
    middles = centres + answers[:, 1:3]
    halves = np.exp(np.minimum(answers[:, 3:5], LARGEST_LOG_SIZE)) / 2
    return Candidates(
        scores=(1 / (1 + np.exp(-answers[:, 0]))).astype(np.float32),
        boxes=np.concatenate([middles - halves, middles + halves], axis=1) * stride,
        landmarks=(centres[:, None] + answers[:, 5:].reshape(-1, 5, 2)) * stride,
    )


def suppress(candidates: Candidates, least_iou: float = SAME_FACE_IOU) -> Candidates:
    """Drops every candidate that shares `least_iou` or more with a better one; best first."""
    best_first = np.argsort(-candidates.scores, kind="stable")[:MOST_CANDIDATES]
    ordered = candidates.take(best_first)
    rivals = iou(ordered.boxes, ordered.boxes) >= least_iou
    alive = np.ones(len(ordered.scores), np.bool_)
    for rank in range(len(alive)):
        if alive[rank]:
            alive[rank + 1 :] &= ~rivals[rank, rank + 1 :]
    return ordered.take(np.flatnonzero(alive))


def merged(earlier: Sequence[Detection], closer: Sequence[Detection]) -> list[Detection]:
    """Of two looks, best first; of a face in both the surer answer, of equal ones the closer.

    Only who is kept takes another's place.
    """
    kept: dict[bool, list[Detection]] = {False: [], True: []}
    looks = [*((face, True) for face in closer), *((face, False) for face in earlier)]
    for face, is_closer in sorted(looks, key=lambda one: -one[0].score):
        if not same_face([face], kept[not is_closer]).any():
            kept[is_closer].append(face)
    return best_first([*kept[True], *kept[False]])


def best_first(faces: Sequence[Detection]) -> list[Detection]:
    return sorted(faces, key=lambda face: -face.score)


def surest(faces: Sequence[Detection]) -> list[Detection]:
    """Best first; of a face seen several times the best look."""
    ordered = best_first(faces)
    rivals = same_face(ordered, ordered)
    kept: list[int] = []
    for rank in range(len(ordered)):
        if not rivals[rank, kept].any():
            kept.append(rank)
    return [ordered[rank] for rank in kept]


def same_face(first: Sequence[Detection], second: Sequence[Detection]) -> NDArray[np.bool_]:
    """(n, m), of different views."""
    boxes = corners_of(first), corners_of(second)
    return (iou(*boxes) >= SAME_FACE_IOU) | (nesting(*boxes) >= SAME_FACE_NESTING)


def corners_of(detections: Sequence[Detection]) -> Floats:
    """(n, 4) x1, y1, x2, y2."""
    boxes = np.array([face.box for face in detections], np.float32).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
