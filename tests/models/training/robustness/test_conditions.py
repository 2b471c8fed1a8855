"""What befalls a photo: each condition does what it says, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from face_models.training.robustness.conditions import (
    CONDITIONS,
    FACE_IN_CROP,
    LOWER_FACE,
    PAPER_SEVERITIES,
    add_noise,
    blur,
    brighten,
    coarsen,
    cover_eyes,
    cover_lower_face,
    occlude,
    salt_and_pepper,
    seeded,
)

pytestmark = pytest.mark.training

WHOLE = (0, 0, 224, 224)
GREY = np.full((224, 224, 3), 128, np.uint8)
SPOILS = [(one, severity) for one in CONDITIONS for severity in one.severities]


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(40, 200, (224, 224, 3), dtype=np.uint8)


@pytest.mark.parametrize(("condition", "severity"), SPOILS)
def test_a_condition_is_the_same_for_the_same_seed_and_leaves_its_input(
    picture, condition, severity
) -> None:
    before = picture.copy()
    one, again = (condition.spoil(picture, FACE_IN_CROP, severity, seeded(1, "a")) for _ in "12")
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(picture, before)
    assert (one.shape, one.dtype) == (picture.shape, np.uint8)
    assert (one != picture).any()


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.4, 0.8])
@pytest.mark.parametrize("face", [WHOLE, FACE_IN_CROP, (100, 150, 60, 300)])
def test_occlusion_hides_its_share_of_the_visible_face(share, face) -> None:
    x, y, width, height = (round(side) for side in face)
    seen = (slice(y, min(y + height, 224)), slice(x, min(x + width, 224)))
    for number in range(20):
        hidden = (occlude(GREY, face, share, seeded(number)) == 0).all(axis=2)
        assert hidden[seen].mean() == pytest.approx(share, abs=0.02)
        assert hidden.sum() == hidden[seen].sum()


def test_occlusion_is_elsewhere_for_another_seed() -> None:
    places = {
        tuple(np.argwhere(occlude(GREY, WHOLE, 0.1, seeded(n))[..., 0] == 0)[0]) for n in "abcdef"
    }
    assert len(places) == 6


def test_the_bar_hides_the_eyes_and_the_mask_what_is_below(picture) -> None:
    eyes = 2 * np.array([[38, 52], [74, 52]])
    mouth = 2 * np.array([[42, 92], [71, 92]])
    barred = cover_eyes(picture, FACE_IN_CROP, 1, seeded())
    masked = cover_lower_face(picture, FACE_IN_CROP, 1, seeded())
    assert all((barred[y, x] == 0).all() for x, y in eyes)
    assert all((barred[y, x] == picture[y, x]).all() for x, y in mouth)
    assert all((masked[y, x] == masked[mouth[0][1], mouth[0][0]]).all() for x, y in mouth)
    top = int(FACE_IN_CROP[1] + LOWER_FACE[0] * FACE_IN_CROP[3]) - 1
    np.testing.assert_array_equal(masked[:top], picture[:top])


@pytest.mark.parametrize("factor", [0.3, 0.7, 1.15, 2.0])
def test_brightness_multiplies_every_level(picture, factor) -> None:
    expected = np.rint(np.minimum(picture * np.float32(factor), 255))
    np.testing.assert_array_equal(brighten(picture, WHOLE, factor, seeded()), expected)


@pytest.mark.parametrize("sigma", PAPER_SEVERITIES["gaussian noise"])
def test_noise_has_its_deviation_and_no_bias(sigma) -> None:
    noisy = add_noise(GREY, WHOLE, sigma, seeded(2)).astype(float) - 128
    assert noisy.std() == pytest.approx(255 * sigma, rel=0.05)
    assert abs(noisy.mean()) < 0.5


def test_salt_and_pepper_are_even_and_leave_the_rest() -> None:
    spoilt = salt_and_pepper(GREY, WHOLE, 0.2, seeded(4))
    assert (spoilt == 0).all(axis=2).mean() == pytest.approx(0.1, abs=0.01)
    assert (spoilt == 255).all(axis=2).mean() == pytest.approx(0.1, abs=0.01)
    assert (spoilt == 128).all(axis=2).mean() == pytest.approx(0.8, abs=0.01)


def test_blur_spreads_an_edge_by_its_share_of_the_faces_width() -> None:
    half = np.zeros((224, 224, 3), np.uint8)
    half[:, 112:] = 255
    spread = blur(half, (0, 0, 100, 100), 0.08, seeded())[112, :, 0].astype(float)
    edge = np.abs(np.diff(spread))
    middle = (edge * np.arange(223)).sum() / edge.sum()
    deviation = np.sqrt((edge * (np.arange(223) - middle) ** 2).sum() / edge.sum())
    assert deviation == pytest.approx(8, rel=0.1)


def test_a_coarse_face_has_no_more_detail_than_its_pixels(picture) -> None:
    coarse = coarsen(picture, (0, 0, 224, 224), 16, seeded()).astype(float)
    spectrum = np.abs(np.fft.fft2(coarse[..., 0] - coarse[..., 0].mean())) ** 2
    frequency = np.abs(np.fft.fftfreq(224) * 224)
    fine = np.maximum(frequency[:, None], frequency[None]) > 24
    assert spectrum[fine].sum() < 0.05 * spectrum.sum()


def test_the_papers_severities_are_all_measured() -> None:
    measured = {one.name: one.severities for one in CONDITIONS}
    for name, severities in PAPER_SEVERITIES.items():
        assert set(severities) <= set(measured[name])
