"""One's own consented photos, a folder a person, as a training set: detected, aligned, labelled.

The data set that comes out has the layout that data.py reads. Its teacher is the shipped heatmap
network, so training starts from what that network knows and learns the new people beside it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tqdm import tqdm

from face_models.errors import PhotoError
from face_models.photo import Rgb
from face_models.pipeline import Face, Pipeline
from face_models.training.data import FACE_PX

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".heic"}
WEBP_QUALITY = 88
EVERY_NTH_PERSON_VALIDATES = 10
SOURCE = "own"

VECTOR = pa.list_(pa.float16(), 128)
TEXTS = [(name, pa.string()) for name in ("identity", "source", "split")]
SCHEMA = pa.schema(
    [("image", pa.binary()), *TEXTS, ("teacher", VECTOR), ("teacher_flipped", VECTOR)]
)


class NoPeople(ValueError):
    """The folder holds too few people to learn from and to measure on."""


@dataclass(frozen=True)
class Imported:
    """How many people and faces came in, and why photos did not: path -> reason."""

    people: int
    faces: int
    refused: dict[str, str]


def import_photos(photos_dir: Path, data_dir: Path, pipeline: Pipeline) -> Imported:
    """Writes `data_dir/train/faces-0.parquet`; every tenth person is kept for validation.

    Raises:
        NoPeople: fewer than two folders with photos.
    """
    people = sorted(folder for folder in photos_dir.iterdir() if folder.is_dir())
    if len(people) < 2:
        raise NoPeople(
            f"{photos_dir} has {len(people)} folders; it needs one a person, two or more."
        )
    refused: dict[str, str] = {}
    rows = []
    for number, person in enumerate(tqdm(people, "people", unit="person")):
        split = "val" if number % EVERY_NTH_PERSON_VALIDATES == 1 else "train"
        faces = _faces(person, pipeline, refused)
        rows += [_row(face, person.name, split, pipeline) for face in faces]
    target = data_dir / "train" / "faces-0.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), partial)
    partial.replace(target)
    return Imported(len({row["identity"] for row in rows}), len(rows), refused)


def _faces(person: Path, pipeline: Pipeline, refused: dict[str, str]) -> Iterator[Face]:
    for photo in sorted(person.iterdir()):
        if photo.suffix.lower() in PHOTO_SUFFIXES:
            try:
                yield pipeline.choose(pipeline.analyse(photo.read_bytes()))
            except PhotoError as refusal:
                refused[f"{person.name}/{photo.name}"] = refusal.slug


def _row(face: Face, identity: str, split: str, pipeline: Pipeline) -> dict[str, object]:
    crops = np.stack([face.crop, face.crop[:, ::-1]])
    plain, flipped = pipeline.engine.embed(crops).heatmap.astype(np.float16)
    return {
        "image": _webp(face.crop),
        "identity": identity,
        "source": SOURCE,
        "split": split,
        "teacher": plain,
        "teacher_flipped": flipped,
    }


def _webp(crop: Rgb) -> bytes:
    small = cv2.resize(crop, (FACE_PX, FACE_PX), interpolation=cv2.INTER_AREA)
    file = io.BytesIO()
    Image.fromarray(np.asarray(small, dtype=np.uint8)).save(file, "WEBP", quality=WEBP_QUALITY)
    return file.getvalue()
