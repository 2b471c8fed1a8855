"""What ages are learnt from: pixels, or features that were computed once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from face_models.training.augment import Faces, augment
from face_models.training.detector.learner import Losses
from face_models.training.pixels import enlarged
from face_models.training.restored.faces import Aged
from face_models.training.restored.lessons import VIEWS, WATCH_SEED, anyhow_masked, watched
from face_models.training.restored.losses import mean_variance
from face_models.training.restored.masks import masked
from face_models.training.restored.networks import expected_years
from face_models.training.restored.settings import AgeSettings

AGE_VIEWS: Final = replace(
    VIEWS, scale=0.08, turn_deg=8.0, shift=0.04, shrink_chance=0.15, noise_chance=0.1,
    occlusion_chance=0.15,
)  # fmt: skip


@dataclass(frozen=True)
class AgeFigures:
    mae: float  # years
    masked_mae: float


@dataclass
class AgeLesson:
    """Of pixels; all of the network learns."""

    settings: AgeSettings
    learning: Aged
    choosing: Aged
    name: str = "age"

    def losses(self, network: nn.Module, count: int, random: np.random.Generator) -> Losses:
        chosen = random.integers(len(self.learning), size=count)
        views, _ = augment(self.learning.faces.images(chosen), AGE_VIEWS, random)
        views = _some_masked(views, self.settings.masked_share, random)
        rgb = enlarged(views, self.settings.input_px)
        return age_losses(network(rgb), self.learning.years[chosen], self.settings)

    @torch.no_grad()
    def measure(self, network: nn.Module) -> AgeFigures:
        clean = watched(self.choosing.faces)
        years = self.choosing.years[: len(clean)]
        hidden = np.stack([masked(face, row, WATCH_SEED).face for row, face in enumerate(clean)])
        told = (
            expected_years(network(enlarged(x, self.settings.input_px))) for x in (clean, hidden)
        )
        return AgeFigures(*(float(np.abs(guess.numpy() - years).mean()) for guess in told))


@dataclass
class AgeHeadLesson:
    """Of features computed once: (4, n, channels) of faces, mirror images, and both masked."""

    settings: AgeSettings
    learning: NDArray[np.float32]
    learning_years: NDArray[np.float32]
    choosing: NDArray[np.float32]
    choosing_years: NDArray[np.float32]
    name: str = "age"

    def losses(self, network: nn.Module, count: int, random: np.random.Generator) -> Losses:
        chosen = random.integers(len(self.learning_years), size=count)
        way = random.integers(2, size=count)  # plain or mirrored
        way += 2 * (random.random(count) < self.settings.masked_share)
        features = torch.from_numpy(self.learning[way, chosen])
        return age_losses(network(features), self.learning_years[chosen], self.settings)

    @torch.no_grad()
    def measure(self, network: nn.Module) -> AgeFigures:
        told = (expected_years(network(torch.from_numpy(self.choosing[way]))) for way in (0, 2))
        years = self.choosing_years
        return AgeFigures(*(float(np.abs(guess.numpy() - years).mean()) for guess in told))


def age_losses(logits: Tensor, years: NDArray[np.float32], settings: AgeSettings) -> Losses:
    parts = mean_variance(
        logits, torch.from_numpy(years), settings.mean_weight, settings.variance_weight
    )
    total = torch.stack(list(parts.values())).sum()
    return Losses(total, {name: part.detach() for name, part in parts.items()})


def _some_masked(views: Faces, share: float, random: np.random.Generator) -> Faces:
    hidden = random.random(len(views)) < share
    worn = [anyhow_masked(v, random)[0] if h else v for v, h in zip(views, hidden, strict=True)]
    return np.stack(worn)
