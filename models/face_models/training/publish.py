"""From trained runs to the weights folder that serving loads: graphs, model.json, calibration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from face_models.calibration import Calibration
from face_models.engine import Engine
from face_models.spec import WEIGHTS_DIR, write_specs
from face_models.template import FLIP_SUFFIX
from face_models.training import data
from face_models.training.calibrating.clumps import fit_isolation
from face_models.training.calibrating.comparisons import Faces, Labels
from face_models.training.calibrating.fit import Fit, fit
from face_models.training.calibrating.subjects import (
    TEMPLATES,
    Subjects,
    cohort_subjects,
    validation_subjects,
)
from face_models.training.checkpoint import Trained, load_trained, save_trained
from face_models.training.config import HeatSettings, read_config
from face_models.training.evaluation.evaluate import (
    MODELS,
    identity_scores,
    verify_identities,
)
from face_models.training.evaluation.verification import Verification
from face_models.training.export import ExportError, base_graph, export_graph, heatmap_graph
from face_models.training.provenance import provenance
from face_models.training.train import load_run

CALIBRATION_SEED = 0  # of the cohort that is drawn, and of the intervals' bootstrap
COHORT_PEOPLE = 4000  # the third nearest of them is about where one impostor in a thousand is


@dataclass(frozen=True)
class Validation:
    """Figures over all pairs of the validation identities, by network."""

    faces: int
    people: int
    genuine_pairs: int
    impostor_pairs: int
    models: Mapping[str, Verification]


def keep_checkpoints(runs_dir: Path, checkpoints_dir: Path) -> dict[str, Trained]:
    """The runs' networks as safetensors files, which tests and fine-tuning start from.

    Raises:
        ExportError: the heatmap network learnt other maps than the exported base graph draws.
    """
    _refuse_other_maps(runs_dir / "heatmap")
    checkpoints_dir.mkdir(parents=True, exist_ok=True)
    trained = {name: load_run(runs_dir / name) for name in MODELS}
    for name, network in trained.items():
        save_trained(network, checkpoints_dir / f"{name}.safetensors")
    return trained


def _refuse_other_maps(run_dir: Path) -> None:
    heat = read_config(run_dir / "config.toml").heat
    if heat.enters == "nowhere" or replace(heat, enters="channel") != HeatSettings():
        raise ExportError(f"{run_dir.name} learnt another heatmap than base.onnx draws: {heat}")


def load_checkpoints(checkpoints_dir: Path) -> dict[str, Trained]:
    return {name: load_trained(checkpoints_dir / f"{name}.safetensors") for name in MODELS}


def export_networks(trained: Mapping[str, Trained], weights_dir: Path) -> dict[str, float]:
    """Both graphs and model.json; answers each graph's largest difference to torch."""
    torch.set_num_threads(os.cpu_count() or 1)
    weights_dir.mkdir(parents=True, exist_ok=True)
    for name in ("detector.onnx", "landmarks.onnx"):
        if not (weights_dir / name).exists():  # a new folder: the shipped ones find its faces
            shutil.copyfile(WEIGHTS_DIR / name, weights_dir / name)
    graphs = {
        "base": base_graph(trained["base"].explained()),
        "heatmap": heatmap_graph(trained["heatmap"].network),
    }
    differences = {
        name: export_graph(graph, weights_dir / f"{name}.onnx") for name, graph in graphs.items()
    }
    source = asdict(provenance("the training set's `train` split"))
    write_specs(
        weights_dir, {name: {"backbone": trained[name].backbone, **source} for name in MODELS}
    )
    return differences


def export_base(run_dir: Path, weights_dir: Path) -> Path:
    """A run's base graph alone, to be measured beside the shipped one."""
    weights_dir.mkdir(parents=True, exist_ok=True)
    target = weights_dir / "base.onnx"
    export_graph(base_graph(load_run(run_dir).explained()), target)
    return target


def calibrate(weights_dir: Path, data_dir: Path, cache_dir: Path) -> Validation:
    """Measure the exported networks on the validation identities; writes calibration.json."""
    engine = Engine(weights_dir, threads=os.cpu_count() or 1)
    validation = validation_subjects(engine, data_dir, cache_dir)
    cohort = cohort_subjects(engine, data_dir, cache_dir)
    tables = {
        template: fit_template(template, engine, validation, cohort).table for template in TEMPLATES
    }
    Calibration(MappingProxyType(tables)).save(weights_dir)
    identity = _with_two_photos(validation.person)
    scores = {name: identity_scores(validation.vectors[name], identity) for name in MODELS}
    return Validation(
        faces=int((identity != data.NO_IDENTITY).sum()),
        people=len(np.unique(identity[identity != data.NO_IDENTITY])),
        genuine_pairs=len(scores["base"].genuine),
        impostor_pairs=len(scores["base"].impostor),
        models={name: verify_identities(scores[name]) for name in MODELS},
    )


def fit_template(template: str, engine: Engine, validation: Subjects, cohort: Subjects) -> Fit:
    faces = validation.embedded(template)
    return fit(
        faces,
        fit_isolation(drawn_cohort(cohort.embedded(template))),
        model_sha256=engine.specs[template.removesuffix(FLIP_SUFFIX)].sha256,
        data=f"validation identities ({', '.join(np.unique(validation.source))}): "
        f"{faces.people} people of {faces.families} families, none in training",
        seed=CALIBRATION_SEED,
    )


def drawn_cohort(cohort: Faces, most: int = COHORT_PEOPLE) -> Faces:
    """At most so many of them."""
    order = np.random.default_rng(CALIBRATION_SEED).permutation(len(cohort.person))[:most]
    return Faces(cohort.vectors[order], cohort.person[order], cohort.family[order])


def _with_two_photos(person: Labels) -> Labels:
    """Verification figures are of people with two photos or more."""
    return np.where(np.bincount(person)[person] > 1, person, data.NO_IDENTITY)
