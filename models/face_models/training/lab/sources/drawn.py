"""Drawn people, who are nobody, in the layouts of real sets: to try the laboratory without data.

`write` makes a folder with photos and JSON as sources/aihub.py reads them, a list of pairs with
boxes and landmarks as LFW has them, a teacher of random weights with the true one's form, and
aligned faces with ages as the training set has them.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image

from face_models.align import TEMPLATE_112, TEMPLATE_PX, Landmarks, align
from face_models.photo import Rgb
from face_models.training import data
from face_models.training.evaluation.protocol import LANDMARKS
from face_models.training.lab.photos import LIGHTS
from face_models.training.lab.sources.drawn_faces import write_faces
from face_models.training.lab.sources.drawn_teacher import write_teacher
from face_models.training.robustness.conditions import Box, seeded

PICTURE_PX: Final = 128
FACE_PX: Final = 80
LEVELS: Final = {"bright": 1.0, "medium": 0.7, "dark": 0.4}
NOISE_LEVELS: Final = 4.0
PHOTOS, PAIRED, TEACHER = "photos", "lfw", Path("teacher") / "mobilefacenet.onnx"
FACES, DECODED = "train", "cache"

Point = tuple[int, int]
Colour = tuple[float, ...]


@dataclass(frozen=True)
class Crowd:
    people: int = 4
    poses: int = 3  # photos a person and light
    pairs: int = 12  # of either kind, of other people
    seed: int = 0


@dataclass(frozen=True)
class Look:
    """What makes a drawn person: colours 0..255, lengths as shares of the face's width."""

    skin: Colour
    hair: Colour
    eyes: Colour
    roundness: float
    eye: float
    brow: float
    nose: float
    mouth: float
    fringe: float


def look_of(person: str) -> Look:
    random = seeded("drawn", person)
    roundness, eye, brow, nose, mouth, fringe = random.uniform(0, 1, 6)
    return Look(
        skin=tuple(random.uniform([140, 95, 70], [250, 215, 190])),
        hair=tuple(random.uniform(20, 190, 3)),
        eyes=tuple(random.uniform(0, 140, 3)),
        roundness=0.78 + 0.2 * roundness,
        eye=0.05 + 0.05 * eye,
        brow=0.015 + 0.035 * brow,
        nose=0.04 + 0.08 * nose,
        mouth=0.12 + 0.16 * mouth,
        fringe=0.1 + 0.25 * fringe,
    )


def draw(look: Look, light: str, random: np.random.Generator) -> tuple[Rgb, Box, Landmarks]:
    """A picture, the face's box and landmarks: a little elsewhere, otherwise lit each time."""
    wide = FACE_PX * random.uniform(0.95, 1.05)
    left, top = (PICTURE_PX - wide) / 2 + random.uniform(-5, 5, 2)
    landmarks = np.asarray(TEMPLATE_112 / TEMPLATE_PX * wide + [left, top], dtype=np.float32)
    canvas = np.full((PICTURE_PX, PICTURE_PX, 3), random.uniform(60, 200, 3))
    _head(canvas, look, (left, top), wide)
    _features(canvas, look, landmarks, wide)
    lit = canvas * _falling_light(LEVELS[light], random)
    noisy = lit + NOISE_LEVELS * random.standard_normal(canvas.shape)
    rgb = np.asarray(np.rint(np.clip(noisy, 0, 255)), dtype=np.uint8)
    return rgb, (float(left), float(top), float(wide), float(wide)), landmarks


