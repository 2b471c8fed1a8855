"""Aligned crop -> how much of the face is hidden: the answer of a tiny network of its own.

It looks at 24 x 20 grey cells of the face (mean levels, standardised) and at the contrast inside
10 x 12 larger ones (logarithm, against the whole face's): 600 numbers, one hidden layer of 16, one
answer. `face-models quality --fit` trains it on faces that are covered on purpose: plain and
patterned blocks, bars over the eyes, masks; blurred, dark or noisy faces stand among them, so that
those do not pass for hidden ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from face_models.photo import Rgb
from face_models.spec import WEIGHTS_DIR

OCCLUSION_FILE: Final = "occlusion.npz"
SEEN: Final = (12 / 112, 108 / 112, 16 / 112, 96 / 112)  # top, bottom, left, right: shares of crop
SEEN_SIZE: Final = (80, 96)  # width, height in pixels of ArcFace's 112
CELLS: Final = (20, 24)
LARGE_CELLS: Final = (10, 12)
LEVEL_FLOOR: Final = 4.0  # grey levels added to the deviation: a flat crop has none
CONTRAST_FLOOR: Final = 0.02
FEATURES: Final = CELLS[0] * CELLS[1] + LARGE_CELLS[0] * LARGE_CELLS[1]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class OcclusionNetwork:
    """ReLU(x A + a) B + b; the features' mean and deviation are folded into A and a."""

    hidden: Floats  # (600, 16)
    hidden_bias: Floats  # (16,)
    answer: Floats  # (16,)
    answer_bias: Floats  # ()

    def __call__(self, crop: Rgb) -> float:
        """Share of the face that is hidden, 0..1, roughly."""
        active = np.maximum(features(crop) @ self.hidden + self.hidden_bias, 0)
        return float(np.clip(active @ self.answer + self.answer_bias, 0, 1))

    @classmethod
    def load(cls, path: Path) -> OcclusionNetwork:
        with np.load(path) as stored:
            return cls(**{name: stored[name].astype(np.float32) for name in cls.__slots__})

    def save(self, path: Path) -> None:
        np.savez_compressed(
            path, **{name: getattr(self, name).astype(np.float16) for name in self.__slots__}
        )


@cache
def shipped() -> OcclusionNetwork:
    """The network of the weights folder, read once."""
    return OcclusionNetwork.load(WEIGHTS_DIR / OCCLUSION_FILE)


def features(crop: Rgb) -> Floats:
    """600 numbers of one aligned crop of any size; brightness and contrast cancel out."""
    side = crop.shape[0]
    top, bottom, left, right = (round(side * share) for share in SEEN)
    grey = cv2.cvtColor(crop[top:bottom, left:right], cv2.COLOR_RGB2GRAY).astype(np.float32)
    face = cv2.resize(grey, SEEN_SIZE, interpolation=cv2.INTER_AREA)
    cells = cv2.resize(face, CELLS, interpolation=cv2.INTER_AREA)
    spread = float(cells.std()) + LEVEL_FLOOR
    levels = (cells - cells.mean()) / spread
    mean = cv2.resize(face, LARGE_CELLS, interpolation=cv2.INTER_AREA)
    square = cv2.resize(face * face, LARGE_CELLS, interpolation=cv2.INTER_AREA)
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    contrast = np.log(deviation / spread + CONTRAST_FLOOR)
    return np.concatenate([levels.ravel(), contrast.ravel()]).astype(np.float32)
