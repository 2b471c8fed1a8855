"""What the labels themselves are worth: how near two readers of landmarks come to each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from face_models.boxes import iou
from face_models.detect import Detector, corners_of
from face_models.landmarks import LANDMARKS_FILE, LandmarkReader
from face_models.training.detector.measure import MATCH_IOU, Agreement, landmark_error
from face_models.training.detector.photos import LabelledPhoto


def agreement(weights: Path, second: Path, photos: Sequence[LabelledPhoto]) -> Agreement:
    """`second`: another landmark graph than the one that lies beside the detector's `weights`."""
    detector = Detector(weights)
    readers = LandmarkReader(weights.with_name(LANDMARKS_FILE)), LandmarkReader(second)
    rows = []
    for photo in photos:
        found = detector.search(photo.rgb)
        rough = [face.landmarks for face in found]
        first, other = (reader.read(photo.rgb, rough) for reader in readers)
        overlaps = iou(photo.corners, corners_of(found))
        for labels, overlap in zip(photo.landmarks, overlaps, strict=True):
            if overlap.max(initial=0) < MATCH_IOU:
                continue
            face = int(overlap.argmax())
            scale = np.linalg.norm(labels[0] - labels[1])
            apart = np.linalg.norm(first[face] - other[face], axis=1).mean() / max(scale, 1e-6)
            errors = (landmark_error(read[face], labels) for read in (first, other))
            rows.append((*errors, float(apart)))
    return Agreement(len(rows), *np.median(rows, axis=0).tolist())
