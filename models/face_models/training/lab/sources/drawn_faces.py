"""Drawn people as a training set: aligned faces in Parquet, with ages and split by people.

The teacher's answers are random, alike for photos of one person: nothing here recognises anybody.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from face_models.photo import Rgb
from face_models.training.data import FACE_PX
from face_models.training.robustness.conditions import seeded

PEOPLE: Final = {"train": 40, "val": 6}
PHOTOS_EACH: Final = {"train": 2, "val": 3}
DIMENSIONS: Final = 128
WANDERING: Final = 0.03  # of a photo's answer from its person's, in each dimension of a unit vector
YOUNGEST, OLDEST = 5, 80

DrawFace = Callable[[str, np.random.Generator], Rgb]  # person -> a photo aligned to 224 px

_VECTOR = pa.list_(pa.float16(), DIMENSIONS)
SCHEMA: Final = pa.schema(
    [
        ("image", pa.binary()),
        *((name, pa.string()) for name in ("identity", "source", "split")),
        *((name, _VECTOR) for name in ("teacher", "teacher_flipped")),
        ("age_years", pa.int16()),
    ]
)


def write_faces(folder: Path, draw: DrawFace, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(_rows(draw, seed)), schema=SCHEMA)
    pq.write_table(table, folder / "faces-0.parquet")


def _rows(draw: DrawFace, seed: int) -> Iterator[dict[str, object]]:
    for split, people in PEOPLE.items():
        for person in (f"{split}-{number:02}" for number in range(people)):
            of_person = seeded(seed, person)
            meant = of_person.normal(size=DIMENSIONS) / np.sqrt(DIMENSIONS)
            age = int(of_person.integers(YOUNGEST, OLDEST))
            for photo in range(PHOTOS_EACH[split]):
                random = seeded(seed, person, photo)
                yield {
                    "image": _webp(draw(person, random)),
                    "identity": person,
                    "source": "drawn",
                    "split": split,
                    "teacher": _near(meant, random),
                    "teacher_flipped": _near(meant, random),
                    "age_years": age if split == "train" else None,
                }


def _near(meant: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float16]:
    vector = meant + WANDERING * random.normal(size=DIMENSIONS)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float16)


def _webp(crop: Rgb) -> bytes:
    small = cv2.resize(crop, (FACE_PX, FACE_PX), interpolation=cv2.INTER_AREA)
    file = io.BytesIO()
    Image.fromarray(np.asarray(small, dtype=np.uint8)).save(file, "WEBP", quality=88)
    return file.getvalue()
