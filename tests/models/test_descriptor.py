import numpy as np
import pytest

from face_models.align import TEMPLATE_112
from face_models.descriptor import DESCRIPTOR_NUMBERS, heatmap_descriptor
from face_models.detect import Detection
from face_models.engine import Engine
from face_models.photo import Rgb
from face_models.pipeline import Face, Pipeline, PipelineSettings
from face_models.template import DESCRIPTORS, Template, template_of


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


class NoDetector:
    def detect(self, rgb: Rgb) -> list[Detection]:
        raise AssertionError("crops are at hand")


@pytest.fixture(scope="module")
def shipped() -> Engine:
    return Engine()


@pytest.fixture
def faces(crops) -> list[Face]:
    box = (0.0, 0.0, 224.0, 224.0)
    return [Face(i, box, 1.0, TEMPLATE_112, 100, (), crop) for i, crop in enumerate(crops)]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("models", [("heatmap",), ("base", "heatmap")])
def test_a_pipeline_puts_the_maps_descriptors_in_the_place_of_embeddings(
    shipped, faces, crops, models, flip
):
    settings = PipelineSettings(descriptor="heatmap", flip=flip)
    found = Pipeline(NoDetector(), shipped, settings).embed(faces, models)
    plain = shipped.embed(crops, ("base",), flip=flip)
    np.testing.assert_allclose(found.heatmap, heatmap_descriptor(plain.maps), atol=1e-6)
    np.testing.assert_allclose(found.base, plain.base, atol=1e-6)


def test_a_pipeline_whose_base_alone_is_asked_makes_no_descriptors(shipped, faces):
    settings = PipelineSettings(descriptor="heatmap")
    assert Pipeline(NoDetector(), shipped, settings).embed(faces, ("base",)).heatmap.size == 0


def test_a_flipping_pipeline_embeds_as_its_engine_does(shipped, faces, crops):
    found = Pipeline(NoDetector(), shipped, PipelineSettings(flip=True)).embed(faces)
    np.testing.assert_array_equal(found.heatmap, shipped.embed(crops, flip=True).heatmap)


def test_only_templates_that_may_be_compared_share_a_name():
    made = {
        (model, descriptor, flip): template_of(model, descriptor, flip=flip)
        for model in ("base", "heatmap")
        for descriptor in DESCRIPTORS
        for flip in (False, True)
    }
    assert {template.name for template in made.values()} == {
        "base",
        "base-flip",
        "heatmap",
        "heatmap-flip",
        "heatmap-descriptor",
    }
    assert made["base", "embedding", True] == made["base", "heatmap", True]
    assert made["heatmap", "heatmap", False] == made["heatmap", "heatmap", True]
    assert made["heatmap", "heatmap", False] == Template("heatmap-descriptor", ("base",))
    assert made["heatmap", "embedding", True] == Template("heatmap-flip", ("base", "heatmap"))
