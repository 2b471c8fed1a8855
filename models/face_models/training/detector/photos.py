"""The photos the detector learns from and is measured on, with their labels."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray
from pyarrow import parquet

Rgb = NDArray[np.uint8]  # (H, W, 3)
Floats = NDArray[np.float32]

HALVINGS = 3
LFW_BOX = ("x", "y", "w", "h")
LFW_LANDMARKS = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")


@dataclass(frozen=True)
class Labels:
    boxes: Floats  # (n, 4) x, y, w, h in pixels
    landmarks: Floats  # (n, 5, 2) in pixels

    @property
    def corners(self) -> Floats:
        return np.concatenate([self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]], axis=1)


@dataclass(frozen=True)
class LabelledPhoto(Labels):
    """`halves`: the photo, then half its size, a quarter …, so that shrinking never aliases."""

    scores: Floats  # (n,) the labeller's, 0..1
    halves: tuple[Rgb, ...]

    @property
    def rgb(self) -> Rgb:
        return self.halves[0]


def read_photos(data_dir: Path, split: str) -> list[LabelledPhoto]:
    """`detect/photos.parquet`, one split, decoded once into memory."""
    path = data_dir / "detect" / "photos.parquet"
    rows = parquet.read_table(path, filters=[("split", "==", split)]).to_pylist()
    return [_labelled_photo(row) for row in rows]


def read_lfw(data_dir: Path) -> Iterator[tuple[Rgb, Labels]]:
    """Labeled Faces in the Wild with its reference faces, one a photo; for reporting only."""
    folder = data_dir / "lfw"
    with (folder / "faces.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            data = np.fromfile(folder / "photos" / row["photo"], np.uint8)
            yield decoded(data), _lfw_labels(row)


def decoded(data: NDArray[np.uint8]) -> Rgb:
    """The bytes of a trusted JPEG, PNG or WebP."""
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise ValueError(f"{len(data)} bytes that are no picture")
    return as_rgb(picture)


def as_rgb(picture: MatLike) -> Rgb:
    """OpenCV answers bytes with bytes, but its types do not say so."""
    return np.asarray(picture, np.uint8)


def halved(rgb: Rgb, halvings: int = HALVINGS) -> tuple[Rgb, ...]:
    halves = [rgb]
    for _ in range(halvings):
        height, width = halves[-1].shape[:2]
        size = (max(width // 2, 1), max(height // 2, 1))
        halves.append(as_rgb(cv2.resize(halves[-1], size, interpolation=cv2.INTER_AREA)))
    return tuple(halves)


def _labelled_photo(row: Mapping[str, Any]) -> LabelledPhoto:
    return LabelledPhoto(
        boxes=np.asarray(row["boxes_xywh"], np.float32).reshape(-1, 4),
        landmarks=np.asarray(row["landmarks_xy"], np.float32).reshape(-1, 5, 2),
        scores=np.asarray(row["scores"], np.float32),
        halves=halved(decoded(np.frombuffer(row["image"], np.uint8))),
    )


def _lfw_labels(row: Mapping[str, str]) -> Labels:
    points = [float(row[f"{name}_{axis}"]) for name in LFW_LANDMARKS for axis in "xy"]
    return Labels(
        boxes=np.array([[float(row[side]) for side in LFW_BOX]], np.float32),
        landmarks=np.array(points, np.float32).reshape(1, 5, 2),
    )
