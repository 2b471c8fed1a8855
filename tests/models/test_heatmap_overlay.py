import numpy as np
import pytest

from face_models.heatmap_overlay import overlay, turbo

TURBO_PUBLISHED = {
    0.0: (48, 18, 59),
    64 / 255: (40, 187, 236),
    128 / 255: (164, 252, 60),
    1.0: (122, 4, 3),
}


@pytest.mark.parametrize("heat", TURBO_PUBLISHED)
def test_the_colours_are_turbos(heat):
    colour = turbo(np.full((2, 2), heat, np.float32))[0, 0].astype(int)
    assert np.abs(colour - TURBO_PUBLISHED[heat]).max() <= 3


def test_opacity_goes_from_the_crop_to_the_colours(crops):
    heat = np.linspace(0, 1, 224 * 224, dtype=np.float32).reshape(224, 224)
    np.testing.assert_array_equal(overlay(crops[0], heat, opacity=0), crops[0])
    np.testing.assert_array_equal(overlay(crops[0], heat, opacity=1), turbo(heat))
    mean = (crops[0].astype(float) + turbo(heat)) / 2
    np.testing.assert_allclose(overlay(crops[0], heat, opacity=0.5), mean, atol=0.5)


@pytest.mark.parametrize(("heat", "nearest"), [(1.5, 1), (-0.5, 0)])
def test_heat_outside_its_range_is_clipped(heat, nearest):
    shown = turbo(np.array([[heat, nearest]], np.float32))
    np.testing.assert_array_equal(shown[0, 0], shown[0, 1])


def test_the_crop_is_left_as_it_was(crops):
    before = crops[0].copy()
    overlay(crops[0], np.ones((224, 224), np.float32))
    np.testing.assert_array_equal(crops[0], before)


@pytest.mark.parametrize(
    ("shape", "opacity", "named"),
    [((112, 112), 0.5, "differ"), ((224, 224), 1.1, "1.1"), ((224, 224), -0.1, "-0.1")],
)
def test_a_request_that_cannot_be_meant_is_named(crops, shape, opacity, named):
    with pytest.raises(ValueError, match=named):
        overlay(crops[0], np.zeros(shape, np.float32), opacity)
