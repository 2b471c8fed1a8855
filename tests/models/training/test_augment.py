"""Views: seeded, mirrored where they say so, resized in the same step."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from face_models.training.augment import AugmentSettings, augment

pytestmark = pytest.mark.training

STILL = AugmentSettings(
    mirror_chance=0, scale=0, turn_deg=0, shift=0, brightness=0, contrast=0, saturation=0, gamma=0,
    grey_chance=0, shrink_chance=0, noise_chance=0, occlusion_chance=0,
)  # fmt: skip


def _faces() -> Tensor:
    coarse = torch.rand(6, 3, 7, 7, generator=torch.Generator().manual_seed(1)) * 255
    return F.interpolate(coarse, size=(112, 112), mode="bilinear")


def _seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def test_with_everything_off_a_view_is_the_face_itself() -> None:
    views, mirrored = augment(_faces(), 112, STILL, _seed(0))
    assert torch.allclose(views, _faces(), atol=0.05)
    assert not mirrored.any()


def test_a_view_that_says_mirrored_is_mirrored() -> None:
    settings = AugmentSettings(**{**STILL.__dict__, "mirror_chance": 1.0})
    views, mirrored = augment(_faces(), 112, settings, _seed(0))
    assert mirrored.all()
    assert torch.allclose(views, _faces().flip(3), atol=0.05)


def test_the_same_seed_makes_the_same_view_and_another_seed_another() -> None:
    first, again, other = (augment(_faces(), 64, AugmentSettings(), _seed(s))[0] for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_views_have_the_size_asked_for_and_stay_within_the_grey_levels() -> None:
    views, _ = augment(_faces(), 224, AugmentSettings(), _seed(4))
    assert views.shape == (6, 3, 224, 224)
    assert views.min() >= 0
    assert views.max() <= 255
