"""What cameras do to a picture: light, colour, blur, noise, compression."""

from __future__ import annotations

import cv2
import numpy as np

from face_models.training.detector.photos import Rgb, as_rgb, decoded

GREY_SHARE, BLUR_SHARE, NOISE_SHARE, JPEG_SHARE = 0.15, 0.2, 0.15, 0.2
BLUR_SIGMA_PX, NOISE_LEVELS, JPEG_QUALITY = (0.4, 2.0), (3.0, 18.0), (15, 85)
LEVELS = np.arange(256, dtype=np.float32) / 255


def relight(rgb: Rgb, random: np.random.Generator) -> Rgb:
    rgb = as_rgb(cv2.LUT(rgb, _tone_curves(random)))
    if random.random() < GREY_SHARE:
        rgb = as_rgb(cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))
    if random.random() < BLUR_SHARE:
        rgb = as_rgb(cv2.GaussianBlur(rgb, (0, 0), random.uniform(*BLUR_SIGMA_PX)))
    if random.random() < NOISE_SHARE:
        rgb = _noisy(rgb, random)
    return _compressed(rgb, random) if random.random() < JPEG_SHARE else rgb


def relight_cell(rgb: Rgb, random: np.random.Generator) -> Rgb:
    """Neighbours on a canvas were taken in different light."""
    contrast, brightness = random.uniform(0.8, 1.2), random.uniform(-15, 15)
    return as_rgb(cv2.convertScaleAbs(rgb, alpha=contrast, beta=brightness))


def _tone_curves(random: np.random.Generator) -> Rgb:
    """(1, 256, 3): contrast, brightness and gamma in common, a cast per channel."""
    gamma = np.exp(random.uniform(-0.7, 0.7))
    contrast, brightness = random.uniform(0.6, 1.3), random.uniform(-0.15, 0.15)
    cast = random.uniform(0.85, 1.15, 3)
    curves = ((LEVELS[:, None] ** gamma - 0.5) * contrast + 0.5 + brightness) * cast
    return as_rgb((curves.clip(0, 1) * 255)[None])


def _noisy(rgb: Rgb, random: np.random.Generator) -> Rgb:
    noise = random.standard_normal(rgb.shape, dtype=np.float32) * random.uniform(*NOISE_LEVELS)
    return as_rgb((rgb + noise).clip(0, 255))


def _compressed(rgb: Rgb, random: np.random.Generator) -> Rgb:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(*JPEG_QUALITY))]
    _, data = cv2.imencode(".jpg", rgb[:, :, ::-1], quality)
    return decoded(as_rgb(data))
