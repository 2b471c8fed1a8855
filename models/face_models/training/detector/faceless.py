"""Pictures without a face: gradients, doodles and snow, to learn what a face is not."""

from __future__ import annotations

import cv2
import numpy as np

from face_models.training.detector.photos import Rgb, as_rgb

DOODLE_LETTERS = list("ABCDEFGHKMNOPRSTUWXYZ0123456789:;()-.,%&@")


def gradient(width: int, height: int, random: np.random.Generator) -> Rgb:
    grid = int(random.integers(1, 7))
    colours = random.integers(0, 256, (grid, grid, 3), dtype=np.uint8)
    return as_rgb(cv2.resize(colours, (width, height), interpolation=cv2.INTER_LINEAR))


def snow(width: int, height: int, random: np.random.Generator) -> Rgb:
    """Noise of a random grain."""
    grain = int(random.integers(1, 9))
    size = (height // grain + 1, width // grain + 1, 3)
    noise = random.integers(0, 256, size, dtype=np.uint8)
    return as_rgb(cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR))


def doodle(width: int, height: int, random: np.random.Generator) -> Rgb:
    """Ellipses, boxes, strokes and letters: nearer to a face than a gradient."""
    rgb = gradient(width, height, random)
    for _ in range(random.integers(3, 25)):
        _stroke(rgb, random)
    return rgb


def _stroke(rgb: Rgb, random: np.random.Generator) -> None:
    height, width = rgb.shape[:2]
    colour = [int(level) for level in random.integers(0, 256, 3)]
    x, y = int(random.integers(width)), int(random.integers(height))
    a, b = (int(size) for size in random.integers(1, max(2, min(width, height) // 3), 2))
    thickness = int(random.choice([-1, 1, 2, 4]))
    match random.integers(4):
        case 0:
            cv2.ellipse(rgb, (x, y), (a, b), random.uniform(0, 180), 0, 360, colour, thickness)
        case 1:
            cv2.rectangle(rgb, (x, y), (x + a, y + b), colour, thickness)
        case 2:
            cv2.line(rgb, (x, y), (x + a - b, y + b - a), colour, abs(thickness))
        case _:
            word = "".join(random.choice(DOODLE_LETTERS, random.integers(1, 8)))
            font = int(random.integers(8))  # one of OpenCV's eight Hershey fonts
            cv2.putText(rgb, word, (x, y), font, a / 25, colour, abs(thickness))
