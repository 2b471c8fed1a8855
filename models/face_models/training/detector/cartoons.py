"""Pictures of no person, to measure false alarms: textures, pets and cartoons, drawn by code."""

from __future__ import annotations

import math

import cv2
import numpy as np

from face_models.training.detector.faceless import gradient
from face_models.training.detector.photos import Rgb, as_rgb

Colour = tuple[int, int, int]
OCTAVES = 6
BLACK: Colour = (20, 20, 20)


def clouds(width: int, height: int, random: np.random.Generator) -> Rgb:
    """Noise of every grain at once: sky, stone, foliage."""
    sum_ = np.zeros((height, width, 3), np.float32)
    for octave in range(OCTAVES):
        size = (2 + 2**octave, 2 + 2**octave, 3)
        grain = random.random(size, np.float32) * random.uniform(0.5, 0.8) ** octave
        sum_ += cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)
    low, high = sum_.min(), sum_.max()
    return as_rgb((sum_ - low) / max(high - low, 1e-6) * 255)


def weave(width: int, height: int, random: np.random.Generator) -> Rgb:
    """Two gratings at an angle: cloth, blinds, tiles, fences."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    picture = np.zeros((height, width), np.float32)
    for _ in range(2):
        angle, period = random.uniform(0, math.pi), random.uniform(6, 60)
        wave = np.sin((x * math.cos(angle) + y * math.sin(angle)) * 2 * math.pi / period)
        picture += np.sign(wave) if random.random() < 0.5 else wave
    share = ((picture + 2) / 4)[:, :, None]
    first, second = (np.array(any_colour(random), np.float32) for _ in range(2))
    return as_rgb(first * share + second * (1 - share))


def bricks(width: int, height: int, random: np.random.Generator) -> Rgb:
    rgb = np.full((height, width, 3), any_colour(random), np.uint8)
    tall = int(random.integers(10, 50))
    wide = int(tall * random.uniform(1, 3))
    for row, y in enumerate(range(0, height, tall)):
        for x in range(-(row % 2) * wide // 2, width, wide):
            colour = shaded((150, 80, 60), random)
            cv2.rectangle(rgb, (x + 2, y + 2), (x + wide - 2, y + tall - 2), colour, cv2.FILLED)
    return rgb


def smiley(width: int, height: int, random: np.random.Generator) -> Rgb:
    """A round cartoon face: outline, two eyes, mouth."""
    rgb = gradient(width, height, random)
    x, y, r = place(width, height, random)
    cv2.circle(rgb, (x, y), r, any_colour(random), cv2.FILLED)
    cv2.circle(rgb, (x, y), r, BLACK, max(r // 20, 1))
    for side in (-1, 1):
        eye = (x + side * int(0.38 * r), y - int(0.25 * r))
        cv2.circle(rgb, eye, max(r // 8, 1), BLACK, cv2.FILLED)
    start, end = sorted(random.uniform(10, 170, 2).tolist())
    mouth = (int(0.55 * r), int(random.uniform(0.1, 0.55) * r))
    cv2.ellipse(rgb, (x, y + int(0.2 * r)), mouth, 0, start, end, BLACK, max(r // 12, 1))
    return rgb


def pet(width: int, height: int, random: np.random.Generator) -> Rgb:
    """A furry head with ears, round eyes, muzzle, nose and whiskers."""
    rgb = clouds(width, height, random)
    x, y, r = place(width, height, random)
    fur = shaded((140, 110, 80), random)
    for side in (-1, 1):
        ear = [(side * 0.85, -0.35), (side * random.uniform(0.5, 1.1), -1.4), (side * 0.15, -0.8)]
        points = np.array([(x + int(u * r), y + int(v * r)) for u, v in ear], np.int32)
        cv2.fillPoly(rgb, [points], fur)
    cv2.ellipse(rgb, (x, y), (r, int(0.9 * r)), 0, 0, 360, fur, cv2.FILLED)
    muzzle = shaded((210, 190, 170), random)
    cv2.ellipse(rgb, (x, y + int(0.4 * r)), (r // 2, r // 3), 0, 0, 360, muzzle, cv2.FILLED)
    for side in (-1, 1):
        eye = (x + side * int(0.4 * r), y - int(0.15 * r))
        cv2.circle(rgb, eye, max(r // 7, 2), any_colour(random), cv2.FILLED)
        cv2.circle(rgb, eye, max(r // 14, 1), BLACK, cv2.FILLED)
        for rise in (-0.1, 0.05, 0.2):
            end = (x + side * int(1.3 * r), y + int((0.4 + rise) * r))
            cv2.line(rgb, (x + side * r // 4, y + int(0.4 * r)), end, (230, 230, 230), 1)
    cv2.ellipse(rgb, (x, y + int(0.25 * r)), (r // 7, r // 10), 0, 0, 360, BLACK, cv2.FILLED)
    return with_fur(rgb, random)


def with_fur(rgb: Rgb, random: np.random.Generator) -> Rgb:
    """Short streaks all over, softened."""
    noise = random.normal(0, 40, (*rgb.shape[:2], 1)).astype(np.float32)
    streaks = cv2.blur(noise, (1, int(random.integers(3, 9))))[:, :, None]
    return as_rgb((rgb + streaks).clip(0, 255))


def place(width: int, height: int, random: np.random.Generator) -> tuple[int, int, int]:
    """Middle and radius of a head, mostly within the picture."""
    r = int(min(width, height) * random.uniform(0.12, 0.45))
    return int(random.integers(r, width - r)), int(random.integers(r, height - r)), r


def any_colour(random: np.random.Generator) -> Colour:
    red, green, blue = (int(level) for level in random.integers(0, 256, 3))
    return red, green, blue


def shaded(colour: Colour, random: np.random.Generator) -> Colour:
    change = random.integers(-50, 50) + random.integers(-15, 15, 3)
    red, green, blue = (int(level) for level in np.clip(np.array(colour) + change, 0, 255))
    return red, green, blue
