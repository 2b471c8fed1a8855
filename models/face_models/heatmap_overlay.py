"""Heatmap 0..1 -> colours over the crop, for people to look at."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from face_models.photo import Rgb

Heat = NDArray[np.float32]  # (H, W) in 0..1


def overlay(crop: Rgb, heat: Heat, opacity: float = 0.5) -> Rgb:
    """The crop under the heatmap's colours; opacity 0 shows the crop alone, 1 the colours alone."""
    if crop.shape[:2] != heat.shape:
        raise ValueError(f"Crop {crop.shape[:2]} and heatmap {heat.shape} differ in size.")
    if not 0 <= opacity <= 1:
        raise ValueError(f"Opacity {opacity} is not in 0..1.")
    blended = (1 - opacity) * crop + opacity * turbo(heat)
    return np.asarray(np.rint(blended), dtype=np.uint8)


def turbo(heat: Heat) -> Rgb:
    """Blue is cold, red is hot: Turbo (Mikhailov 2019), a rainbow without jet's false edges."""
    levels = np.rint(255 * np.clip(heat, 0, 1)).astype(np.uint8)
    bgr = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
