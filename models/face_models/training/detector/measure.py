"""How well faces are found: average precision, recall at a rate of false alarms, landmark error.

And how recall and landmark error depend on what the faces are like.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from face_models.boxes import iou
from face_models.detect import Detection, Floats, corners_of
from face_models.training.detector.photos import Labels

MATCH_IOU = 0.5
FALSE_ALARMS_PER_PHOTO = 0.1
NORMAL_95 = 1.96  # standard deviations


@dataclass(frozen=True)
class DetectorReport:
    """Against a detector's labels: a face that they miss counts as a false alarm."""

    photos: int
    faces: int
    average_precision: float  # one look at the usual size, any score, IoU 0.5
    recall: float  # one look, at the score that gives `FALSE_ALARMS_PER_PHOTO`
    recall_threshold: float
    served_recall: float  # as served: threshold, closer looks
    served_false_alarms_per_photo: float
    landmark_error: float  # as served: mean distance / distance of the eyes, over the faces found
    median_landmark_error: float
    mean_iou: float

    def __str__(self) -> str:
        return (
            f"AP50 {self.average_precision:.4f}, recall {self.recall:.4f} at "
            f"{FALSE_ALARMS_PER_PHOTO} false alarms a photo (score {self.recall_threshold:.2f}); "
            f"served: recall {self.served_recall:.4f} at {self.served_false_alarms_per_photo:.3f}, "
            f"landmark error {self.landmark_error:.4f} of the eye distance "
            f"(median {self.median_landmark_error:.4f}), IoU {self.mean_iou:.3f}"
        )


@dataclass(frozen=True)
class Band:
    """Faces of one kind, as served. Recall with its 95 % interval (Wilson 1927)."""

    kind: str
    faces: int
    recall: float
    recall_low: float
    recall_high: float
    median_landmark_error: float | None  # None: nobody was found
    landmark_error: float | None


@dataclass(frozen=True)
class FalseAlarms:
    """On pictures of one kind, none of which shows a person."""

    kind: str
    pictures: int
    alarms: int
    pictures_with_any: int


@dataclass(frozen=True)
class Agreement:
    """Of two readers of landmarks: median distances in eye distances, on the faces found.

    Where two networks that learnt apart agree far better with each other than with the labels,
    their distance from the labels is the labels' own error.
    """

    faces: int
    first_from_labels: float
    second_from_labels: float
    apart: float


@dataclass(frozen=True)
class SceneReport(DetectorReport):
    """`by_score`: of the labeller; the others on scenes composed of surely labelled faces."""

    by_score: tuple[Band, ...] = ()
    by_size: tuple[Band, ...] = ()
    by_share: tuple[Band, ...] = ()
    by_roll: tuple[Band, ...] = ()
    by_crowd: tuple[Band, ...] = ()
    false_alarms: tuple[FalseAlarms, ...] = ()
    readers: Agreement | None = None  # None: nobody gave a second one


@dataclass(frozen=True)
class Matches:
    """All detections of all photos, best first."""

    scores: Floats
    hits: NDArray[np.bool_]
    overlaps: Floats
    landmark_errors: Floats


def report(
    labels: Sequence[Labels],
    seen: Sequence[Sequence[Detection]],
    served: Sequence[Sequence[Detection]],
) -> DetectorReport:
    """`seen`: at any score, from one look; `served`: what the detector answers."""
    curve, answers = match_all(labels, seen), match_all(labels, served)
    faces = sum(len(photo.boxes) for photo in labels)
    allowed = count_within(curve.hits, FALSE_ALARMS_PER_PHOTO * len(labels))
    return DetectorReport(
        photos=len(labels),
        faces=faces,
        average_precision=average_precision(curve.hits, faces),
        recall=float(curve.hits[:allowed].sum() / faces),
        recall_threshold=float(curve.scores[allowed - 1]) if allowed else 1.0,
        served_recall=float(answers.hits.sum() / faces),
        served_false_alarms_per_photo=float((~answers.hits).sum() / len(labels)),
        landmark_error=mean(answers.landmark_errors[answers.hits]),
        median_landmark_error=median(answers.landmark_errors[answers.hits]),
        mean_iou=mean(answers.overlaps[answers.hits]),
    )


def match_all(labels: Sequence[Labels], detections: Sequence[Sequence[Detection]]) -> Matches:
    rows = [
        row for photo, found in zip(labels, detections, strict=True) for row in match(photo, found)
    ]
    table = np.array(sorted(rows, key=lambda row: -row[0]), np.float32).reshape(-1, 4)
    return Matches(table[:, 0], table[:, 1] > 0, table[:, 2], table[:, 3])


def match(photo: Labels, found: Sequence[Detection]) -> list[tuple[float, bool, float, float]]:
    """Score, hit, IoU, landmark error of each detection; a labelled face is hit once at most."""
    rows, open_faces = [], np.ones(len(photo.boxes), np.bool_)
    overlaps = iou(corners_of(found), photo.corners)
    for detection, overlap in zip(found, overlaps, strict=True):
        face = int(np.argmax(overlap * open_faces))
        hit = bool(open_faces[face] and overlap[face] >= MATCH_IOU)
        open_faces[face] &= not hit
        error = landmark_error(detection.landmarks, photo.landmarks[face])
        rows.append((detection.score, hit, float(overlap[face]), error))
    return rows


def errors_by_face(photo: Labels, found: Sequence[Detection]) -> Floats:
    """(n,) landmark error of the detection that overlaps a labelled face most; inf: not found."""
    errors = np.full(len(photo.boxes), np.inf, np.float32)
    overlaps = iou(photo.corners, corners_of(found))
    for face, overlap in enumerate(overlaps):
        if overlap.max(initial=0) >= MATCH_IOU:
            nearest = found[int(overlap.argmax())]
            errors[face] = landmark_error(nearest.landmarks, photo.landmarks[face])
    return errors


def band(kind: str, errors: Floats) -> Band:
    """`errors`: landmark errors by face, inf where not found."""
    hits = errors[np.isfinite(errors)]
    low, high = wilson(len(hits), len(errors))
    share = len(hits) / max(len(errors), 1)
    errors_found = (median(hits), mean(hits)) if len(hits) else (None, None)
    return Band(kind, len(errors), share, low, high, *errors_found)


def wilson(hits: int, faces: int) -> tuple[float, float]:
    """95 % interval of a share."""
    if not faces:
        return 0.0, 1.0
    share, z = hits / faces, NORMAL_95
    middle = (share + z * z / (2 * faces)) / (1 + z * z / faces)
    half = z / (1 + z * z / faces) * math.sqrt(share * (1 - share) / faces + (z / faces / 2) ** 2)
    return middle - half, middle + half


def landmark_error(found: Floats, labelled: Floats) -> float:
    """Mean distance over the distance of the labelled eyes."""
    eyes = np.linalg.norm(labelled[0] - labelled[1])
    return float(np.linalg.norm(found - labelled, axis=1).mean() / max(eyes, 1e-6))


def count_within(hits: NDArray[np.bool_], false_alarms: float) -> int:
    """How many of the best detections may be taken with no more false alarms than that."""
    return int(np.searchsorted((~hits).cumsum(), false_alarms, side="right"))


def average_precision(hits: NDArray[np.bool_], faces: int) -> float:
    """Area under the interpolated precision-recall curve; `hits` best first."""
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[hits].sum() / faces)


def mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def median(values: Floats) -> float:
    return float(np.median(values)) if len(values) else float("nan")
