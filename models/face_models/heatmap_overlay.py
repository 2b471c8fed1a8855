"""Heatmap 0..1 -> colours over the crop, for people to look at."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from face_models.photo import Rgb

Heat = NDArray[np.float32]  # (H, W) in 0..1

_TURBO_POLYNOMIAL: Final = np.array(  # coefficients of 1, t, t^2 … t^5 for red, green and blue
    [
        [0.13572138, 4.61539260, -42.66032258, 132.13108234, -152.94239396, 59.28637943],
        [0.09140261, 2.19418839, 4.84296658, -14.18503333, 4.27729857, 2.82956604],
        [0.10667330, 12.64194608, -60.58204836, 110.36276771, -89.90310912, 27.34824973],
    ]
)
"""Turbo, a rainbow without false edges: Mikhailov, "Turbo, an improved rainbow colormap for
visualization", Google AI blog 2019, in the polynomial form by Ruofei Du (Apache-2.0)."""


def _turbo() -> NDArray[np.uint8]:
    shades = np.linspace(0, 1, 256)
    powers = shades[:, None] ** np.arange(_TURBO_POLYNOMIAL.shape[1])
    colours = np.clip(powers @ _TURBO_POLYNOMIAL.T, 0, 1)
    return np.asarray(np.rint(255 * colours), dtype=np.uint8)


TURBO: Final = _turbo()  # (256, 3) RGB: blue is cold, red is hot


def overlay(crop: Rgb, heat: Heat, opacity: float = 0.5) -> Rgb:
    """The crop under the heatmap's colours; opacity 0 shows the crop alone, 1 the colours alone."""
    if crop.shape[:2] != heat.shape:
        raise ValueError(f"Crop {crop.shape[:2]} and heatmap {heat.shape} differ in size.")
    if not 0 <= opacity <= 1:
        raise ValueError(f"Opacity {opacity} is not in 0..1.")
    colours = TURBO[np.rint(255 * np.clip(heat, 0, 1)).astype(np.uint8)]
    return np.asarray(np.rint((1 - opacity) * crop + opacity * colours), dtype=np.uint8)
