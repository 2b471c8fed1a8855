"""Embeddings of the people that a calibration is made from and proven on, by template.

validation   every photo of the `val` split's people, none of whom the networks saw: the curves
cohort       one photo each of the `train` split's people: the isolation rule, and distractors
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from face_models.align import CROP_PX
from face_models.engine import Crops, Engine
from face_models.spec import MODEL_NAMES, digest_of
from face_models.template import FLIP_SUFFIX
from face_models.training import data
from face_models.training.calibrating.comparisons import Faces, Labels, Vectors

BATCH: Final = 32
FAMILIES_SOURCE: Final = "fiw/"  # its ids are fiw/family/member
TEMPLATES: Final = (*MODEL_NAMES, *(name + FLIP_SUFFIX for name in MODEL_NAMES))

ByTemplate = Mapping[str, Vectors]


@dataclass(frozen=True)
class Subjects:
    """Photos of known people; row i of every field speaks of the same photo.

    `source`: the data set that the photo is from; `faces`: the photos themselves.
    """

    vectors: ByTemplate
    person: Labels
    family: Labels
    source: NDArray[np.str_]
    faces: data.FaceSet

    def embedded(self, template: str) -> Faces:
        return Faces(self.vectors[template], self.person, self.family)


def validation_subjects(engine: Engine, data_dir: Path, cache_dir: Path) -> Subjects:
    faces = data.load(data_dir, cache_dir, "val", min_photos=1)
    known = faces.subset(np.flatnonzero(faces.identity != data.NO_IDENTITY))
    return _subjects(engine, known, data_dir, cache_dir)


def cohort_subjects(engine: Engine, data_dir: Path, cache_dir: Path) -> Subjects:
    """The first photo of everybody in the `train` split, in an order that is drawn once."""
    faces = data.load(data_dir, cache_dir, "train", min_photos=1)
    people, first = np.unique(faces.identity, return_index=True)
    first = first[people != data.NO_IDENTITY]
    return _subjects(engine, faces.subset(first), data_dir, cache_dir)


def _subjects(engine: Engine, faces: data.FaceSet, data_dir: Path, cache_dir: Path) -> Subjects:
    names = _identities(data_dir)[faces.rows]
    families = [_family(name) for name in names.tolist()]
    return Subjects(
        vectors=embed_once(engine, faces, cache_dir),
        person=np.unique(names, return_inverse=True)[1],
        family=np.unique(families, return_inverse=True)[1],
        source=faces.source,
        faces=faces,
    )


def _identities(data_dir: Path) -> NDArray[np.str_]:
    files = sorted((data_dir / "train").glob("faces-*.parquet"))
    tables = [pq.read_table(file, columns=["identity"]) for file in files]
    return np.array([name or "" for table in tables for name in table["identity"].to_pylist()])


def _family(identity: str) -> str:
    """Whoever has no family on record is her own."""
    return identity.rpartition("/")[0] if identity.startswith(FAMILIES_SOURCE) else identity


def embed_once(engine: Engine, faces: data.FaceSet, cache_dir: Path) -> ByTemplate:
    """Vectors of every template, kept in the cache folder for as long as photos and graphs stay."""
    photos = digest_of(*map(str, faces.rows.tolist()))
    stamp = digest_of(photos, *(engine.specs[name].sha256 for name in MODEL_NAMES))[:16]
    kept = cache_dir / f"embeddings-{stamp}.npz"
    if not kept.exists():
        partial = kept.with_suffix(".partial.npz")
        np.savez(partial, allow_pickle=False, **dict(embed(engine, _enlarged(faces))))
        partial.rename(kept)
    with np.load(kept) as stored:
        return {template: stored[template] for template in TEMPLATES}


def embed(engine: Engine, batches: Iterator[Crops]) -> ByTemplate:
    """Crops and their mirror images through both networks."""
    parts = [_both_ways(engine, crops) for crops in batches]
    return {template: np.concatenate([part[template] for part in parts]) for template in TEMPLATES}


def _both_ways(engine: Engine, crops: Crops) -> ByTemplate:
    plain, mirrored = engine.embed(crops), engine.embed(crops[:, :, ::-1])
    vectors: dict[str, Vectors] = {}
    for name in MODEL_NAMES:
        one, other = getattr(plain, name), getattr(mirrored, name)
        both = one + other
        vectors[name] = one
        vectors[name + FLIP_SUFFIX] = both / np.linalg.norm(both, axis=1, keepdims=True)
    return vectors


def _enlarged(faces: data.FaceSet) -> Iterator[Crops]:
    for start in tqdm(range(0, len(faces), BATCH), "embedding faces", unit="batch"):
        chosen = np.arange(start, min(start + BATCH, len(faces)))
        crops = [cv2.resize(face, (CROP_PX, CROP_PX)) for face in faces.images(chosen)]
        yield np.stack(crops).astype(np.uint8)
