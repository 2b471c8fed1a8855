"""Faces that an index found -> persons, with the figures and ties of the exact index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inference_server.gallery import Embedding, Resemblance
from inference_server.gallery.ledger import VersionedFaces
from inference_server.gallery.ranking import DECIMALS


def rank_persons(model: str, probe: Embedding, faces: VersionedFaces) -> list[Resemblance]:
    """One row per person, by their most similar face, computed from the vectors of the truth.

    Ties go to the smaller person_id, then the smaller face_id. The sums are made in float64, where
    the order of their terms does not reach the six decimals.
    """
    if not faces.face_ids:
        return []
    products = faces.vectors[model].astype(np.float64) @ probe.astype(np.float64)
    similarities = products.clip(-1, 1).round(DECIMALS)
    rows = sorted(zip(-similarities, faces.person_ids, faces.face_ids, strict=True))
    best: dict[str, Resemblance] = {}
    for distance, person_id, face_id in rows:
        best.setdefault(person_id, Resemblance(person_id, face_id, float(-distance)))
    return list(best.values())


def is_certain(ranked: Sequence[Resemblance], top_k: int, bound: float) -> bool:
    """Whether nobody whose similarity is at most `bound` can be among the first `top_k`."""
    return len(ranked) >= top_k and ranked[top_k - 1].similarity > bound
