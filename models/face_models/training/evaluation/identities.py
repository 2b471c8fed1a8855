"""The validation identities: every photo with every other, by whom and by what the photos show.

Everything here is on aligned faces of the training set's `val` split, people whom none of our
networks saw; but for the groups (see demographics.py), which only training photos are labelled
with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from face_models.align import CROP_PX, template
from face_models.detect import Detection
from face_models.quality import assess
from face_models.training.data import NO_IDENTITY, FaceSet
from face_models.training.evaluation import bootstrap
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.evaluation.breakdown import (
    QUALITY_EDGES,
    UNKNOWN,
    Errors,
    band,
    errors_at,
)
from face_models.training.evaluation.demographics import People
from face_models.training.evaluation.evaluate import (
    IdentityScores,
    Vectors,
    enlarged,
    identity_scores,
    verified_shares,
    verify_identities,
)
from face_models.training.evaluation.templates import FLIP, Embedder, describe
from face_models.training.evaluation.verification import Flags, Scores, Verification, Weights

OPERATING_FAR = "0.001"
GROUP_FACES = 4000  # at least ten thousand pairs of grown people in every group
WHOLE_FACE = (0.0, 0.0, float(CROP_PX), float(CROP_PX))
LABELLED_SOURCE = "utkface"
TEACHER = "teacher"

Labels = NDArray[np.str_]


@dataclass(frozen=True)
class GroupErrors:
    """Of photos with one label but without identities, at the threshold of FAR 1e-3.

    `fmr` counts two photos of one group as two people, so it is an upper bound: some are one.
    `mirror_fnmr`: share of photos that are not recognised in their mirror image; None where the
    run had no flipped embeddings.
    """

    photos: int
    fmr: float | None
    mirror_fnmr: float | None


@dataclass(frozen=True)
class IdentitiesReport:
    """Verification by one way of description (`model`), all pairs at once.

    Errors in the breakdowns are at the one threshold of FAR 1e-3 over all pairs. `by_source` and
    `by_quality` hold the pairs whose photos are both of that kind, `by_family` the pairs of two
    relatives: impostors only.
    """

    model: str
    faces: int
    people: int
    genuine_pairs: int
    impostor_pairs: int
    verification: Verification
    intervals: dict[str, Any]
    by_source: dict[str, Errors]
    by_quality: dict[str, Errors]
    by_family: dict[str, Errors]
    by_group: dict[str, dict[str, GroupErrors]]  # age | sex | group -> label
    scores: IdentityScores


@dataclass(frozen=True)
class Described:
    """Faces with what is known of them: row i of every field speaks of face i."""

    faces: FaceSet
    people: People
    vectors: Mapping[str, Vectors]  # by way of description
    quality: Labels  # bands


def described(
    engine: Embedder, faces: FaceSet, people: People, ways: Sequence[str], what: str
) -> Described:
    """Every face described in every way, and by the teacher: what distillation could come to.

    The quality is that of aligned faces: without pose and the detector's score.
    """
    parts, bands = [], []
    for crops in enlarged(faces, what):
        parts.append(describe(engine, crops, ways))
        bands += [band(_quality(crop), QUALITY_EDGES) for crop in crops]
    vectors = {way: np.concatenate([part[way] for part in parts]) for way in ways}
    return Described(faces, people, vectors | _teachers(faces, ways), np.array(bands))


def _teachers(faces: FaceSet, ways: Sequence[str]) -> dict[str, Vectors]:
    """Its answers, which the data set holds; those to mirror images where a way looks at them."""
    if any(way.endswith(FLIP) for way in ways):
        return {TEACHER: faces.teacher, TEACHER + FLIP: faces.teacher_both_ways}
    return {TEACHER: faces.teacher}


def _quality(crop: NDArray[np.uint8]) -> int:
    on_template = template(CROP_PX)
    return assess(crop, Detection(box=WHOLE_FACE, score=1.0, landmarks=on_template)).score


def labelled_faces(faces: FaceSet, seed: int) -> FaceSet:
    """At most GROUP_FACES of the photos that are labelled by age, sex and group."""
    rows = np.flatnonzero(faces.source == LABELLED_SOURCE)
    if len(rows) > GROUP_FACES:
        rows = np.sort(np.random.default_rng(seed).choice(rows, GROUP_FACES, replace=False))
    return faces.subset(rows)


def evaluate_identities(
    validation: Described, labelled: Described, resampling: Resampling
) -> list[IdentitiesReport]:
    """One report per way of description."""
    return [_report(way, validation, labelled, resampling) for way in validation.vectors]


def _report(
    way: str, validation: Described, labelled: Described, resampling: Resampling
) -> IdentitiesReport:
    faces, vectors = validation.faces, validation.vectors[way].astype(np.float32)
    scores = identity_scores(vectors, faces.identity)
    verification = verify_identities(scores)
    threshold = verification.threshold_at_far[OPERATING_FAR]

    def errors_within(labels: Labels) -> dict[str, Errors]:
        return {
            str(label): _errors(identity_scores(vectors[rows], faces.identity[rows]), threshold)
            for label in np.unique(labels[faces.identity != NO_IDENTITY])
            for rows in [labels == label]
        }

    return IdentitiesReport(
        model=way,
        faces=int((faces.identity != NO_IDENTITY).sum()),
        people=faces.identities,
        genuine_pairs=len(scores.genuine),
        impostor_pairs=len(scores.impostor),
        verification=verification,
        intervals=bootstrap.intervals(
            interval_figures(faces.identity, scores),
            faces.identities,
            resampling,
            "validation bootstrap",
        ),
        by_source=errors_within(faces.source),
        by_quality=errors_within(validation.quality),
        by_family=_by_family(vectors, validation, threshold),
        by_group=_by_group(way, labelled, threshold),
        scores=scores,
    )


def _errors(scores: IdentityScores, threshold: float) -> Errors:
    return errors_at(*together(scores), threshold)


def together(scores: IdentityScores) -> tuple[Scores, Flags]:
    values = np.concatenate([scores.genuine, scores.impostor]).astype(np.float64)
    return values, np.arange(len(values)) < len(scores.genuine)


def _by_family(vectors: Vectors, validation: Described, threshold: float) -> dict[str, Errors]:
    """Relatives look alike: the hardest impostors that the data holds."""
    family, identity = validation.people.family, validation.faces.identity
    impostors = [
        identity_scores(vectors[rows], identity[rows]).impostor
        for name in np.unique(family[family != UNKNOWN])
        for rows in [family == name]
    ]
    if not impostors:
        return {}
    relatives = IdentityScores(np.zeros(0, np.float32), np.concatenate(impostors))
    return {"relatives": _errors(relatives, threshold)}


def _by_group(way: str, labelled: Described, threshold: float) -> dict[str, dict[str, GroupErrors]]:
    vectors = labelled.vectors[way].astype(np.float32)
    mirror = _mirror_similarity(way, labelled)
    return {
        kind: {
            str(label): _group(vectors[rows], None if mirror is None else mirror[rows], threshold)
            for label in np.unique(labels[labels != UNKNOWN])
            for rows in [labels == label]
        }
        for kind, labels in labelled.people.by_group.items()
    }


def _group(vectors: Vectors, mirror: Vectors | None, threshold: float) -> GroupErrors:
    everybody = np.arange(len(vectors))  # each photo taken for another person
    errors = _errors(identity_scores(vectors, everybody), threshold)
    missed = None if mirror is None else float((mirror < threshold).mean())
    return GroupErrors(len(vectors), errors.fmr, missed)


def _mirror_similarity(way: str, labelled: Described) -> Vectors | None:
    """Cosine (n,) of a photo's embedding e with its mirror image's m.

    The flipped way is f = (e + m) / |e + m|, so e.f is the cosine of half the angle.
    """
    if way + FLIP not in labelled.vectors:
        return None
    half = (labelled.vectors[way] * labelled.vectors[way + FLIP]).sum(axis=1)
    return np.asarray(2 * half**2 - 1, dtype=np.float32)


def interval_figures(
    identity: NDArray[np.int64], scores: IdentityScores
) -> Callable[[Weights], dict[str, Any] | None]:
    """How often each person is drawn -> the figures of that draw.

    Impostors between two neighbouring genuine scores are one step of the ROC: they are counted
    together, which changes no figure and makes millions of pairs affordable.
    """
    known = identity[identity != NO_IDENTITY].astype(np.int32)
    a, b = (known[side] for side in np.triu_indices(len(known), 1))
    same_person, a, b = a[a == b], a[a != b], b[a != b]
    step_score, genuine_step, impostor_step = _steps(scores)
    steps = len(step_score)
    values = np.concatenate([step_score, step_score])
    same = np.arange(2 * steps) < steps
    one_fold = np.zeros(2 * steps, dtype=np.int64)

    def figures(counts: Weights) -> dict[str, Any] | None:
        genuine = np.bincount(genuine_step, counts[same_person], steps)
        impostor = np.bincount(impostor_step, counts[a] * counts[b], steps)
        return verified_shares(values, same, one_fold, np.concatenate([genuine, impostor]))

    return figures


def _steps(scores: IdentityScores) -> tuple[Scores, NDArray[np.int64], NDArray[np.int64]]:
    """Steps of the ROC in rising order: scores of the steps, and the step of every pair.

    Even steps lie between genuine scores, odd ones at them.
    """
    at = np.unique(scores.genuine).astype(np.float64)
    between = np.concatenate([[at[0] - 1], (at[1:] + at[:-1]) / 2, [at[-1] + 1]])
    step_score = np.empty(2 * len(at) + 1)
    step_score[0::2], step_score[1::2] = between, at
    impostor = scores.impostor.astype(np.float64)
    below = np.searchsorted(at, impostor)
    tied = np.append(at, np.inf)[below] == impostor
    genuine_step = 2 * np.searchsorted(at, scores.genuine.astype(np.float64)) + 1
    return step_score, genuine_step, 2 * below + tied
