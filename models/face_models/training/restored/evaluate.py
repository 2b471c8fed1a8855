"""`face-models restored evaluate`: original, masked and restored faces, matched and aged.

Treatments of a probe, the gallery staying as it is:

    original           the photo
    masked             a mask that follows from the photo's number and the seed
    restored           what the region network found, filled in by the restoration network
    restored, told     the same, but told exactly where the mask is
    mean face          what was found, filled with the mean of the training faces: invents nobody
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from face_models.align import CROP_PX
from face_models.engine import Engine, open_session
from face_models.spec import WEIGHTS_DIR, load_specs, sha256_of
from face_models.training.augment import Faces
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.provenance import provenance
from face_models.training.restored import faces as who
from face_models.training.restored import findings, match
from face_models.training.restored.faces import Aged, Material
from face_models.training.restored.masks import Masked, Region, masked
from face_models.training.restored.settings import AgeSettings, read_run
from face_models.training.restored.train import CONFIG_FILE, shipped_base
from face_models.training.restored.trained import (
    AgeTeller,
    Restoration,
    load_age_teller,
    load_restoration,
)

ORIGINAL, MASKED, RESTORED, TOLD, MEAN = (
    "original", "masked", "restored", "restored, told", "mean face",
)  # fmt: skip
TREATMENTS: Final = (ORIGINAL, MASKED, RESTORED, TOLD, MEAN)
DIFFERENCES: Final = {
    f"{RESTORED} - {MASKED}": (RESTORED, MASKED),
    f"{TOLD} - {MASKED}": (TOLD, MASKED),
    f"{MEAN} - {MASKED}": (MEAN, MASKED),
    f"{RESTORED} - {MEAN}": (RESTORED, MEAN),
    f"{MASKED} - {ORIGINAL}": (MASKED, ORIGINAL),
}
PROBES_EACH: Final = 2
BATCH: Final = 32
TEACHER: Final = "teacher/mobilefacenet.onnx"
STUDY_MAE: Final = {ORIGINAL: 4.47, MASKED: 11.33, RESTORED: 7.86}
"""Years, table 1 of the study of age estimation under occlusion."""

Vectors = NDArray[np.float32]
Embed = Callable[[Faces], dict[str, Vectors]]  # by network


@dataclass(frozen=True)
class Request:
    data: Path
    runs: Path
    weights: Path = WEIGHTS_DIR
    probes_each: int = PROBES_EACH
    resampling: Resampling = field(default_factory=Resampling)
    threads: int = 1

    @property
    def age_runs(self) -> list[str]:
        """Every finished or unfinished run of an age network."""
        configs = sorted(self.runs.glob(f"*/{CONFIG_FILE}"))
        runs = [read_run(path) for path in configs if (path.parent / "age.pt").exists()]
        return [run.name for run in runs if isinstance(run.settings, AgeSettings)]


@dataclass(frozen=True)
class Treated:
    """The same faces under every treatment, and what was found on them."""

    worn: Sequence[Masked]
    found: Region
    faces: Mapping[str, Faces]

    @property
    def truth(self) -> Region:
        return np.stack([one.region for one in self.worn])


def evaluate(request: Request) -> tuple[dict[str, Any], Restoration]:
    """The document, and the networks that it speaks of."""
    torch.set_num_threads(request.threads)
    material = who.load(request.data, request.runs / "cache")
    restoration = load_restoration(request.runs)
    document = {
        **_people(request, material, restoration),
        "age": _ages(request, material, restoration),
        "runs": {name: _run(request.runs / name) for name in _runs(request)},
        "weights_sha256": {
            name: spec.sha256 for name, spec in load_specs(request.weights).models.items()
        },
        "bootstrap": asdict(request.resampling),
        "provenance": asdict(
            provenance(
                "validation people; UTKFace photos kept from training", request.resampling.seed
            )
        ),
    }
    return document, restoration


def treat(faces: Faces, names: Sequence[object], restoration: Restoration, seed: int) -> Treated:
    worn = [masked(face, name, seed) for face, name in zip(faces, names, strict=True)]
    hidden, truth = np.stack([one.face for one in worn]), np.stack([one.region for one in worn])
    found = restoration.found(hidden)
    return Treated(
        worn,
        found,
        {
            ORIGINAL: faces,
            MASKED: hidden,
            RESTORED: restoration.restored(hidden, found),
            TOLD: restoration.restored(hidden, truth),
            MEAN: restoration.averaged(hidden, found),
        },
    )


def _people(request: Request, material: Material, restoration: Restoration) -> dict[str, Any]:
    """Region, fill and match, on the validation people."""
    faces, resampling = material.validation, request.resampling
    searches = match.searches_of(faces, request.probes_each, resampling.seed)
    probes, person = faces.images(searches.probes), searches.person
    treated = treat(probes, faces.rows[searches.probes].tolist(), restoration, resampling.seed)
    gallery = faces.images(searches.gallery)
    aged = material.aged_reporting.faces
    clean = {
        "probes as they are": restoration.found(probes),
        "UTKFace photos as they are": restoration.found(aged.images(np.arange(len(aged)))),
    }
    before, after = clean["probes as they are"], treated.found
    shares = before.mean(axis=(1, 2)), after.mean(axis=(1, 2))
    return {
        "people": len(gallery),
        "probes": len(probes),
        "region": findings.region_figures(treated.worn, treated.found, clean, person, resampling),
        "hidden_share": findings.beside_shipped_measure(
            (probes, treated.faces[MASKED]), shares, treated.truth.mean(axis=(1, 2))
        ),
        "fill": findings.fill_figures(
            probes,
            {name: treated.faces[name] for name in TREATMENTS[1:]},
            treated.truth,
            person,
            resampling,
        ),
        "match": _matched(_embedder(request), treated, gallery, person, resampling),
    }


def _matched(
    embed: Embed, treated: Treated, gallery: Faces, person: match.Numbers, resampling: Resampling
) -> dict[str, Any]:
    enrolled = embed(gallery)
    probes = {name: embed(faces) for name, faces in treated.faces.items()}
    return {
        network: match.measure(
            {name: match.compare(one[network], mates, person) for name, one in probes.items()},
            DIFFERENCES,
            resampling,
        )
        for network, mates in enrolled.items()
    }


def _embedder(request: Request) -> Embed:
    """Both shipped networks and, where it lies beside the data, the teacher."""
    engine = Engine(request.weights, request.threads)
    file = request.data / TEACHER
    teacher = open_session(file, request.threads) if file.exists() else None

    def embed(faces: Faces) -> dict[str, Vectors]:
        parts: dict[str, list[Vectors]] = {"base": [], "heatmap": []}
        for at in tqdm(range(0, len(faces), BATCH), "faces", unit="batch", leave=False):
            batch = faces[at : at + BATCH]
            crops = [cv2.resize(face, (CROP_PX, CROP_PX)) for face in batch]
            answer = engine.embed(np.stack(crops).astype(np.uint8))
            parts["base"].append(answer.base)
            parts["heatmap"].append(answer.heatmap)
            if teacher is not None:
                parts.setdefault("teacher", []).append(_by_teacher(teacher, batch))
        return {network: np.concatenate(rows) for network, rows in parts.items()}

    return embed


def _by_teacher(session: onnxruntime.InferenceSession, faces: Faces) -> Vectors:
    rgb = np.ascontiguousarray(faces.transpose(0, 3, 1, 2), dtype=np.float32)
    answer: Vectors = session.run(["embedding"], {"rgb": rgb})[0]
    return answer


def _ages(request: Request, material: Material, restoration: Restoration) -> dict[str, Any]:
    """The network is chosen by its MAE on one tenth of the ages, and judged on another."""
    base = shipped_base()
    tellers = [load_age_teller(request.runs / name, base) for name in request.age_runs]
    seed = request.resampling.seed
    choosing = _treated_aged(material.aged_choosing, restoration, seed)
    chosen_by = {
        one.run: {
            name: _mae(one, choosing, name, material.aged_choosing) for name in TREATMENTS[:3]
        }
        for one in tellers
    }
    reporting = _treated_aged(material.aged_reporting, restoration, seed)
    years = material.aged_learning.years
    return {
        "learned_from": len(years),
        "choosing": {"number": len(material.aged_choosing), "mae": chosen_by},
        "chosen": min(chosen_by, key=lambda name: chosen_by[name][ORIGINAL]),
        "always_the_median": float(np.abs(material.aged_reporting.years - np.median(years)).mean()),
        "study_mae": STUDY_MAE,
        "networks": {
            one.run: _judged(one, reporting, material.aged_reporting, request.resampling)
            for one in tellers
        },
    }


def _treated_aged(aged: Aged, restoration: Restoration, seed: int) -> Treated:
    return treat(
        aged.faces.images(np.arange(len(aged))), aged.faces.rows.tolist(), restoration, seed
    )


def _mae(teller: AgeTeller, treated: Treated, name: str, aged: Aged) -> float:
    return float(np.abs(teller(treated.faces[name]) - aged.years).mean())


def _judged(
    teller: AgeTeller, treated: Treated, aged: Aged, resampling: Resampling
) -> dict[str, Any]:
    told = {name: teller(faces) for name, faces in treated.faces.items()}
    figures = findings.age_figures(told, aged.years, aged.group, resampling)
    differences = {
        name: findings.age_difference(told[these], told[those], aged.years, aged.group, resampling)
        for name, (these, those) in DIFFERENCES.items()
    }
    return {"figures": figures, "differences": differences}


def _runs(request: Request) -> list[str]:
    return ["region", "restoration", *request.age_runs]


def _run(run_dir: Path) -> dict[str, Any]:
    """What trained it, and for how long."""
    run = read_run(run_dir / CONFIG_FILE)
    checkpoint = run_dir / f"{run.kind}.pt"
    state = torch.load(checkpoint, weights_only=True)
    return {
        "seed": run.training.seed,
        "steps": state["step"],
        "examples": state["step"] * run.training.batch,
        "minutes": round(state["seconds"] / 60, 1),
        "parameters": sum(
            weight.numel() for weight in state["average"].values() if weight.is_floating_point()
        ),
        "sha256": sha256_of(checkpoint),
    }
