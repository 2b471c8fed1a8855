"""The laboratory's conditions: area ratio, factor and sigma as defined, the same for a seed."""

from __future__ import annotations

import numpy as np
import pytest

from face_models.training.lab.exposures import (
    TABLE_SEVERITIES,
    Exposure,
    exposed,
    sweep_exposures,
    table_exposures,
)
from face_models.training.lab.photos import Photos
from face_models.training.robustness.conditions import PAPER_SEVERITIES, Box

pytestmark = pytest.mark.training

PX = 112
FACE: Box = (0.25, 0.125, 0.5, 0.75)
ROWS = np.arange(6)


def _photos(level: int = 100) -> Photos:
    names = np.array([f"photo {n}" for n in ROWS])
    pixels = np.full((len(ROWS), PX, PX, 3), level, np.uint8)
    return Photos(pixels, ROWS, np.full(len(ROWS), "dark"), names, FACE)


@pytest.mark.parametrize("share", PAPER_SEVERITIES["occlusion"])
def test_an_occlusion_covers_its_share_of_the_face_and_nothing_else(share: float) -> None:
    spoilt = exposed(_photos(), ROWS, Exposure("occlusion", share), seed=1)
    hidden = (spoilt == 0).all(axis=3)
    assert hidden[:, 14:98, 28:84].mean(axis=(1, 2)) == pytest.approx(share, abs=0.015)
    assert hidden.sum() == hidden[:, 14:98, 28:84].sum()


@pytest.mark.parametrize("factor", PAPER_SEVERITIES["brightness"])
def test_brightness_is_a_factor_of_every_level(factor: float) -> None:
    spoilt = exposed(_photos(), ROWS, Exposure("brightness", factor), seed=1)
    assert (spoilt == round(100 * factor)).all()


@pytest.mark.parametrize("sigma", PAPER_SEVERITIES["gaussian noise"])
def test_noise_has_its_sigma_of_full_scale_in_every_photo(sigma: float) -> None:
    spoilt = exposed(_photos(128), ROWS, Exposure("gaussian noise", sigma), seed=1)
    assert (spoilt.std(axis=(1, 2, 3)) / 255) == pytest.approx(sigma, rel=0.04)


@pytest.mark.parametrize("one", sweep_exposures(2)[1:], ids=str)
def test_an_exposure_is_the_same_for_a_seed_and_for_any_choice_of_photos(one: Exposure) -> None:
    whole = exposed(_photos(), ROWS, one, seed=4)
    np.testing.assert_array_equal(whole[3:5], exposed(_photos(), ROWS[3:5], one, seed=4))
    np.testing.assert_array_equal(whole, exposed(_photos(), ROWS, one, seed=4))


@pytest.mark.parametrize("name", ["occlusion", "gaussian noise"])
def test_repeats_photos_and_seeds_differ(name: str) -> None:
    severity = TABLE_SEVERITIES[name]
    first = exposed(_photos(), ROWS, Exposure(name, severity), seed=0)
    again = exposed(_photos(), ROWS, Exposure(name, severity, repeat=1), seed=0)
    other = exposed(_photos(), ROWS, Exposure(name, severity), seed=1)
    assert (first != again).any()
    assert (first != other).any()
    assert (first[0] != first[1]).any()


def test_the_sweep_holds_the_papers_severities_and_all_of_the_tables() -> None:
    sweep = sweep_exposures(3)
    assert {(one.name, one.severity) for one in sweep[1:]} == {
        (name, severity) for name, by in PAPER_SEVERITIES.items() for severity in by
    }
    assert set(table_exposures(3)) <= set(sweep)
    assert sum(one.name == "occlusion" for one in sweep) == 3 * 4
