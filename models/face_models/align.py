"""5 landmarks -> similarity transform -> upright face crop on the ArcFace template."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from face_models.photo import Rgb

Landmarks = NDArray[np.float32]  # (5, 2) x, y: right eye, left eye, nose, mouth right, mouth left
Affine = NDArray[np.float64]  # (2, 3)

CROP_PX: Final = 224
TEMPLATE_PX: Final = 112
TEMPLATE_112: Final[Landmarks] = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    dtype=np.float32,
)
"""Where ArcFace (Deng et al. 2019, arXiv:1801.07698) puts the landmarks in 112 x 112 pixels."""


def align(rgb: Rgb, landmarks: Landmarks, size_px: int = CROP_PX) -> Rgb:
    """Crop (size_px, size_px, 3) with the face upright on the template; black outside the photo."""
    return warp(rgb, similarity(landmarks, template(size_px)), size_px)


def template(size_px: int) -> Landmarks:
    """Where the landmarks stand in a crop of that size, OpenCV's way: pixel 0's centre is at 0.

    The networks learnt from 112-px crops enlarged, which takes pixel i to (i + 1/2) scale - 1/2.
    """
    scale = size_px / TEMPLATE_PX
    return TEMPLATE_112 * np.float32(scale) + np.float32((scale - 1) / 2)


def warp(rgb: Rgb, matrix: Affine, size_px: int) -> Rgb:
    """Crop (size_px, size_px, 3) that shows at `matrix` @ (x, y, 1) what the photo has at x, y."""
    rgb, matrix = _without_aliasing(rgb, matrix, size_px)
    crop = cv2.warpAffine(rgb, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR)
    return np.asarray(crop, dtype=np.uint8)


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> Affine:
    """Rotation, scale and shift that take `source` to `target`, (n, 2) each, in least squares.

    Umeyama's problem (1991, IEEE PAMI 13-4) in the plane: with points as complex numbers the
    transform is z -> a z + b, and a is an ordinary regression coefficient.

    Raises:
        ValueError: all source points coincide.
    """
    from_points, to_points = _complex(source), _complex(target)
    centred = from_points - from_points.mean()
    spread = np.vdot(centred, centred).real
    if not spread > 0:
        raise ValueError("Landmarks that coincide define no similarity transform.")
    a = np.vdot(centred, to_points) / spread
    b = to_points.mean() - a * from_points.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def _complex(points: NDArray[np.floating]) -> NDArray[np.complex128]:
    x, y = np.asarray(points, dtype=np.float64).T
    return np.asarray(x + 1j * y)


def _without_aliasing(rgb: Rgb, matrix: Affine, size_px: int) -> tuple[Rgb, Affine]:
    """Where the warp would shrink twofold or more, average whole blocks of pixels first.

    Bilinear interpolation looks at four pixels only; the rest of a large face would be lost to it.
    """
    factor = int(1 / np.hypot(matrix[0, 0], matrix[1, 0]))
    if factor < 2:
        return rgb, matrix
    left, top, right, bottom = _window(matrix, size_px, rgb.shape[1], rgb.shape[0], factor)
    if right - left < factor or bottom - top < factor:
        return rgb, matrix
    width, height = (right - left) // factor, (bottom - top) // factor
    window = rgb[top : top + height * factor, left : left + width * factor]
    small = cv2.resize(window, (width, height), interpolation=cv2.INTER_AREA)
    # a pixel's centre: full = factor * (small + 1/2) - 1/2 + window's corner
    centre = (factor - 1) / 2
    to_full = np.array([[factor, 0, left + centre], [0, factor, top + centre], [0, 0, 1]])
    return np.asarray(small, dtype=np.uint8), matrix @ to_full


def _window(
    matrix: Affine, size_px: int, width: int, height: int, margin: int
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the photo's part that the crop shows, and a margin, in pixels."""
    corners = np.array([[0, 0], [size_px, 0], [0, size_px], [size_px, size_px]])
    seen = corners @ np.linalg.inv(matrix[:, :2]).T - np.linalg.solve(matrix[:, :2], matrix[:, 2])
    left, top = np.floor(seen.min(axis=0)).astype(int) - margin
    right, bottom = np.ceil(seen.max(axis=0)).astype(int) + margin
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)
