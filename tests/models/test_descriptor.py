import numpy as np
import pytest

from face_models.descriptor import DESCRIPTOR_NUMBERS, heatmap_descriptor


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(seed=3).random((3, 224, 224), dtype=np.float32)


def block_mean(heat: np.ndarray) -> np.ndarray:
    """Mean over 1.75 x 1.75 pixels: every pixel as 4 x 4 points, 7 x 7 points to a number."""
    points = heat.astype(np.float64).repeat(4, axis=0).repeat(4, axis=1)
    return points.reshape(128, 7, 128, 7).mean(axis=(1, 3))


def test_every_map_becomes_one_row_of_16384_floats(maps):
    found = heatmap_descriptor(maps)
    assert (found.shape, found.dtype) == ((3, 16_384), np.float32)
    assert DESCRIPTOR_NUMBERS == 16_384


def test_the_numbers_are_means_over_the_area_they_cover(maps):
    expected = block_mean(maps[0]).ravel()
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(heatmap_descriptor(maps)[0], expected, atol=1e-6)


def test_every_descriptor_has_length_one(maps):
    np.testing.assert_allclose(np.linalg.norm(heatmap_descriptor(maps), axis=1), 1, atol=1e-6)


def test_the_strength_of_a_map_does_not_matter(maps):
    faint = heatmap_descriptor(maps * np.float32(1e-3))
    np.testing.assert_allclose(faint, heatmap_descriptor(maps), atol=1e-6)


def test_a_map_without_heat_is_no_nan_and_resembles_nothing(maps):
    cold = np.concatenate([np.zeros((1, 224, 224), np.float32), maps])
    found = heatmap_descriptor(cold)
    assert np.isfinite(found).all()
    assert not found[0].any()
    np.testing.assert_array_equal(found[1:], heatmap_descriptor(maps))


def test_no_maps_have_no_descriptors():
    assert heatmap_descriptor(np.empty((0, 224, 224), np.float32)).shape == (0, 16_384)


def test_the_maps_themselves_are_left_alone(maps):
    before = maps.copy()
    heatmap_descriptor(maps)
    np.testing.assert_array_equal(maps, before)
