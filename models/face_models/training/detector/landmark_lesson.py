"""Learning the landmarks of upright faces, and measuring how far off they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from face_models.training.detector.landmark_crops import Crop, crop_of, portraits_of
from face_models.training.detector.learner import Losses
from face_models.training.detector.photos import LabelledPhoto

MEASURE_SEED = 5
ROUNDING = 0.03  # eye distances below which the loss is quadratic: about what the labels know


@dataclass(frozen=True)
class LandmarkReport:
    """Mean distance from the labels, in eye distances, over misplaced crops."""

    faces: int
    mean_error: float
    median_error: float
    error_of_nine_in_ten: float

    def __str__(self) -> str:
        return (
            f"off by {self.mean_error:.4f} eye distances in the mean, "
            f"{self.median_error:.4f} in the median, below {self.error_of_nine_in_ten:.4f} in 90 %"
        )


class LandmarkLesson:
    name = "landmarks"

    def __init__(self, photos: Sequence[LabelledPhoto], measured: Sequence[LabelledPhoto]) -> None:
        self._portraits = portraits_of(photos)
        random = np.random.default_rng(MEASURE_SEED)
        self._measured = [crop_of(portrait, random) for portrait in portraits_of(measured)]

    def losses(self, network: nn.Module, count: int, random: np.random.Generator) -> Losses:
        chosen = random.integers(len(self._portraits), size=count)
        rgb, offsets = batch_of([crop_of(self._portraits[i], random) for i in chosen])
        loss = functional.smooth_l1_loss(network(rgb), offsets, beta=ROUNDING)
        return Losses(loss, {"landmark": loss})

    @torch.no_grad()
    def measure(self, network: nn.Module) -> LandmarkReport:
        rgb, offsets = batch_of(self._measured)
        off = (network(rgb) - offsets).reshape(-1, 5, 2).norm(dim=2).mean(dim=1)
        return LandmarkReport(
            faces=len(off),
            mean_error=off.mean().item(),
            median_error=off.median().item(),
            error_of_nine_in_ten=off.quantile(0.9).item(),
        )


def batch_of(crops: Sequence[Crop]) -> tuple[Tensor, Tensor]:
    """Pixels (n, 3, 80, 80) and offsets (n, 10)."""
    rgb = torch.from_numpy(np.stack([crop.rgb for crop in crops])).permute(0, 3, 1, 2)
    return rgb, torch.from_numpy(np.stack([crop.offsets for crop in crops]))
