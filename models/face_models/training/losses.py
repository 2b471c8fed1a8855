"""What the networks learn from: the teacher's direction, and the identities on the photos."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from face_models.training.data import NO_IDENTITY


def distillation(embedding: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 - cosine between student (n, 128) and unit-length teacher (n, 128): 0..2."""
    return (1 - F.cosine_similarity(embedding, teacher)).mean()


def relations(embedding: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of all cosines within the batch (Park et al. 2019, arXiv:1904.05068).

    What a gallery ranks by are cosines between faces: they are matched beside the directions.
    """
    student = F.normalize(embedding)
    return F.mse_loss(student @ student.T, teacher @ teacher.T)


def together(embedding: Tensor, base: Tensor) -> Tensor:
    """The heatmap network's embedding (n, 128) and the base network's unit one, as one: unit sum.

    The base network runs anyway, to draw the heatmap; two networks err less than one.
    """
    return F.normalize(F.normalize(embedding) + base)


class ArcFace(nn.Module):
    """Additive angular margin loss (Deng et al. 2019, arXiv:1801.07698) around fixed centres.

    The centres are the teacher's and stay where they are: with a few photos an identity, learnt
    ones wander (Adam moves every row at every step) and then pull against the distillation.

    Args:
        centres: (identities, 128) directions, one per identity.
        scale: of the cosine before softmax.
        margin_rad: added to the angle of the true identity.
    """

    centres: Tensor

    def __init__(self, centres: Tensor, scale: float, margin_rad: float) -> None:
        super().__init__()
        self.register_buffer("centres", F.normalize(centres))
        self.scale = scale
        self.margin_rad = margin_rad

    def forward(self, embedding: Tensor, identity: Tensor) -> Tensor:
        """Mean cross entropy over the faces whose identity is known; 0 where none is."""
        known = identity != NO_IDENTITY
        if not bool(known.any()):
            return embedding.sum() * 0
        cosine = F.normalize(embedding[known]) @ self.centres.T
        target = identity[known]
        return F.cross_entropy(self.scale * self._with_margin(cosine, target), target)

    def _with_margin(self, cosine: Tensor, target: Tensor) -> Tensor:
        own = cosine.gather(1, target[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
        moved = own * math.cos(self.margin_rad) - (1 - own**2).sqrt() * math.sin(self.margin_rad)
        # Past the angle where the margin would turn around, a line goes on falling.
        turn = math.cos(math.pi - self.margin_rad)
        line = own - self.margin_rad * math.sin(math.pi - self.margin_rad)
        return cosine.scatter(1, target[:, None], torch.where(own > turn, moved, line))


def identity_centres(teacher: Tensor, identity: Tensor, identities: int) -> Tensor:
    """(identities, 128): the mean teacher embedding of each identity, unit length."""
    known = identity != NO_IDENTITY
    sums = torch.zeros(identities, teacher.shape[1])
    sums.index_add_(0, identity[known], teacher[known])
    return F.normalize(sums)
