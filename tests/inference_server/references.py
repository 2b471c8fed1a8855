"""References of people who do not exist: random unit vectors with pinned seeds."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from face_models.spec import digest_of
from inference_server.gallery import ModelStamp, Reference, Vectors

DIMENSIONS = 128
CROPPING = ("d" * 64, "l" * 64)
GRAPHS = {"base": "b" * 64, "heatmap": "h" * 64}
STAMP = ModelStamp(
    base=digest_of(*CROPPING, GRAPHS["base"]),
    heatmap=digest_of(*CROPPING, GRAPHS["base"], GRAPHS["heatmap"]),
)
OTHER_STAMP = replace(STAMP, heatmap="0" * 64)
ENROLLED_AT = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)


def unit_vectors(count: int, seed: int, dimensions: int = DIMENSIONS) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def reference(person_id: str, face_id: str, **changes: object) -> Reference:
    seed = int.from_bytes(hashlib.sha256(face_id.encode()).digest()[:4], "big")
    base, heatmap = unit_vectors(2, seed)
    made = Reference(
        face_id=face_id,
        person_id=person_id,
        base=base,
        heatmap=heatmap,
        stamp=STAMP,
        photo_sha256=hashlib.sha256(f"photo of {face_id}".encode()).hexdigest(),
        face_index=0,
        box=(10.5, 20.0, 100.0, 120.25),
        quality=77,
        warnings=("several_faces",),
        created_at=ENROLLED_AT,
    )
    return replace(made, **changes)  # type: ignore[arg-type]
