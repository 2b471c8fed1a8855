"""The whole pipeline on labelled pairs, and the networks on the validation identities."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from face_models.align import Landmarks, align
from face_models.engine import Embeddings, Engine
from face_models.errors import PhotoError
from face_models.photo import read_photo
from face_models.pipeline import Embedder, Pipeline
from face_models.training.data import NO_IDENTITY, FaceSet
from face_models.training.verification import Verification, verify

MODELS = ("base", "heatmap")
LANDMARKS = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")
# A photo that cannot be enrolled must not flatter the result: its pair gets the wrong answer.
FAILED_SAME, FAILED_DIFFERENT = -1.0, 1.0
BATCH = 32

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    fold: int
    a: str
    b: str
    same: bool


@dataclass(frozen=True)
class PairsReport:
    """Verification by one network, of every pair: failures to enrol are counted as errors.

    `enrolled_only` leaves out the pairs with a photo that could not be enrolled.
    """

    model: str
    photos: int
    failures_to_enrol: dict[str, str]  # photo -> reason
    verification: Verification
    enrolled_only: Verification
    similarities: NDArray[np.float64]  # (pairs,)


def read_pairs(path: Path) -> list[Pair]:
    """Pairs from a CSV with the columns fold, a, b, same (0 | 1)."""
    with path.open(newline="") as file:
        return [
            Pair(int(row["fold"]), row["a"], row["b"], row["same"] == "1")
            for row in csv.DictReader(file)
        ]


class PhotoEmbedder(Protocol):
    """A photo, named by its path in the list of pairs -> embeddings of the face it is of."""

    def __call__(self, photo: str, models: tuple[str, ...]) -> Embeddings:
        """Raises PhotoError where there is no face to use."""


@dataclass(frozen=True)
class WholePipeline:
    """Detection, alignment and embedding of the most prominent face, as served."""

    pipeline: Pipeline
    images: Path

    def __call__(self, photo: str, models: tuple[str, ...]) -> Embeddings:
        face = self.pipeline.choose(self.pipeline.analyse((self.images / photo).read_bytes()), None)
        return self.pipeline.embed([face], models)


@dataclass(frozen=True)
class ReferenceLandmarks:
    """The embedding networks alone: faces aligned by given landmarks (5, 2), not by ours."""

    engine: Embedder
    images: Path
    landmarks: Mapping[str, Landmarks]

    def __call__(self, photo: str, models: tuple[str, ...]) -> Embeddings:
        read = read_photo((self.images / photo).read_bytes())
        crop = align(read.rgb, self.landmarks[photo] * read.scale)
        return self.engine.embed(crop[None], models)


def read_landmarks(path: Path) -> dict[str, Landmarks]:
    """Landmarks in pixels by photo, from a CSV with columns photo, right_eye_x … mouth_left_y."""
    with path.open(newline="") as file:
        return {row["photo"]: _landmarks(row) for row in csv.DictReader(file)}


def _landmarks(row: Mapping[str, str]) -> Landmarks:
    points = [[float(row[f"{point}_{axis}"]) for axis in "xy"] for point in LANDMARKS]
    return np.array(points, dtype=np.float32)


def evaluate_pairs(
    embed: PhotoEmbedder, pairs: Sequence[Pair], models: Sequence[str] = MODELS
) -> list[PairsReport]:
    """Photos -> embeddings -> cosine of every pair, one report per network."""
    photos = sorted({photo for pair in pairs for photo in (pair.a, pair.b)})
    vectors: dict[str, dict[str, Vectors]] = {model: {} for model in models}
    failures: dict[str, str] = {}
    for photo in tqdm(photos, "photos", unit="photo"):
        try:
            embeddings = embed(photo, tuple(models))
        except PhotoError as refusal:
            failures[photo] = refusal.slug
            continue
        for model in models:
            vectors[model][photo] = getattr(embeddings, model)[0]
    return [_report(model, pairs, vectors[model], len(photos), failures) for model in models]


def _report(
    model: str,
    pairs: Sequence[Pair],
    vectors: Mapping[str, Vectors],
    photos: int,
    failures: dict[str, str],
) -> PairsReport:
    scores = np.array([_similarity(pair, vectors) for pair in pairs])
    same = np.array([pair.same for pair in pairs])
    folds = np.array([pair.fold for pair in pairs])
    enrolled = np.array([pair.a in vectors and pair.b in vectors for pair in pairs])
    return PairsReport(
        model=model,
        photos=photos,
        failures_to_enrol=failures,
        verification=verify(scores, same, folds),
        enrolled_only=verify(scores[enrolled], same[enrolled], folds[enrolled]),
        similarities=scores,
    )


def _similarity(pair: Pair, vectors: Mapping[str, Vectors]) -> float:
    if pair.a not in vectors or pair.b not in vectors:
        return FAILED_SAME if pair.same else FAILED_DIFFERENT
    return float(vectors[pair.a] @ vectors[pair.b])


@dataclass(frozen=True)
class IdentityScores:
    """Similarities between all photos of known people: same person and different people."""

    genuine: NDArray[np.float32]
    impostor: NDArray[np.float32]


def embed_faces(engine: Engine, faces: FaceSet, models: Sequence[str] = MODELS) -> Embeddings:
    """Embeddings of every face of a set, enlarged from 112 to the network's input size."""
    parts = [
        engine.embed(_enlarged(faces, start), tuple(models))
        for start in tqdm(range(0, len(faces), BATCH), "validation faces", unit="batch")
    ]
    return Embeddings(
        base=np.concatenate([part.base for part in parts]),
        heatmap=np.concatenate([part.heatmap for part in parts]),
        maps=np.zeros((0, 224, 224), np.float32),
    )


def _enlarged(faces: FaceSet, start: int) -> NDArray[np.uint8]:
    chosen = np.arange(start, min(start + BATCH, len(faces)))
    side = (224, 224)
    return np.stack([cv2.resize(face, side) for face in faces.images(chosen)]).astype(np.uint8)


def identity_scores(vectors: Vectors, identity: NDArray[np.int64]) -> IdentityScores:
    """All pairs of faces with known identity, each pair once."""
    known = identity != NO_IDENTITY
    vectors, identity = vectors[known], identity[known]
    similarity = vectors @ vectors.T
    upper = np.triu(np.ones_like(similarity, dtype=bool), 1)
    same = identity[:, None] == identity[None]
    return IdentityScores(similarity[upper & same], similarity[upper & ~same])


def verify_identities(scores: IdentityScores) -> Verification:
    """The same figures as for pairs, over all pairs at once (one fold)."""
    values = np.concatenate([scores.genuine, scores.impostor]).astype(np.float64)
    same = np.arange(len(values)) < len(scores.genuine)
    return verify(values, same, np.zeros(len(values), dtype=np.int64))
