"""ArcFace as in the paper: the centres of the people are learnt along with the network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from face_models.training.losses import ArcFace
from face_models.training.network import EMBEDDING_DIMENSIONS


class LearntArcFace(ArcFace):
    """Every face is of somebody whom it knows; the base class holds centres that stay."""

    def __init__(self, people: int, scale: float, margin_rad: float) -> None:
        drawn = torch.randn(people, EMBEDDING_DIMENSIONS)
        super().__init__(drawn, scale, margin_rad)
        del self.centres
        self.centres = nn.Parameter(drawn / EMBEDDING_DIMENSIONS**0.5)

    def cosines(self, embedding: Tensor) -> Tensor:
        return F.normalize(embedding) @ F.normalize(self.centres).T

    def forward(self, embedding: Tensor, identity: Tensor) -> Tensor:
        cosine = self.cosines(embedding)
        return F.cross_entropy(self.scale * self._with_margin(cosine, identity), identity)
