"""`face-models calibrate`: fits, proves, and writes calibration.json and the report on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from face_models.calibration import Calibration
from face_models.engine import Engine
from face_models.pipeline import Pipeline
from face_models.spec import MODEL_NAMES
from face_models.training import data
from face_models.training.calibrating.clumps import no_isolation
from face_models.training.calibrating.comparisons import Faces, Vectors
from face_models.training.calibrating.fit import Fit, fit
from face_models.training.calibrating.openset import Proof, Searches, prove
from face_models.training.calibrating.study import (
    GALLERY_SIZES,
    OwnCrops,
    People,
    other_half,
    own_crops,
    people_of_folder,
    points,
    rates_again,
    rates_by_band,
    two_names,
)
from face_models.training.calibrating.subjects import (
    TEMPLATES,
    Subjects,
    cohort_subjects,
    embed_once,
    validation_subjects,
)
from face_models.training.evaluation import demographics
from face_models.training.evaluation.breakdown import QUALITY_EDGES, band
from face_models.training.evaluation.identities import labelled_faces
from face_models.training.evaluation.tables import table
from face_models.training.publish import CALIBRATION_SEED, drawn_cohort, fit_template

FAMILIES_SOURCE: Final = "fiw"
STRANGER: Final = -1
SEEN: Final = (
    "Similarities are on the probe's own scale. The networks saw every face of the training split, "
    "those of the isolation rule and of the galleries that are named so; they saw nobody of the "
    "validation families and nobody of the folder. Ages are UTKFace's, whose photos the networks "
    "saw, too."
)
SAFE, UNSAFE = "no: fewer than stated", "NO: MORE THAN STATED"

Document = dict[str, Any]


@dataclass(frozen=True)
class Folders:
    """`photos`: one folder per person, for reporting only (LFW); None: no such report."""

    weights: Path
    data: Path
    cache: Path
    photos: Path | None


@dataclass(frozen=True)
class Material:
    """Everything that was embedded."""

    engine: Engine
    validation: Subjects
    cohort: Subjects
    crops: OwnCrops
    folder: People | None
    ages: Mapping[str, Vectors]
    age_bands: demographics.Labels


def calibrate(folders: Folders, threads: int) -> tuple[Document, dict[str, Fit]]:
    """Fits all templates, writes calibration.json, then measures how right it is."""
    engine = Engine(folders.weights, threads)
    validation = validation_subjects(engine, folders.data, folders.cache)
    cohort = cohort_subjects(engine, folders.data, folders.cache)
    fits = {name: fit_template(name, engine, validation, cohort) for name in TEMPLATES}
    tables = {name: fitted.table for name, fitted in fits.items()}
    Calibration(MappingProxyType(tables)).save(folders.weights)
    pipeline = Pipeline.load(folders.weights, threads)
    labelled = labelled_faces(data.load(folders.data, folders.cache, "train"), CALIBRATION_SEED)
    material = Material(
        engine=engine,
        validation=validation,
        cohort=cohort,
        crops=own_crops(pipeline, engine, validation),
        folder=people_of_folder(pipeline, engine, folders.photos) if folders.photos else None,
        ages=embed_once(engine, labelled, folders.cache),
        age_bands=demographics.people(folders.data, labelled).age,
    )
    models = {name: _model(name, fits[name], material) for name in MODEL_NAMES}
    flips = {name: _curves(fits[name]) for name in TEMPLATES if name not in MODEL_NAMES}
    failures = {
        "own_crops": dict(material.crops.failures),
        "folder": dict(material.folder.failures) if material.folder else None,
    }
    return {"models": models | flips, "failures_to_enrol": failures}, fits


def _curves(fitted: Fit) -> Document:
    told = fitted.table
    spread = np.std(told.isolation.weights)
    return {
        "data": told.data,
        "pairs_of_people": told.pairs_of_people,
        "impostor_pairs": told.impostor_pairs,
        "tail": asdict(told.tail),
        "dispersion": told.dispersion,
        "isolation_rule_is_learnt": bool(spread > 0),
        "points": [asdict(point) for point in points(fitted)],
    }


def _model(name: str, fitted: Fit, material: Material) -> Document:
    faces = material.validation.embedded(name)
    plain = fit(
        faces,
        no_isolation(faces.vectors.shape[1]),
        model_sha256=fitted.table.model_sha256,
        data=fitted.table.data,
        seed=CALIBRATION_SEED,
    )
    rows, crops = material.crops.kept, material.crops
    again = Faces(
        crops.vectors[name],
        np.unique(faces.person[rows], return_inverse=True)[1],
        np.unique(faces.family[rows], return_inverse=True)[1],
    )
    aligned = Faces(faces.vectors[rows], again.person, again.family)
    quality = np.array([band(score, QUALITY_EDGES) for score in crops.quality])
    nobody = np.full(len(material.age_bands), STRANGER)
    return {
        **_curves(fitted),
        "isolation_quantiles": np.round(
            np.quantile(fitted.table.isolation.of(faces.vectors), (0.01, 0.05, 0.5, 0.95, 0.99)), 3
        ).tolist(),
        "proofs": [asdict(proof) for proof in _proofs(name, fitted, material)],
        "two_names": asdict(
            two_names(material.validation.faces.teacher_both_ways, faces, fitted, CALIBRATION_SEED)
        ),
        "fmr_of_aligned_faces": rates_again(aligned, fitted.table),
        "fmr_of_own_crops": rates_again(again, fitted.table),
        "fmr_by_quality": rates_by_band(again.vectors, again.family, quality, again, fitted.table),
        "fmr_by_age": rates_by_band(
            material.ages[name], nobody, material.age_bands, faces, fitted.table
        ),
        "without_isolation": {
            **_curves(plain),
            "proofs": [asdict(proof) for proof in _proofs(name, plain, material)],
            "fmr_by_quality": rates_by_band(
                again.vectors, again.family, quality, again, plain.table
            ),
            "fmr_by_age": rates_by_band(
                material.ages[name], nobody, material.age_bands, faces, plain.table
            ),
        },
    }


def _proofs(name: str, fitted: Fit, material: Material) -> Iterator[Proof]:
    """On validation families that the fit has not seen; then on a folder's people, for report."""
    small, large = GALLERY_SIZES
    cohort = drawn_cohort(material.cohort.embedded(name), len(material.cohort.person)).vectors
    order = np.random.default_rng(CALIBRATION_SEED).permutation(len(material.cohort.person))
    of_families = order[material.cohort.source[order] == FAMILIES_SOURCE][:small]
    enrolled = {
        f"{len(of_families)} people of training families": material.cohort.vectors[name][
            of_families
        ]
    }
    if material.folder is None:
        enrolled[f"{len(cohort)} people of the training split"] = cohort
        yield from other_half(material.validation.embedded(name), fitted, enrolled, 0)
        return
    people = material.folder.vectors[name]
    people = people[np.random.default_rng(CALIBRATION_SEED).permutation(len(people))]
    added = min(max(large - len(cohort), 0), len(people) // 2)
    crowd = np.concatenate([cohort[: large - added], people[:added]])
    mixed = f"{len(crowd) - added} people of the training split and {added} of the folder"
    enrolled[mixed] = crowd
    yield from other_half(material.validation.embedded(name), fitted, enrolled, 0)
    few = min(small, len(people) // 2)
    asked = (
        Searches(
            "the folder's other people", f"{few} people of the folder", people[:few], people[few:]
        ),
        Searches("the folder's other people", mixed, crowd, people[added:]),
    )
    for one in asked:
        yield from prove(one, fitted, CALIBRATION_SEED)


def markdown(document: Document) -> str:
    """The report in words and tables."""
    source = document["provenance"]
    parts = [
        "# Calibration",
        f"`{source['command']}`, commit {source['commit']}, {source['date']}. {source['data']}.",
        SEEN,
    ]
    for name, model in document["models"].items():
        parts += [f"## {name}", *_curve_tables(model)]
        if "proofs" in model:
            parts += _proof_tables(model)
            parts += _band_tables(model)
    parts.append(f"Photos that could not be used: {document['failures_to_enrol']}.")
    return "\n\n".join(parts) + "\n"


def _curve_tables(model: Document) -> Iterator[str]:
    tail = model["tail"]
    yield (
        f"{model['data']}; {model['pairs_of_people']:,} pairs of people, "
        f"{model['impostor_pairs']:,} of photos. Beyond {tail['threshold']:.3f} a generalised "
        f"Pareto tail of shape {tail['shape']:.3f}, scale {tail['scale']:.4f}; dispersion at FMR "
        f"1e-4, 1e-3, 1e-2, 1e-1: {', '.join(f'{size:.3g}' for size in model['dispersion'])}."
    )
    head = ("similarity", "FMR stated", "95 % interval", "counted", "TAR", "FMR of relatives")
    yield table(head, [_point_row(point) for point in model["points"]])


def _point_row(point: Mapping[str, float]) -> Sequence[str]:
    return (
        f"{point['similarity']:.3f}",
        f"{point['stated']:.1e}",
        f"{point['low']:.1e} to {point['high']:.1e}",
        f"{point['counted']:.1e}",
        f"{point['tar']:.3f}",
        f"{point['relatives']:.1e}",
    )


def _proof_tables(model: Document) -> Iterator[str]:
    head = ("searched for", "in a gallery of", "FPIR stated", "95 %", "measured", "within")
    for title, told in (
        ("Stated and measured FPIR", model),
        ("The same without isolation, for comparison", model["without_isolation"]),
    ):
        yield f"### {title}"
        yield table(head, [_proof_row(proof) for proof in told["proofs"]])


def _proof_row(proof: Mapping[str, Any]) -> Sequence[str]:
    outside = UNSAFE if proof["measured"] > proof["high"] else SAFE
    return (
        f"{proof['searches']} ({proof['probes']:,})",
        f"{proof['gallery_size']:,}: {proof['composition']}",
        f"{proof['stated']:.0%}",
        f"{proof['low']:.2%} to {proof['high']:.2%}",
        f"{proof['measured']:.2%}",
        "yes" if proof["within"] else outside,
    )


def _band_tables(model: Document) -> Iterator[str]:
    two = model["two_names"]
    yield (
        f"People who are probably in the data under two names: {two['pairs']} pairs; log10 FMR "
        f"{two['log10_fmr']:.2f} with them, {two['without']:.2f} without."
    )
    rates = tuple(model["fmr_of_own_crops"])
    rows = [
        (title, *(f"{model[key][rate]:.1e}" for rate in rates))
        for title, key in (
            ("aligned as given", "fmr_of_aligned_faces"),
            ("found and aligned by our networks", "fmr_of_own_crops"),
        )
    ]
    yield "### FMR where the calibration states it, by how a face was cropped"
    yield table(("crops", *rates), rows)
    for what, key in (
        ("quality of the probe", "fmr_by_quality"),
        ("age of the probe", "fmr_by_age"),
    ):
        yield f"### By {what}, with isolation and (without)"
        bands, plain = model[key], model["without_isolation"][key]
        yield table(
            (what, "photos", *rates),
            [
                (
                    label,
                    f"{told['photos']:.0f}",
                    *(f"{told[rate]:.1e} ({plain[label][rate]:.1e})" for rate in rates),
                )
                for label, told in bands.items()
            ],
        )
