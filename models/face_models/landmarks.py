"""Rough landmarks -> exact ones: a second, tiny network looks at the upright face alone, twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from face_models.align import TEMPLATE_112, TEMPLATE_PX, Affine, Landmarks, similarity, warp
from face_models.engine import open_session
from face_models.errors import WeightsError
from face_models.photo import Rgb

LANDMARKS_FILE: Final = "landmarks.onnx"
CROP_PX: Final = 96
FACE_SHARE: Final = 0.8  # of the crop that ArcFace's 112 x 112 pixels take: a margin for mistakes
TEMPLATE: Final[Landmarks] = np.asarray(
    CROP_PX * ((TEMPLATE_112 / TEMPLATE_PX - 0.5) * FACE_SHARE + 0.5), dtype=np.float32
)
EYE_DISTANCE_PX: Final = float(np.linalg.norm(TEMPLATE[0] - TEMPLATE[1]))
MIRRORED_LANDMARKS: Final = [1, 0, 2, 4, 3]  # what was its right is a mirror image's left
LOOKS: Final = 2  # the second from where the first has put the face

Offsets = NDArray[np.float32]  # (n, 10) five times x, y, in eye distances off the template


class LandmarkReader:
    """Safe to share between threads: it holds nothing but the ONNX Runtime session.

    Raises:
        WeightsError: on construction, when the file is missing or does not read landmarks.
    """

    def __init__(self, weights: Path, threads: int = 1) -> None:
        self._session = open_session(weights, threads)
        shapes = [entry.shape[1:] for entry in self._session.get_inputs()]
        if shapes != [[3, CROP_PX, CROP_PX]]:
            raise WeightsError(f"{weights} takes {shapes}; it should take {CROP_PX} px crops.")

    def read(self, rgb: Rgb, rough: Sequence[Landmarks]) -> list[Landmarks]:
        """Of all faces, in pixels of the photo."""
        landmarks = list(rough)
        for _ in range(LOOKS if landmarks else 0):
            landmarks = self._look(rgb, landmarks)
        return landmarks

    def _look(self, rgb: Rgb, landmarks: Sequence[Landmarks]) -> list[Landmarks]:
        """All faces in one run."""
        matrices = [similarity(points, TEMPLATE) for points in landmarks]
        crops = np.stack([warp(rgb, on_pixel_centres(matrix), CROP_PX) for matrix in matrices])
        (offsets,) = self._session.run(None, {"rgb": crops.transpose(0, 3, 1, 2)})
        return [in_photo(row, matrix) for row, matrix in zip(offsets, matrices, strict=True)]


def on_pixel_centres(matrix: Affine) -> Affine:
    """The same map for OpenCV, which puts the centre of the first pixel at 0, not at 1/2."""
    half = np.array([0.5, 0.5])
    return np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2] @ half - half])


def in_photo(offsets: NDArray[np.float32], matrix: Affine) -> Landmarks:
    """The network's answer (10,) for one crop -> (5, 2) in pixels of the photo."""
    in_crop = TEMPLATE + offsets.reshape(5, 2) * EYE_DISTANCE_PX
    return points_before(in_crop, matrix)


def points_before(points: Landmarks, matrix: Affine) -> Landmarks:
    """The points that the transform takes to these."""
    return np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T.astype(np.float32)
