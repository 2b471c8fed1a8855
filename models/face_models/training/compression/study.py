"""`face-models compress`: exports and trials in the order that they need each other.

Either part answers a document for the report; `report.py` lays them into one file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import torch

from face_models.engine import Engine, open_session
from face_models.spec import WEIGHTS_DIR, sha256_of
from face_models.training import data
from face_models.training.checkpoint import Trained, load_trained
from face_models.training.compression import edge
from face_models.training.compression.latency import race
from face_models.training.compression.prune import multiplications, parameters, pruned
from face_models.training.compression.trial import TrialSettings, run_trial
from face_models.training.evaluation.evaluate import (
    MODELS,
    embed_faces,
    identity_scores,
    verify_identities,
)
from face_models.training.evaluation.harness import Request, evaluate
from face_models.training.export import INPUT_PX, base_graph, export_graph
from face_models.training.provenance import provenance
from face_models.training.publish import calibrate

KEPT_ARMS = "pruning-arms.jsonl"
SEED = 0

Document = dict[str, Any]


@dataclass(frozen=True)
class Folders:
    """`weights` and `checkpoints` are read; `out` gets a weights folder per form."""

    out: Path
    weights: Path = WEIGHTS_DIR
    checkpoints: Path = Path()
    data: Path = Path()
    decoded: Path = Path()


@dataclass(frozen=True)
class Photos:
    """Labelled pairs of photos, for reporting only."""

    pairs: Path
    images: Path


def export_and_judge(folders: Folders, photos: Photos | None = None, people: int = 150) -> Document:
    """int8 and float16 folders below `folders.out`, and what they cost and save."""
    cv2.setNumThreads(1)
    training, validation = (data.load(folders.data, folders.decoded, s) for s in ("train", "val"))
    samples = edge.draw_samples(training, validation, seed=SEED, people=people)
    source = provenance(
        f"ranges from {len(samples.calibration)} training faces; plans judged on "
        f"{len(samples.validation)} faces of {len(set(samples.identity.tolist()))} validation "
        "identities",
        SEED,
    )
    plans = edge.export_forms(folders.weights, folders.out, samples)
    edge.describe(folders.weights, folders.out, plans, source)
    for form in (edge.INT8, edge.FLOAT16):
        calibrate(folders.out / form, folders.data, folders.decoded)
    speed = edge.latencies(folders.weights, folders.out, samples.validation[:1])
    document: Document = {
        "plans": {network: [asdict(plan) for plan in tried] for network, tried in plans.items()},
        "latency": _as_dicts(speed),
        "bytes": _sizes(folders),
        "validation": _validation(folders, validation),
        "provenance": asdict(source),
    }
    return document | ({"pairs": _pairs(folders, photos)} if photos else {})


def _form_folders(folders: Folders) -> dict[str, Path]:
    made = {form: folders.out / form for form in (edge.INT8, edge.FLOAT16)}
    return {edge.FLOAT32: folders.weights, **made}


def _sizes(folders: Folders) -> Document:
    return {
        form: {network: (folder / f"{network}.onnx").stat().st_size for network in MODELS}
        for form, folder in _form_folders(folders).items()
    }


def _validation(folders: Folders, faces: data.FaceSet) -> Document:
    """All validation identities, network by network."""
    figures: Document = {}
    for form, folder in _form_folders(folders).items():
        embeddings = embed_faces(Engine(folder), faces)
        figures[form] = {
            name: asdict(
                verify_identities(identity_scores(getattr(embeddings, name), faces.identity))
            )
            for name in MODELS
        }
    return figures


def _pairs(folders: Folders, photos: Photos) -> Document:
    figures: Document = {"list": photos.pairs.name}
    for form, folder in _form_folders(folders).items():
        asked = Request(ways=MODELS, pairs=photos.pairs, images=photos.images, weights=folder)
        figures[form] = {
            report.model: asdict(report.verification) for report in evaluate(asked).pairs_reports
        }
    return figures


def prune_and_compare(folders: Folders, settings: TrialSettings) -> Document:
    """Both initialisations at every share and seed; sizes and speed at the served input size."""
    cv2.setNumThreads(1)
    checkpoint = folders.checkpoints / "base.safetensors"
    trained = load_trained(checkpoint)
    training, validation = (data.load(folders.data, folders.decoded, s) for s in ("train", "val"))
    folders.out.mkdir(parents=True, exist_ok=True)
    outcomes = run_trial(
        trained.network,
        sha256_of(checkpoint),
        (training, validation),
        settings,
        folders.out / KEPT_ARMS,
    )
    return {
        "settings": asdict(settings),
        "sizes": _pruned_sizes(trained, settings),
        "outcomes": [asdict(outcome) for outcome in outcomes],
        "provenance": asdict(provenance("fine-tuned on `train`, measured on all of `val`")),
    }


def _pruned_sizes(trained: Trained, settings: TrialSettings) -> list[Document]:
    """Of the exported base graph, whole and pruned; latency on one thread beside the whole one."""
    sizes: list[Document] = []
    with tempfile.TemporaryDirectory() as scratch:
        files = {}
        for share in (0.0, *settings.removed_shares):
            network = pruned(trained.network, share) if share else trained.network
            whole = Trained(trained.backbone, network.eval(), trained.identity_centres)
            files[share] = Path(scratch) / f"{share}.onnx"
            export_graph(base_graph(whole.explained()), files[share])
            sizes.append(
                {
                    "removed_share": share,
                    "parameters": parameters(network),
                    "multiplications": multiplications(network, INPUT_PX),
                    "bytes": files[share].stat().st_size,
                }
            )
        sessions = {str(share): open_session(file, 1) for share, file in files.items()}
        face = torch.rand(1, 3, INPUT_PX, INPUT_PX, generator=torch.Generator().manual_seed(SEED))
        speed = race(sessions, {"rgb": 255 * face.numpy()})
    return [size | asdict(speed[str(size["removed_share"])]) for size in sizes]


def _as_dicts(tables: Mapping[str, Mapping[str, Any]]) -> Document:
    return {
        network: {form: asdict(entry) for form, entry in forms.items()}
        for network, forms in tables.items()
    }
