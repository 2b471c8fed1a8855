"""Learning the landmarks of upright faces and their alignment, and measuring both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from face_models.landmarks import EYE_DISTANCE_PX, TEMPLATE
from face_models.training.data import FaceSet
from face_models.training.detector.landmark_crops import (
    Crop,
    aligned_crop_of,
    crop_of,
    portraits_of,
)
from face_models.training.detector.learner import Losses
from face_models.training.detector.photos import LabelledPhoto

MEASURE_SEED = 5
MEASURED_ALIGNED = 1000
ROUNDING = 0.03  # eye distances below which the loss is quadratic: about what the labels know
TEMPLATE_IN_EYES = torch.from_numpy(TEMPLATE / EYE_DISTANCE_PX).float()


@dataclass(frozen=True)
class LandmarkReport:
    """Distances in eye distances, over misplaced crops.

    Of landmarks from their labels, and of the template from where alignment by them puts it.
    """

    faces: int
    mean_error: float
    median_error: float
    error_of_nine_in_ten: float
    median_alignment_error: float
    aligned_faces: int
    aligned_median_alignment_error: float
    aligned_mean_alignment_error: float

    def __str__(self) -> str:
        return (
            f"off by {self.mean_error:.4f} eye distances in the mean, "
            f"{self.median_error:.4f} in the median, {self.error_of_nine_in_ten:.4f} in 90 %; "
            f"aligned within {self.median_alignment_error:.4f} in the median, training faces "
            f"{self.aligned_median_alignment_error:.4f}, {self.aligned_mean_alignment_error:.4f} "
            "in the mean"
        )


@dataclass(frozen=True)
class Batch:
    rgb: Tensor  # (n, 3, 96, 96)
    offsets: Tensor  # (n, 10); 0 where not labelled
    labelled: Tensor  # (n,) bool
    places: Tensor  # (n, 10)


class LandmarkLesson:
    """`aligned`: faces on the template, of the splits of the photos; `aligned_share`: of crops."""

    name = "landmarks"

    def __init__(
        self,
        photos: Sequence[LabelledPhoto],
        measured: Sequence[LabelledPhoto],
        aligned: FaceSet,
        aligned_measured: FaceSet,
        aligned_share: float,
    ) -> None:
        self._portraits = portraits_of(photos)
        self._aligned = aligned
        self._aligned_share = aligned_share
        random = np.random.default_rng(MEASURE_SEED)
        self._measured = batch_of([crop_of(face, random) for face in portraits_of(measured)])
        count = min(len(aligned_measured), MEASURED_ALIGNED)
        chosen = random.choice(len(aligned_measured), count, replace=False)
        faces = aligned_measured.images(chosen)
        self._aligned_measured = batch_of([aligned_crop_of(face, random) for face in faces])

    def losses(self, network: nn.Module, count: int, random: np.random.Generator) -> Losses:
        batch = batch_of(list(self._crops(count, random)))
        found = network(batch.rgb)
        landmark = functional.smooth_l1_loss(
            found[batch.labelled], batch.offsets[batch.labelled], beta=ROUNDING
        )
        off = misaligned(found, batch.places)
        alignment = functional.smooth_l1_loss(off, torch.zeros_like(off), beta=ROUNDING)
        return Losses(landmark + alignment, {"landmark": landmark, "alignment": alignment})

    def _crops(self, count: int, random: np.random.Generator) -> Iterator[Crop]:
        aligned = round(count * self._aligned_share)
        chosen = random.integers(len(self._aligned), size=aligned)
        for face in self._aligned.images(chosen):
            yield aligned_crop_of(face, random)
        for i in random.integers(len(self._portraits), size=count - aligned):
            yield crop_of(self._portraits[i], random)

    @torch.no_grad()
    def measure(self, network: nn.Module) -> LandmarkReport:
        found = network(self._measured.rgb)
        off = distances(found - self._measured.offsets)
        placed = distances(misaligned(found, self._measured.places))
        aligned = self._aligned_measured
        aligned_placed = distances(misaligned(network(aligned.rgb), aligned.places))
        return LandmarkReport(
            faces=len(off),
            mean_error=off.mean().item(),
            median_error=off.median().item(),
            error_of_nine_in_ten=off.quantile(0.9).item(),
            median_alignment_error=placed.median().item(),
            aligned_faces=len(aligned_placed),
            aligned_median_alignment_error=aligned_placed.median().item(),
            aligned_mean_alignment_error=aligned_placed.mean().item(),
        )


def batch_of(crops: Sequence[Crop]) -> Batch:
    unknown = np.zeros(TEMPLATE.size, np.float32)
    offsets = [unknown if crop.offsets is None else crop.offsets for crop in crops]
    return Batch(
        rgb=torch.from_numpy(np.stack([crop.rgb for crop in crops])).permute(0, 3, 1, 2),
        offsets=torch.from_numpy(np.stack(offsets)),
        labelled=torch.tensor([crop.offsets is not None for crop in crops]),
        places=torch.from_numpy(np.stack([crop.places for crop in crops])),
    )


def misaligned(found: Tensor, places: Tensor) -> Tensor:
    """How far alignment by the landmarks found takes `places` from the template: (n, 10) each.

    `align.similarity` as a part of the loss: the template regressed on the landmarks.
    """
    landmarks, target = complexes(found), torch.view_as_complex(TEMPLATE_IN_EYES)
    middle = landmarks.mean(dim=1, keepdim=True)
    centred = landmarks - middle
    spread = centred.abs().square().sum(dim=1, keepdim=True)
    factor = (centred.conj() * target).sum(dim=1, keepdim=True) / spread
    aligned = factor * (complexes(places) - middle) + target.mean()
    return torch.view_as_real(aligned - target).flatten(1)


def complexes(offsets: Tensor) -> Tensor:
    """(n, 10) offsets from the template -> points (n, 5)."""
    points = offsets.reshape(-1, len(TEMPLATE), 2) + TEMPLATE_IN_EYES
    return torch.view_as_complex(points.contiguous())


def distances(offsets: Tensor) -> Tensor:
    """Mean over the points, (n,)."""
    off: Tensor = offsets.reshape(-1, len(TEMPLATE), 2).norm(dim=2).mean(dim=1)
    return off
