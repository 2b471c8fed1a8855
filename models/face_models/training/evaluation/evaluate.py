"""One to one: labelled pairs of photos, and every photo of known people with every other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from face_models.align import CROP_PX
from face_models.engine import Crops, Embeddings, Engine
from face_models.training.data import NO_IDENTITY, FaceSet
from face_models.training.evaluation import bootstrap
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.evaluation.breakdown import (
    Errors,
    errors_by,
    poorer_band,
)
from face_models.training.evaluation.protocol import Pair, people_of
from face_models.training.evaluation.templates import Template
from face_models.training.evaluation.verification import Verification, Weights, verify

MODELS = ("base", "heatmap")
# A photo that cannot be enrolled must not flatter the result: its pair gets the wrong answer.
FAILED_SAME, FAILED_DIFFERENT = -1.0, 1.0
OPERATING_FAR = "0.01"  # thirty of LFW's 3,000 impostors; fewer are too few to be told apart
BATCH = 32

Vectors = NDArray[np.float32]
Templates = Mapping[str, Template]  # by photo


@dataclass(frozen=True)
class PairsReport:
    """Verification by one way of description (`model`): failures to enrol are errors.

    `enrolled_only` leaves out the pairs with a photo that could not be enrolled; None where no
    pair of either kind is left. `resampled` says what the intervals' bootstrap drew.
    `by_quality`: errors at the threshold of FAR 1e-2, by the poorer photo of each enrolled pair.
    """

    model: str
    photos: int
    failures_to_enrol: dict[str, str]  # photo -> reason
    verification: Verification
    enrolled_only: Verification | None
    intervals: dict[str, Any]
    resampled: str  # people | pairs
    by_quality: dict[str, Errors]
    similarities: NDArray[np.float64]  # (pairs,)


def photos_of(pairs: Sequence[Pair]) -> list[str]:
    return sorted({photo for pair in pairs for photo in (pair.a, pair.b)})


def evaluate_pairs(
    templates: Templates,
    pairs: Sequence[Pair],
    ways: Sequence[str],
    resampling: Resampling,
) -> list[PairsReport]:
    """Cosine of every pair, one report per way of description."""
    return [_pairs_report(way, templates, pairs, resampling) for way in ways]


def _pairs_report(
    way: str, templates: Templates, pairs: Sequence[Pair], resampling: Resampling
) -> PairsReport:
    enrolled_photos = vectors_of(templates, photos_of(pairs), way)
    scores = np.array([_similarity(pair, enrolled_photos) for pair in pairs])
    same = np.array([pair.same for pair in pairs])
    folds = np.array([pair.fold for pair in pairs])
    enrolled = np.array([{pair.a, pair.b} <= enrolled_photos.keys() for pair in pairs])
    people = people_of(pairs)
    verification = verify(scores, same, folds)
    return PairsReport(
        model=way,
        photos=len(photos_of(pairs)),
        failures_to_enrol=refusals_of(templates, photos_of(pairs)),
        verification=verification,
        enrolled_only=_both_kinds(scores[enrolled], same[enrolled], folds[enrolled]),
        intervals=_pair_intervals(scores, same, folds, _numbered(pairs, people), resampling),
        resampled="people" if people else "pairs",
        by_quality=_by_quality(templates, pairs, scores, same, verification),
        similarities=scores,
    )


def vectors_of(templates: Templates, photos: Sequence[str], way: str) -> dict[str, Vectors]:
    """Of the photos that could be enrolled."""
    return {
        photo: templates[photo].vectors[way].astype(np.float32)
        for photo in photos
        if templates[photo].refusal is None
    }


def refusals_of(templates: Templates, photos: Sequence[str]) -> dict[str, str]:
    reasons = {photo: templates[photo].refusal for photo in photos}
    return {photo: reason for photo, reason in reasons.items() if reason is not None}


def _similarity(pair: Pair, enrolled: Mapping[str, Vectors]) -> float:
    if not {pair.a, pair.b} <= enrolled.keys():
        return FAILED_SAME if pair.same else FAILED_DIFFERENT
    return float(enrolled[pair.a] @ enrolled[pair.b])


def _both_kinds(
    scores: NDArray[np.float64], same: NDArray[np.bool_], folds: NDArray[np.int64]
) -> Verification | None:
    return verify(scores, same, folds) if same.any() and not same.all() else None


def _numbered(pairs: Sequence[Pair], people: Mapping[str, str] | None) -> NDArray[np.int64]:
    """(pairs, 2) numbers of the units that the bootstrap draws: people, else the pairs."""
    if people is None:
        return np.repeat(np.arange(len(pairs))[:, None], 2, axis=1)
    number = {person: n for n, person in enumerate(sorted(set(people.values())))}
    return np.array([[number[people[pair.a]], number[people[pair.b]]] for pair in pairs])


def _pair_intervals(
    scores: NDArray[np.float64],
    same: NDArray[np.bool_],
    folds: NDArray[np.int64],
    units: NDArray[np.int64],
    resampling: Resampling,
) -> dict[str, Any]:
    order = np.argsort(-scores, kind="stable")  # sorted once: every draw sorts faster
    scores, same, folds, units = scores[order], same[order], folds[order], units[order]

    def figures(counts: Weights) -> dict[str, Any] | None:
        weights = bootstrap.pair_weights(counts, units[:, 0], units[:, 1])
        return verified_shares(scores, same, folds, weights)

    return bootstrap.intervals(figures, int(units.max()) + 1, resampling, "1:1 bootstrap")


def verified_shares(
    scores: NDArray[np.float64],
    same: NDArray[np.bool_],
    folds: NDArray[np.int64],
    weights: Weights,
) -> dict[str, Any] | None:
    """What an interval is told of; None where a draw left no pair of one kind."""
    if weights[same].sum() == 0 or weights[~same].sum() == 0:
        return None
    found = verify(scores, same, folds, weights)
    shares = ("accuracy", "auc", "eer", "tar_at_far")
    return {name: getattr(found, name) for name in shares}


def _by_quality(
    templates: Templates,
    pairs: Sequence[Pair],
    scores: NDArray[np.float64],
    same: NDArray[np.bool_],
    verification: Verification,
) -> dict[str, Errors]:
    quality = {photo: template.quality for photo, template in templates.items()}
    bands = np.array([poorer_band(quality, pair.a, pair.b) for pair in pairs])
    return errors_by(bands, scores, same, verification.threshold_at_far[OPERATING_FAR])


@dataclass(frozen=True)
class IdentityScores:
    """Similarities between all photos of known people: same person and different people."""

    genuine: NDArray[np.float32]
    impostor: NDArray[np.float32]


def embed_faces(engine: Engine, faces: FaceSet, models: Sequence[str] = MODELS) -> Embeddings:
    """Embeddings of every face of a set, enlarged from 112 to the network's input size."""
    parts = [engine.embed(crops, tuple(models)) for crops in enlarged(faces, "validation faces")]
    return Embeddings(
        base=np.concatenate([part.base for part in parts]),
        heatmap=np.concatenate([part.heatmap for part in parts]),
        maps=np.zeros((0, 224, 224), np.float32),
    )


def enlarged(faces: FaceSet, what: str) -> Iterator[Crops]:
    """All faces of a set in batches (n, 224, 224, 3), with a progress bar."""
    for start in tqdm(range(0, len(faces), BATCH), what, unit="batch"):
        chosen = np.arange(start, min(start + BATCH, len(faces)))
        crops = [cv2.resize(face, (CROP_PX, CROP_PX)) for face in faces.images(chosen)]
        yield np.stack(crops).astype(np.uint8)


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
