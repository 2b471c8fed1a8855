import math

import cv2
import numpy as np
import pytest

from face_models.align import TEMPLATE_112, align, similarity
from tests.models.pictures import shaded

CLOSED_CASES = {  # rotation in degrees, scale, shift
    "nothing": (0, 1, (0, 0)),
    "a shift": (0, 1, (12.5, -7)),
    "a quarter turn": (90, 1, (0, 0)),
    "upside down": (180, 1, (224, 224)),
    "a small face": (0, 5, (-300, -200)),
    "a large face": (-20, 0.1, (40, 60)),
    "everything": (37, 2.5, (-80, 31)),
}


def transform(angle_deg, scale, shift):
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return np.array([[scale * cos, -scale * sin, shift[0]], [scale * sin, scale * cos, shift[1]]])


def moved(points, matrix):
    return points @ matrix[:, :2].T + matrix[:, 2]


def umeyama(source, target):
    """The published solution by singular value decomposition, for any number of dimensions."""
    source, target = source.astype(float), target.astype(float)
    from_centre, to_centre = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(to_centre.T @ from_centre / len(source))
    signs = np.array([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = (d * signs).sum() / from_centre.var(0).sum()
    return np.column_stack([scale * rotation, target.mean(0) - scale * rotation @ source.mean(0)])


def linear_least_squares(source, target):
    """The same problem as 2n equations in the four numbers a, b, tx, ty."""
    x, y = source.T
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows = np.concatenate([np.column_stack([x, -y, one, zero]), np.column_stack([y, x, zero, one])])
    a, b, tx, ty = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)[0]
    return np.array([[a, -b, tx], [b, a, ty]])


@pytest.mark.parametrize("name", CLOSED_CASES)
def test_a_known_similarity_is_found_again(name):
    expected = transform(*CLOSED_CASES[name])
    found = similarity(TEMPLATE_112, moved(TEMPLATE_112, expected))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("reference", [umeyama, linear_least_squares])
@pytest.mark.parametrize("seed", range(5))
def test_noisy_landmarks_give_the_least_squares_of_the_references(reference, seed):
    noise = np.random.default_rng(seed).normal(scale=6, size=(5, 2))
    landmarks = moved(TEMPLATE_112, transform(25, 3, (50, 80))) + noise
    np.testing.assert_allclose(
        similarity(landmarks, TEMPLATE_112), reference(landmarks, TEMPLATE_112), rtol=1e-9
    )


def test_mirrored_landmarks_are_turned_but_never_mirrored_back():
    mirrored = TEMPLATE_112 * [-1, 1]
    found = similarity(mirrored, TEMPLATE_112)
    assert np.linalg.det(found[:, :2]) > 0
    np.testing.assert_allclose(found, umeyama(mirrored, TEMPLATE_112), rtol=1e-6)


def test_landmarks_in_one_point_are_refused():
    with pytest.raises(ValueError, match="coincide"):
        similarity(np.full((5, 2), 7.0), TEMPLATE_112)


@pytest.mark.parametrize("size_px", [112, 224])
@pytest.mark.parametrize("angle_deg", [0, 30, 180])
@pytest.mark.parametrize("scale", [0.7, 1.5, 4.3])
def test_landmarks_come_to_lie_on_the_template(size_px, angle_deg, scale):
    landmarks = centred_face(scale, angle_deg)
    crop = align(dotted(landmarks, (600, 800), radius=scale * 2), landmarks, size_px)
    assert crop.shape == (size_px, size_px, 3)
    assert crop.dtype == np.uint8
    for x, y in TEMPLATE_112 * (size_px / 112):
        dot = bright_centre_near(crop[..., 0], x, y, radius=size_px // 16)
        np.testing.assert_allclose(dot, (x, y), atol=0.5 * size_px / 112)


def test_what_lies_outside_the_photo_is_black():
    photo = np.full((112, 112, 3), 200, np.uint8)
    crop = align(photo, TEMPLATE_112 - [56, 0])
    assert crop[:, :100].max() == 0
    assert crop[1:-1, 124:].min() == 200


@pytest.mark.parametrize("scale", [1, 10])
def test_a_face_beside_the_photo_is_black(scale):
    photo = np.full((50, 50, 3), 200, np.uint8)
    assert align(photo, scale * (TEMPLATE_112 + 500), size_px=112).max() == 0


def test_a_large_face_is_averaged_and_not_sampled():
    stripes = np.zeros((1120, 1120, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = align(stripes, TEMPLATE_112 * 10, size_px=112)
    assert np.abs(crop[8:-8, 8:-8].astype(int) - 127).max() <= 2


@pytest.mark.parametrize("scale", [2.1, 3.7, 9.9])
def test_averaging_shifts_nothing(scale):
    photo = np.asarray(shaded(1100, 1100))
    landmarks = (TEMPLATE_112 + 0.5) * scale - 0.5
    crop = align(photo, landmarks, size_px=112).astype(float)
    middles = (np.arange(112) + 0.5) * scale - 0.5
    shown = min(112, int(1099 / scale) - 1)
    expected = 255 * middles[1:shown] / 1099
    np.testing.assert_allclose(crop[56, 1:shown, 0], expected, atol=1.5)


def test_a_crop_needs_the_faces_surroundings_alone():
    landmarks = centred_face(scale=3, angle_deg=15) + np.array([1200, 900])
    photo = np.random.default_rng(seed=3).integers(0, 256, (2000, 2500, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(photo, (0, 0), 3)
    corner = np.array([1020, 780])  # a multiple of the factor that averaging uses
    part = blurred[corner[1] : 1980, corner[0] : 2400]
    whole, cut = align(blurred, landmarks, 112), align(part, landmarks - corner, 112)
    assert np.abs(whole.astype(int) - cut).max() <= 12


def test_the_photo_is_left_as_it_was():
    photo = np.asarray(shaded(300, 300))
    before = photo.copy()
    align(photo, TEMPLATE_112 * 2.5, 112)
    np.testing.assert_array_equal(photo, before)


def centred_face(scale, angle_deg):
    around = TEMPLATE_112 - TEMPLATE_112.mean(0)
    return (moved(around, transform(angle_deg, scale, (400, 300)))).astype(np.float32)


def dotted(points, shape, radius):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    light = np.zeros(shape)
    for x, y in points:
        light += np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
    return np.repeat(np.rint(255 * np.clip(light, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)


def bright_centre_near(light, x, y, radius):
    left, top = round(float(x)) - radius, round(float(y)) - radius
    window = light[top : top + 2 * radius + 1, left : left + 2 * radius + 1].astype(float)
    rows, columns = np.mgrid[: window.shape[0], : window.shape[1]]
    return left + (columns * window).sum() / window.sum(), top + (
        rows * window
    ).sum() / window.sum()


def test_a_crop_is_the_photo_of_the_template_enlarged_as_the_networks_learnt_it():
    """Training enlarges aligned 112-px faces; serving must show the same pixels at 224 px."""
    coarse = np.random.default_rng(2).integers(0, 255, (14, 14, 3), dtype=np.uint8)
    photo = cv2.resize(coarse, (112, 112), interpolation=cv2.INTER_CUBIC)
    enlarged = cv2.resize(photo, (224, 224), interpolation=cv2.INTER_LINEAR)
    difference = np.abs(align(photo, TEMPLATE_112).astype(int) - enlarged)[2:-2, 2:-2]
    assert difference.max() <= 2
