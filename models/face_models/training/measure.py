"""How far a network in training has come: figures on the validation identities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from face_models.training.data import NO_IDENTITY, FaceSet
from face_models.training.evaluation.verification import roc
from face_models.training.losses import together
from face_models.training.network import FaceNetwork, mirrored
from face_models.training.pixels import enlarged
from face_models.training.sight import Sight

BATCH = 64
EMBEDDED_FILE = "embedded.npz"  # of a run's folder: what `embed_set` answered last
SightOf = Callable[[Tensor], Sight | None]
FALSE_ACCEPT_RATE = 1e-3


@dataclass(frozen=True)
class Measured:
    """`agreement`: mean cosine with the teacher's clean answers; the rest over all pairs."""

    agreement: float
    auc: float
    tar: float  # at `FALSE_ACCEPT_RATE`

    def __str__(self) -> str:
        return (
            f"cosine with the teacher {self.agreement:.4f}, AUC {self.auc:.4f}, "
            f"TAR@{FALSE_ACCEPT_RATE:g} {self.tar:.4f}"
        )


@torch.no_grad()
def embed_set(
    network: FaceNetwork, sight_of: SightOf, faces: FaceSet, input_px: int
) -> dict[str, NDArray[np.float32]]:
    """(n, 128) unit embeddings of all faces: `alone`, and `together` where there is a base."""
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(faces), BATCH):
        chosen = np.arange(start, min(start + BATCH, len(faces)))
        rgb = enlarged(faces.images(chosen), input_px)
        sight = sight_of(rgb)
        if sight is None:
            embedding = network(rgb)
        else:
            embedding = network(mirrored(rgb), mirrored(sight.heat))
            parts.setdefault("together", []).append(together(embedding, sight.embedding))
        parts.setdefault("alone", []).append(functional.normalize(embedding))
    return {form: torch.cat(rows).numpy() for form, rows in parts.items()}


def judge(vectors: NDArray[np.float32], faces: FaceSet) -> Measured:
    known = faces.identity != NO_IDENTITY
    agreement = (vectors * faces.teacher_both_ways).sum(axis=1).mean()
    upper = np.triu_indices(int(known.sum()), 1)
    similarity = (vectors[known] @ vectors[known].T)[upper].astype(np.float64)
    identity = faces.identity[known]
    far, tar = roc(similarity, identity[upper[0]] == identity[upper[1]])
    return Measured(
        agreement=round(float(agreement), 5),
        auc=round(float(np.trapezoid(tar, far)), 5),
        tar=round(float(tar[far <= FALSE_ACCEPT_RATE].max()), 5),
    )
