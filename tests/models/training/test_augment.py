"""Views: seeded, mirrored where they say so, of the face's own size, damaged only where allowed."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from face_models.training.augment import AugmentSettings, Faces, augment
from face_models.training.config import NO_CHANGE

pytestmark = pytest.mark.training


def _faces() -> Faces:
    coarse = np.random.default_rng(1).integers(30, 220, (6, 7, 7, 3), dtype=np.uint8)
    smooth = [cv2.resize(face, (112, 112), interpolation=cv2.INTER_LINEAR) for face in coarse]
    return np.stack(smooth).astype(np.uint8)


def _view(settings: AugmentSettings, seed: int = 0) -> Faces:
    return augment(_faces(), settings, np.random.default_rng(seed))[0]


def test_with_everything_off_a_view_is_the_face_itself() -> None:
    views, mirrored = augment(_faces(), NO_CHANGE, np.random.default_rng(0))
    assert np.abs(views.astype(int) - _faces()).max() == 0
    assert not mirrored.any()


def test_a_view_that_says_mirrored_is_mirrored() -> None:
    settings = replace(NO_CHANGE, mirror_chance=1.0)
    views, mirrored = augment(_faces(), settings, np.random.default_rng(0))
    assert mirrored.all()
    assert np.abs(views.astype(int) - _faces()[:, :, ::-1]).max() == 0


def test_the_same_seed_makes_the_same_view_and_another_seed_another() -> None:
    settings = AugmentSettings()
    assert np.array_equal(_view(settings, 1), _view(settings, 1))
    assert not np.array_equal(_view(settings, 1), _view(settings, 2))


def test_a_shift_of_the_border_never_shows_black() -> None:
    bright = np.full((4, 112, 112, 3), 200, dtype=np.uint8)
    settings = replace(NO_CHANGE, scale=0.1, turn_deg=20, shift=0.2)
    assert augment(bright, settings, np.random.default_rng(3))[0].min() == 200


def test_an_occluder_covers_a_part_of_the_face_and_leaves_the_rest() -> None:
    settings = replace(NO_CHANGE, occlusion_chance=1.0, occlusion_side=(0.3, 0.3))
    changed = (np.abs(_view(settings).astype(int) - _faces()) > 1).any(axis=3)
    shares = changed.mean(axis=(1, 2))
    assert (shares > 0).all()
    assert (shares <= 0.3**2 + 0.01).all()


def test_noise_has_no_more_than_its_strength() -> None:
    grey = np.full((8, 112, 112, 3), 128, dtype=np.uint8)
    settings = replace(NO_CHANGE, noise_chance=1.0, noise_sigma=10.0)
    noisy = augment(grey, settings, np.random.default_rng(5))[0].astype(float)
    spread = noisy.std(axis=(1, 2, 3))
    assert (spread < 10.5).all()
    assert spread.max() > 4


def test_a_shrunken_face_has_lost_its_detail() -> None:
    checks = np.indices((112, 112)).sum(axis=0) % 2 * 255
    faces = np.repeat(checks[None, :, :, None], 3, axis=3).astype(np.uint8)
    settings = replace(NO_CHANGE, shrink_chance=1.0)
    assert augment(faces, settings, np.random.default_rng(0))[0].std() < 0.5 * faces.std()
