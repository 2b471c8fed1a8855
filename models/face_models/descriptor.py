"""Grad-CAM++ maps -> the paper's descriptor (section 2.8): where a network looks, as one vector.

The map is resized to 128 x 128, flattened row by row to 16,384 numbers and L2-normalised, so that
descriptors are compared by their cosine, as embeddings are. Maps are nowhere negative, and so no
cosine of two descriptors is: even strangers' are high, and thresholds of embeddings mean nothing.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]  # (n, 224, 224) in 0..1
Descriptors = NDArray[np.float32]  # (n, 16384)

DESCRIPTOR_PX: Final = 128
DESCRIPTOR_NUMBERS: Final = DESCRIPTOR_PX**2
_TINY: Final = np.finfo(np.float32).tiny  # stands in for a length of 0


def heatmap_descriptor(maps: Maps) -> Descriptors:
    """One row of length 1 per map; a map that is 0 all over has no direction and stays 0.

    Resized by area (each number is the mean of the 1.75 x 1.75 pixels that it covers): the paper
    does not say how, and nothing of a map may fall between the samples.
    """
    rows = np.empty((len(maps), DESCRIPTOR_NUMBERS), dtype=np.float32)
    for row, one in zip(rows, maps, strict=True):
        size = (DESCRIPTOR_PX, DESCRIPTOR_PX)
        row[:] = cv2.resize(one, size, interpolation=cv2.INTER_AREA).ravel()
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, _TINY), dtype=np.float32)