def _head(canvas: cv2.typing.MatLike, look: Look, corner: tuple[float, float], wide: float) -> None:
    x, y = corner
    middle = (round(x + wide / 2), round(y + 0.55 * wide))
    axes = (round(look.roundness * wide / 2), round(0.55 * wide))
    cv2.ellipse(canvas, middle, (axes[0] + 4, axes[1] + 5), 0, 0, 360, look.hair, cv2.FILLED)
    cv2.ellipse(canvas, middle, axes, 0, 0, 360, look.skin, cv2.FILLED)
    hairline = round(y + look.fringe * wide)
    cv2.ellipse(
        canvas, (middle[0], hairline - axes[1] // 4), (axes[0], axes[1] // 4), 0, 0, 360, look.hair,
        cv2.FILLED,
    )  # fmt: skip


def _features(canvas: cv2.typing.MatLike, look: Look, landmarks: Landmarks, wide: float) -> None:
    right_eye, left_eye, nose, mouth_right, mouth_left = (_point(one) for one in landmarks)
    for x, y in (right_eye, left_eye):
        cv2.circle(canvas, (x, y), round(1.6 * look.eye * wide), (245, 245, 245), cv2.FILLED)
        cv2.circle(canvas, (x, y), round(look.eye * wide), look.eyes, cv2.FILLED)
        reach, rise = round(0.1 * wide), round(0.13 * wide)
        thick = max(round(look.brow * wide), 1)
        cv2.line(canvas, (x - reach, y - rise), (x + reach, y - rise), look.hair, thick)
    shade = tuple(0.7 * level for level in look.skin)
    cv2.ellipse(canvas, nose, (round(look.nose * wide), round(0.05 * wide)), 0, 0, 180, shade, 2)
    middle = ((mouth_right[0] + mouth_left[0]) // 2, mouth_right[1])
    lips = (round(look.mouth * wide), round(0.06 * wide))
    cv2.ellipse(canvas, middle, lips, 0, 0, 180, (150, 50, 60), cv2.FILLED)


def _point(point: np.ndarray[Any, np.dtype[np.float32]]) -> Point:
    return round(float(point[0])), round(float(point[1]))


def _falling_light(
    level: float, random: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A level that falls off towards one side."""
    across = np.linspace(-1, 1, PICTURE_PX)
    x, y = random.uniform(-0.25, 0.25, 2)
    return np.asarray((level * (1 + x * across[None] + y * across[:, None]))[..., None])


def write(folder: Path, crowd: Crowd) -> None:
    for person in (f"drawn-{number:02}" for number in range(crowd.people)):
        for light in LIGHTS:
            for pose in range(crowd.poses):
                _write_photo(folder / PHOTOS / person / light / f"{pose}.png", crowd.seed)
    _write_pairs(folder / PAIRED, crowd)
    write_teacher(folder / TEACHER, crowd.seed)
    write_faces(folder / FACES, _aligned, crowd.seed)
    data.prepare(folder, folder / DECODED)


def _aligned(person: str, random: np.random.Generator) -> Rgb:
    rgb, _, landmarks = draw(look_of(person), LIGHTS[int(random.integers(2))], random)
    return align(rgb, landmarks)


def _write_photo(file: Path, seed: int) -> None:
    """Person, light and pose are the path's own."""
    person, light, pose = file.parent.parent.name, file.parent.name, file.stem
    rgb, box, _ = draw(look_of(person), light, seeded(seed, person, light, pose))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(file)
    told = {"person": person, "light": light, "pose": pose, "box": [round(side, 1) for side in box]}
    file.with_suffix(".json").write_text(json.dumps(told), encoding="utf-8")


def _write_pairs(folder: Path, crowd: Crowd) -> None:
    """Two photos of everybody; a same-person pair each, and one with the next."""
    names = [f"other-{number:02}" for number in range(crowd.pairs)]
    faces = [_paired_face(folder, name, turn, crowd.seed) for name in names for turn in range(2)]
    _write_rows(folder / "faces.csv", faces)
    followers = [*names[1:], names[0]]
    same = [{"a": _path(name, 0), "b": _path(name, 1), "same": 1} for name in names]
    other = [
        {"a": _path(name, 0), "b": _path(follower, 1), "same": 0}
        for name, follower in zip(names, followers, strict=True)
    ]
    _write_rows(folder / "pairs.csv", [*same, *other])


def _paired_face(folder: Path, name: str, turn: int, seed: int) -> dict[str, object]:
    random = seeded(seed, name, turn)
    rgb, box, landmarks = draw(look_of(name), LIGHTS[int(random.integers(2))], random)
    file = folder / "photos" / _path(name, turn)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(file)
    return {"photo": _path(name, turn), **dict(zip("xywh", box, strict=True)), **_named(landmarks)}


def _path(name: str, turn: int) -> str:
    return f"{name}/{turn}.png"


def _named(landmarks: Landmarks) -> dict[str, float]:
    return {
        f"{point}_{axis}": float(landmarks[row][column])
        for row, point in enumerate(LANDMARKS)
        for column, axis in enumerate("xy")
    }


def _write_rows(file: Path, rows: list[dict[str, object]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
