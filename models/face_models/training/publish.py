"""From trained runs to the weights folder that serving loads: graphs, model.json, calibration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from face_models.calibration import Calibration, CalibrationTable, fit
from face_models.engine import Engine
from face_models.spec import WEIGHTS_DIR, ModelSpec, write_specs
from face_models.training import data
from face_models.training.checkpoint import Trained, load_trained, save_trained
from face_models.training.evaluate import (
    MODELS,
    IdentityScores,
    embed_faces,
    identity_scores,
    verify_identities,
)
from face_models.training.export import base_graph, export_graph, heatmap_graph
from face_models.training.provenance import provenance
from face_models.training.train import load_run
from face_models.training.verification import Verification

CALIBRATION_SEED = 0  # every pair of the validation identities is used: nothing is drawn


@dataclass(frozen=True)
class Validation:
    """Figures over all pairs of the validation identities, by network."""

    faces: int
    people: int
    genuine_pairs: int
    impostor_pairs: int
    models: Mapping[str, Verification]


def keep_checkpoints(runs_dir: Path, checkpoints_dir: Path) -> dict[str, Trained]:
    """The runs' networks as safetensors files, which tests and fine-tuning start from."""
    checkpoints_dir.mkdir(parents=True, exist_ok=True)
    trained = {name: load_run(runs_dir / name) for name in MODELS}
    for name, network in trained.items():
        save_trained(network, checkpoints_dir / f"{name}.safetensors")
    return trained


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


def calibrate(weights_dir: Path, data_dir: Path, cache_dir: Path) -> Validation:
    """Measure the exported networks on the validation identities; writes calibration.json."""
    faces = data.load(data_dir, cache_dir, "val")
    engine = Engine(weights_dir, threads=os.cpu_count() or 1)
    embeddings = embed_faces(engine, faces)
    scores = {name: identity_scores(getattr(embeddings, name), faces.identity) for name in MODELS}
    tables = {name: _table(scores[name], engine.specs[name], faces) for name in MODELS}
    Calibration(MappingProxyType(tables)).save(weights_dir)
    return Validation(
        faces=int((faces.identity != data.NO_IDENTITY).sum()),
        people=faces.identities,
        genuine_pairs=len(scores["base"].genuine),
        impostor_pairs=len(scores["base"].impostor),
        models={name: verify_identities(scores[name]) for name in MODELS},
    )


def _table(scores: IdentityScores, spec: ModelSpec, faces: data.FaceSet) -> CalibrationTable:
    sources = ", ".join(np.unique(faces.source[faces.identity != data.NO_IDENTITY]))
    described = f"validation identities ({sources}): {faces.identities} people, none in training"
    return fit(
        scores.genuine,
        scores.impostor,
        model_sha256=spec.sha256,
        data=described,
        seed=CALIBRATION_SEED,
    )
