"""A face's box -> a square crop."""

from __future__ import annotations

import numpy as np

from face_models.align import warp
from face_models.photo import Rgb
from face_models.training.robustness.conditions import Box

MARGIN = 0.1  # of the box's longer side, around it


def square_crop(photo: Rgb, box: Box, size_px: int, margin: float = MARGIN) -> Rgb:
    """(size_px, size_px, 3) around the box's middle, as wide as its longer side and the margins.

    Black where that reaches out of the photo.
    """
    x, y, width, height = box
    side = max(width, height) * (1 + 2 * margin)
    left, top = x + width / 2 - side / 2, y + height / 2 - side / 2
    scale = size_px / side
    shift = (scale - 1) / 2  # of pixels' centres
    matrix = np.array([[scale, 0, shift - scale * left], [0, scale, shift - scale * top]])
    return warp(photo, matrix, size_px)


def face_in_crop(margin: float = MARGIN) -> Box:
    """Where the box's square lies in such a crop, as shares of its side."""
    inner = 1 / (1 + 2 * margin)
    return (1 - inner) / 2, (1 - inner) / 2, inner, inner
