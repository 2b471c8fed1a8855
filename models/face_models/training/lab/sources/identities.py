"""Identities of the training set; each person's darkest third of photos counts as dark.

Aligned faces of public figures: the light is not set up but found, so it is graded within each
person, by the mean level of the middle of the face.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from face_models.training import data
from face_models.training.data import NO_IDENTITY, FaceSet
from face_models.training.lab.photos import LIGHTS, Rows, Shot

MIDDLE = slice(data.FACE_PX // 4, 3 * data.FACE_PX // 4)


@dataclass(frozen=True)
class People:
    """`min_photos` a person; `most` people, those with most photos first; 0 all."""

    min_photos: int = 10
    most: int = 0


def find(data_dir: Path, cache_dir: Path, people: People) -> FaceSet:
    """The chosen people's photos of the `train` split."""
    faces = data.load(data_dir, cache_dir, "train", people.min_photos)
    known = faces.identity[faces.identity != NO_IDENTITY]
    number, photos = np.unique(known, return_counts=True)
    chosen = number[np.argsort(-photos, kind="stable")][: people.most or None]
    return faces.subset(np.flatnonzero(np.isin(faces.identity, chosen)))


def shots(faces: FaceSet, size_px: int) -> Iterator[Shot]:
    pictures = [faces.images(np.array([row]))[0] for row in range(len(faces))]
    levels = np.array([picture[MIDDLE, MIDDLE].mean() for picture in pictures])
    lights = graded(levels, faces.identity)
    for row, picture in enumerate(pictures):
        crop = np.asarray(cv2.resize(picture, (size_px, size_px)), dtype=np.uint8)
        yield Shot(crop, str(faces.identity[row]), lights[row], str(faces.rows[row]))


def graded(levels: np.ndarray[tuple[int], np.dtype[np.float64]], person: Rows) -> list[str]:
    """By the rank within each person: the brightest third is bright, the darkest dark."""
    light = [""] * len(levels)
    for one in np.unique(person):
        rows = np.flatnonzero(person == one)
        for rank, row in enumerate(rows[np.argsort(-levels[rows], kind="stable")]):
            light[row] = LIGHTS[rank * len(LIGHTS) // len(rows)]
    return light
