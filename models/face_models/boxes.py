"""How much boxes share; every box as its corners x1, y1, x2, y2."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

TINY_AREA: Final = np.float32(1e-9)


def iou(first: Floats, second: Floats) -> Floats:
    """Intersection over union of corners (n, 4) and (m, 4): (n, m)."""
    shared = intersection(first, second)
    union = areas(first)[:, None] + areas(second) - shared
    return np.asarray(shared / np.maximum(union, TINY_AREA))


def nesting(first: Floats, second: Floats) -> Floats:
    """Intersection over the smaller box of corners (n, 4) and (m, 4): (n, m)."""
    smaller = np.minimum(areas(first)[:, None], areas(second))
    return np.asarray(intersection(first, second) / np.maximum(smaller, TINY_AREA))


def intersection(first: Floats, second: Floats) -> Floats:
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.asarray((high - low).clip(min=0).prod(axis=2))


def areas(boxes: Floats) -> Floats:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
