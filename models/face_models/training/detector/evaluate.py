"""Measures an exported detector on labelled photos: what the network sees, and what is served."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from face_models.detect import INPUT_SIDE_PX, Detector, view_of
from face_models.training.detector.measure import DetectorReport, report
from face_models.training.detector.photos import Labels, Rgb, read_lfw, read_photos

ANY_SCORE = 0.02


def evaluate(weights: Path, data_dir: Path, split: str) -> DetectorReport:
    """`split`: train, val or lfw.

    LFW's reference names one face a photo, so there every other person found is a "false alarm":
    read only its recall and landmark error. It is for reporting, never for choosing.
    """
    curious, serving = Detector(weights, score_threshold=ANY_SCORE), Detector(weights)
    labels, seen, served = [], [], []
    for rgb, faces in _labelled(data_dir, split):
        labels.append(faces)
        seen.append(curious.look(view_of(rgb, INPUT_SIDE_PX)))
        served.append(serving.detect(rgb))
    return report(labels, seen, served)


def _labelled(data_dir: Path, split: str) -> Iterable[tuple[Rgb, Labels]]:
    if split == "lfw":
        return read_lfw(data_dir)
    return ((photo.rgb, photo) for photo in read_photos(data_dir, split))
