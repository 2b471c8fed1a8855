"""Is the calibration right, and for whom? What `face-models calibrate` reports beside the fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from face_models.calibration_table import CalibrationTable, Scores, on_probes_scale
from face_models.engine import Crops, Engine
from face_models.errors import PhotoError
from face_models.photo import Rgb
from face_models.pipeline import Face, Pipeline
from face_models.training.calibrating.comparisons import (
    GRID,
    Comparisons,
    Faces,
    Labels,
    Vectors,
    compare,
    step_of,
)
from face_models.training.calibrating.fit import Fit, fit
from face_models.training.calibrating.openset import Proof, Searches, prove
from face_models.training.calibrating.subjects import BATCH, ByTemplate, Subjects, embed
from face_models.training.evaluation.protocol import UnusableInput

RATES: Final = (1e-2, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6)
BAND_RATES: Final = (1e-2, 1e-3, 1e-4)
GALLERY_SIZES: Final = (1000, 10_000)
BORDER_PX: Final = 56  # of its own edge, around an aligned face of 112
PHOTOS_EACH: Final = 2
TWO_NAMES_FMR: Final = 1e-5
LEAST_SHARE: Final = 0.5  # of a person's pairs that are of two photos, where there are several
LEAST_PEOPLE: Final = 100


@dataclass(frozen=True)
class Point:
    """The FMR that is stated at one similarity on the probe's scale, beside what was counted.

    `tar`: share of genuine comparisons that reach it, `relatives`: of those of relatives.
    """

    similarity: float
    stated: float
    low: float
    high: float
    counted: float
    tar: float
    relatives: float


@dataclass(frozen=True)
class People:
    """One photo each; whoever could not be enrolled is in `failures`, by reason."""

    vectors: ByTemplate
    failures: Mapping[str, int]


@dataclass(frozen=True)
class OwnCrops:
    """Validation faces that our detector found again; `kept` are their rows in the subjects."""

    kept: Labels
    vectors: ByTemplate
    quality: Labels
    failures: Mapping[str, int]


@dataclass(frozen=True)
class TwoNames:
    """People who resemble one another, photo for photo, as one person does, in two families.

    `log10_fmr` at the similarity whose stated FMR is 1e-5, with and without them.
    """

    pairs: int
    log10_fmr: float
    without: float


def points(fitted: Fit, rates: Sequence[float] = RATES) -> list[Point]:
    table, comparisons = fitted.table, fitted.comparisons
    counted = reached(comparisons.strangers.sum(axis=(0, 1)))
    genuine, relatives = reached(comparisons.genuine), reached(comparisons.relatives)
    return [
        Point(
            similarity=float(GRID[at]),
            stated=10 ** table.log10_fmr[at],
            low=10 ** table.log10_fmr_low[at],
            high=10 ** table.log10_fmr_high[at],
            counted=float(counted[at]),
            tar=float(genuine[at]),
            relatives=float(relatives[at]),
        )
        for at in (step_at(table, rate) for rate in rates)
    ]


def reached(mass: Scores) -> Scores:
    """Share of the comparisons at or above every point of the grid."""
    return np.asarray(np.cumsum(mass[::-1])[::-1] / max(mass.sum(), 1e-300))


def step_at(table: CalibrationTable, fmr: float) -> int:
    """The first point of the grid whose stated FMR is at most `fmr`."""
    return int(np.argmax(np.array(table.log10_fmr) <= np.log10(fmr)))


def other_half(
    faces: Faces, fitted: Fit, enrolled: Mapping[str, Vectors], seed: int
) -> list[Proof]:
    """Fitted anew on half of the families, put to the test on the people of the other, and back.

    `enrolled`: galleries by what they are composed of.
    """
    half = np.random.default_rng(seed).permutation(faces.families) < faces.families // 2
    proofs = []
    for number, chosen in enumerate((half, ~half), start=1):
        refitted = fit(
            faces.of_families(chosen),
            fitted.table.isolation,
            model_sha256=fitted.table.model_sha256,
            data="half of the validation families",
            seed=seed,
        )
        others = faces.of_families(~chosen)
        probes = others.vectors[np.unique(others.person, return_index=True)[1]]
        for composition, gallery in enrolled.items():
            asked = Searches(f"validation, half {number}", composition, gallery, probes)
            proofs += prove(asked, refitted, seed)
    return proofs


def people_of_folder(pipeline: Pipeline, engine: Engine, folder: Path) -> People:
    """The first photo of everybody in a folder per person, through the whole pipeline.

    Raises:
        UnusableInput: too few people to enrol some and to search for others.
    """
    photos = [min(person.iterdir()) for person in sorted(folder.iterdir()) if person.is_dir()]
    if len(photos) < LEAST_PEOPLE:
        raise UnusableInput(f"{folder} holds {len(photos)} people; {LEAST_PEOPLE} are needed.")
    failures: dict[str, int] = {}
    faces = (
        face
        for photo in tqdm(photos, folder.parent.name, unit="photo")
        for face in _found(pipeline, photo.read_bytes(), failures)
    )
    return People(embed(engine, _batches(face.crop for face in faces)), failures)


def own_crops(pipeline: Pipeline, engine: Engine, subjects: Subjects) -> OwnCrops:
    """At most two photos of everybody, found and aligned by our own networks."""
    rows = first_photos(subjects.person, PHOTOS_EACH)
    failures: dict[str, int] = {}
    kept, quality, crops = [], [], []
    for row in tqdm(rows, "own crops", unit="face"):
        (image,) = subjects.faces.images(np.array([row]))
        for face in _found(pipeline, _framed(image), failures):
            kept.append(row)
            quality.append(face.quality)
            crops.append(face.crop)
    vectors = embed(engine, _batches(iter(crops)))
    return OwnCrops(np.array(kept), vectors, np.array(quality), failures)


def _found(pipeline: Pipeline, photo: bytes, failures: dict[str, int]) -> Iterator[Face]:
    try:
        yield pipeline.choose(pipeline.analyse(photo))
    except PhotoError as refusal:
        failures[refusal.slug] = failures.get(refusal.slug, 0) + 1


def _framed(face: Rgb) -> bytes:
    sides = (BORDER_PX,) * 4
    framed = cv2.copyMakeBorder(face[..., ::-1], *sides, cv2.BORDER_REPLICATE)
    return cv2.imencode(".png", framed)[1].tobytes()


def _batches(crops: Iterator[Rgb]) -> Iterator[Crops]:
    batch: list[Rgb] = []
    for crop in crops:
        batch.append(crop)
        if len(batch) == BATCH:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def first_photos(person: Labels, count: int) -> Labels:
    """Rows of at most `count` photos of everybody, in order."""
    seen: dict[int, int] = {}
    rows = []
    for row, who in enumerate(person.tolist()):
        seen[who] = seen.get(who, 0) + 1
        if seen[who] <= count:
            rows.append(row)
    return np.array(rows)


def counted_rates(comparisons: Comparisons, table: CalibrationTable) -> dict[str, float]:
    """FMR where a table states these rates."""
    counted = reached(comparisons.strangers.sum(axis=(0, 1)))
    return {f"{rate:g}": float(counted[step_at(table, rate)]) for rate in BAND_RATES}


def rates_again(faces: Faces, table: CalibrationTable) -> dict[str, float]:
    return counted_rates(compare(faces, table.isolation), table)


def rates_by_band(
    probes: Vectors,
    family: Labels,
    bands: NDArray[np.str_],
    gallery: Faces,
    table: CalibrationTable,
) -> dict[str, dict[str, float]]:
    """FMR of each band's probes among a gallery, where the table states these rates.

    `family` of the probes: -1 for strangers to the whole gallery; people of the gallery weigh the
    same.
    """
    weight = 1 / np.bincount(gallery.person)[gallery.person]
    scale = table.isolation.of(probes)
    similarity = on_probes_scale(probes @ gallery.vectors.T, scale[:, None])
    stranger = (family[:, None] != gallery.family) * weight
    step = step_of(similarity)
    found: dict[str, dict[str, float]] = {}
    for label in np.unique(bands):
        rows = bands == label
        found[str(label)] = {"photos": int(rows.sum())} | {
            f"{rate:g}": float(
                stranger[rows][step[rows] >= step_at(table, rate)].sum() / stranger[rows].sum()
            )
            for rate in BAND_RATES
        }
    return found


def two_names(judge: Vectors, faces: Faces, fitted: Fit, seed: int) -> TwoNames:
    """`judge`: the teacher's embeddings of the same photos, which knows people better."""
    photos = np.bincount(faces.person)
    means = np.zeros((faces.people, judge.shape[1]))
    np.add.at(means, faces.person, judge)
    means /= photos[:, None]
    several = photos > 1
    own = ((means**2).sum(axis=1) - 1 / photos) / np.maximum(1 - 1 / photos, LEAST_SHARE)
    family = np.zeros(faces.people, dtype=np.int64)
    family[faces.person] = faces.family
    alike = np.triu(means @ means.T >= (own[:, None] + own) / 2, 1)
    alike &= (family[:, None] != family) & several[:, None] & several
    again = np.isin(faces.person, np.nonzero(alike)[1])
    kept = Faces(
        faces.vectors[~again],
        np.unique(faces.person[~again], return_inverse=True)[1],
        np.unique(faces.family[~again], return_inverse=True)[1],
    )
    at = step_at(fitted.table, TWO_NAMES_FMR)
    refitted = fit(kept, fitted.table.isolation, model_sha256="", data="", seed=seed).table
    return TwoNames(int(alike.sum()), fitted.table.log10_fmr[at], refitted.log10_fmr[at])
