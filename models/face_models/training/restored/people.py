"""Region, fill and match on the validation people: probes are treated, the gallery stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tqdm import tqdm

from face_models.align import CROP_PX
from face_models.engine import Engine, open_session
from face_models.training.augment import Faces
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.restored import findings, match
from face_models.training.restored.faces import Material
from face_models.training.restored.request import Request
from face_models.training.restored.trained import Restoration
from face_models.training.restored.treated import DIFFERENCES, MASKED, TREATMENTS, Treated, treat

BATCH: Final = 32
TEACHER: Final = "teacher/mobilefacenet.onnx"

Vectors = NDArray[np.float32]
Embed = Callable[[Faces], dict[str, Vectors]]  # by network


def judge(request: Request, material: Material, restoration: Restoration) -> dict[str, Any]:
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
