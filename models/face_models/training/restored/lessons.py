"""What region and restoration are learnt from, and the figures that training is watched by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from face_models.training.augment import AugmentSettings, Faces, augment
from face_models.training.config import NO_CHANGE
from face_models.training.data import FaceSet
from face_models.training.detector.learner import Losses
from face_models.training.network import FaceNetwork
from face_models.training.quality import occlusion_fit
from face_models.training.restored.losses import hole_error, region_loss
from face_models.training.restored.masks import Region, masked, styles, wear
from face_models.training.restored.settings import RegionSettings, RestorationSettings

VIEWS: Final = replace(
    NO_CHANGE, mirror_chance=0.5, scale=0.04, turn_deg=4.0, shift=0.02, brightness=0.25,
    contrast=0.25, saturation=0.3, gamma=0.25, cast=0.05, grey_chance=0.1,
)  # fmt: skip
"""Faces as other photos of them could be, aligned a little worse."""

WATCHED: Final = 256  # validation faces looked at during training
WATCH_SEED: Final = 1


@dataclass(frozen=True)
class RegionFigures:
    iou: float  # mean over masked faces
    false_share: float  # mean share of an unoccluded face that is taken for hidden


@dataclass(frozen=True)
class RestorationFigures:
    error: float  # mean absolute difference in the hole, share of full scale
    identity: float  # mean cosine with the unmasked face, as the base network sees both


@dataclass
class RegionLesson:
    settings: RegionSettings
    faces: FaceSet
    validation: FaceSet
    name: str = "region"

    def losses(self, network: nn.Module, count: int, random: np.random.Generator) -> Losses:
        views = some_views(self.faces, count, VIEWS, random)
        covered = [self._covered(view, random) for view in views]
        rgb = as_planes(np.stack([view for view, _ in covered]))
        region = as_region([region for _, region in covered])
        loss = region_loss(network(rgb), region)
        return Losses(loss, {"loss": loss.detach()})

    def _covered(
        self, view: NDArray[np.uint8], random: np.random.Generator
    ) -> tuple[Faces, Region]:
        """A mask, another cover or nothing; then, now and then, a worse photo of it."""
        chance, masked_share = random.random(), self.settings.masked_share
        side = view.shape[0]
        region: Region = np.zeros((side, side), dtype=bool)
        if chance < masked_share:
            view, region = anyhow_masked(view, random)
        elif chance < masked_share + self.settings.covered_share:
            region = occlusion_fit.cover(side, random)
            view = np.where(region[..., None], occlusion_fit.pattern(side, random), view)
        if random.random() < self.settings.worse_share:
            view = occlusion_fit.worse(view, random)
        return view, region

    @torch.no_grad()
    def measure(self, network: nn.Module) -> RegionFigures:
        clean = watched(self.validation)
        hidden = [masked(face, row, WATCH_SEED) for row, face in enumerate(clean)]
        told = found_regions(network, np.stack([one.face for one in hidden]))
        overlap = [iou(found, one.region) for found, one in zip(told, hidden, strict=True)]
        return RegionFigures(
            float(np.mean(overlap)), float(found_regions(network, clean).mean(dtype=np.float64))
        )


@dataclass
class RestorationLesson:
    settings: RestorationSettings
    faces: FaceSet
    validation: FaceSet
    judge: FaceNetwork  # fixed
    name: str = "restoration"

    def losses(self, network: nn.Module, count: int, random: np.random.Generator) -> Losses:
        views = some_views(self.faces, count, VIEWS, random)
        covered = [anyhow_masked(view, random) for view in views]
        wider = [grown(region, self._dilation_px(random)) for _, region in covered]
        truth, hole = as_planes(views), as_region(wider)
        restored = network(as_planes(np.stack([view for view, _ in covered])), hole)
        error = hole_error(restored, truth, hole)
        judged = max(1, round(count * self.settings.identity_share))
        identity = self._strangeness(restored[:judged], truth[:judged])
        total = error + self.settings.identity_weight * identity
        return Losses(total, {"error": error.detach(), "identity": identity.detach()})

    def _dilation_px(self, random: np.random.Generator) -> int:
        return int(random.integers(self.settings.most_dilation_px + 1))

    def _strangeness(self, restored: Tensor, truth: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.judge(truth)
        return (1 - functional.cosine_similarity(self.judge(restored), wanted)).mean()

    @torch.no_grad()
    def measure(self, network: nn.Module) -> RestorationFigures:
        clean = watched(self.validation)
        hidden = [masked(face, row, WATCH_SEED) for row, face in enumerate(clean)]
        hole = as_region([grown(one.region, 1) for one in hidden])
        truth = as_planes(clean)
        restored = network(as_planes(np.stack([one.face for one in hidden])), hole)
        error = hole_error(restored, truth, hole)
        return RestorationFigures(float(error), 1 - float(self._strangeness(restored, truth)))


def some_views(
    faces: FaceSet, count: int, settings: AugmentSettings, random: np.random.Generator
) -> Faces:
    chosen = random.integers(len(faces), size=count)
    return augment(faces.images(chosen), settings, random)[0]


def watched(faces: FaceSet) -> Faces:
    return faces.images(np.arange(min(WATCHED, len(faces))))


def anyhow_masked(view: NDArray[np.uint8], random: np.random.Generator) -> tuple[Faces, Region]:
    """In any style that training may see."""
    choice = styles(unseen=False)
    worn = wear(view, choice[int(random.integers(len(choice)))], random)
    return worn.face, worn.region


def grown(region: Region, margin_px: int) -> Region:
    """The region and everything within so many pixels of it, diagonals included."""
    if margin_px == 0:
        return region
    kernel = np.ones((2 * margin_px + 1, 2 * margin_px + 1), dtype=np.uint8)
    return np.asarray(cv2.dilate(region.astype(np.uint8), kernel)).astype(bool)


@torch.no_grad()
def found_regions(network: nn.Module, faces: Faces, batch: int = 64) -> Region:
    """(n, 112, 112): what the network takes for hidden."""
    parts = [
        network(as_planes(faces[at : at + batch]))[:, 0] > 0 for at in range(0, len(faces), batch)
    ]
    return np.asarray(torch.cat(parts).numpy(), dtype=bool)


def iou(found: Region, truth: Region) -> float:
    """Intersection over union; two empty regions agree."""
    union = int((found | truth).sum())
    return 1.0 if union == 0 else int((found & truth).sum()) / union


def as_planes(faces: Faces) -> Tensor:
    """(n, h, w, 3) -> (n, 3, h, w) 0..255, channels last in memory."""
    planes = torch.from_numpy(faces).permute(0, 3, 1, 2).float()
    return planes.contiguous(memory_format=torch.channels_last)


def as_region(regions: list[Region]) -> Tensor:
    """(n, 1, h, w) of zeros and ones."""
    return torch.from_numpy(np.stack(regions)).float()[:, None]
