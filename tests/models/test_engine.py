from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from face_models.engine import Engine
from face_models.errors import EmbeddingFailed, WeightsError
from face_models.spec import write_specs
from tests.models import tiny_networks

MODEL_CHOICES = [("base",), ("heatmap",), ("base", "heatmap")]


@pytest.fixture(scope="module")
def engine(tiny_weights) -> Engine:
    return Engine(tiny_weights)


def test_embeddings_and_maps_are_what_the_graphs_compute(engine, crops):
    found = engine.embed(crops)
    np.testing.assert_allclose(found.base, tiny_networks.expected_base(crops), atol=1e-5)
    np.testing.assert_allclose(found.heatmap, tiny_networks.expected_heatmap(crops), atol=1e-5)
    np.testing.assert_allclose(found.maps, tiny_networks.expected_maps(crops), atol=1e-5)


def _with_heatmap(folder, graph):
    tiny_networks.write_tiny_weights(folder)
    onnx.save(graph, folder / "heatmap.onnx")
    write_specs(folder, {"how": "by hand"})
    return folder


def test_a_heatmap_network_that_asks_for_it_is_given_the_base_embedding(tmp_path, crops):
    found = Engine(_with_heatmap(tmp_path, tiny_networks.tiny_joined_heatmap())).embed(crops)
    np.testing.assert_allclose(found.heatmap, tiny_networks.expected_joined(crops), atol=1e-5)


def test_a_heatmap_network_that_asks_for_something_else_is_refused(tmp_path):
    graph = tiny_networks.tiny_joined_heatmap(third="age")
    with pytest.raises(WeightsError, match=r"takes.*'age'"):
        Engine(_with_heatmap(tmp_path, graph))


def test_every_answer_has_one_float_row_per_crop(engine, crops):
    found = engine.embed(crops)
    shapes = [array.shape for array in (found.base, found.heatmap, found.maps)]
    assert shapes == [(3, 128), (3, 128), (3, 224, 224)]
    assert {array.dtype for array in (found.base, found.heatmap, found.maps)} == {np.dtype("f4")}


def test_the_heatmap_network_rests_where_only_the_base_is_asked(engine, crops):
    assert engine.embed(crops, models=("base",)).heatmap.shape == (0, 128)


@pytest.mark.parametrize("models", MODEL_CHOICES)
def test_the_choice_of_models_does_not_change_their_answers(engine, crops, models):
    chosen, both = engine.embed(crops, models), engine.embed(crops)
    for name in models:
        np.testing.assert_array_equal(getattr(chosen, name), getattr(both, name))


def test_a_batch_answers_like_its_crops_one_by_one(engine, crops):
    together = engine.embed(crops).heatmap
    alone = np.concatenate([engine.embed(crop[None]).heatmap for crop in crops])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("models", MODEL_CHOICES)
def test_no_crops_have_no_embeddings(engine, models):
    found = engine.embed(np.empty((0, 224, 224, 3), np.uint8), models)
    shapes = [array.shape for array in (found.base, found.heatmap, found.maps)]
    assert shapes == [(0, 128), (0, 128), (0, 224, 224)]


def test_threads_share_an_engine(engine, crops):
    alone = engine.embed(crops).heatmap
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(lambda _: engine.embed(crops).heatmap, range(16)):
            np.testing.assert_array_equal(found, alone)


@pytest.fixture(scope="module")
def shipped() -> Engine:
    """The trained networks: unlike the tiny ones they tell a crop from its mirror image."""
    return Engine()


def mirrored(crops: np.ndarray) -> np.ndarray:
    return crops[:, :, ::-1]


@pytest.mark.parametrize("name", ["base", "heatmap"])
def test_a_flipped_embedding_is_the_direction_of_crop_and_mirror_image(shipped, crops, name):
    both = [getattr(shipped.embed(batch), name) for batch in (crops, mirrored(crops))]
    expected = sum(both) / np.linalg.norm(sum(both), axis=1, keepdims=True)
    found = getattr(shipped.embed(crops, flip=True), name)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - both[0]).max() > 1e-3


def test_a_crop_and_its_mirror_image_have_one_flipped_embedding(shipped, crops):
    one, other = (shipped.embed(batch, flip=True) for batch in (crops, mirrored(crops)))
    np.testing.assert_allclose(one.base, other.base, atol=1e-5)
    np.testing.assert_allclose(one.heatmap, other.heatmap, atol=1e-5)


@pytest.mark.parametrize("models", MODEL_CHOICES)
def test_flipping_leaves_the_maps_those_of_the_crops(shipped, crops, models):
    plain, flipped = (shipped.embed(crops, models, flip=flip) for flip in (False, True))
    np.testing.assert_allclose(flipped.maps, plain.maps, atol=1e-5)
    assert flipped.heatmap.shape == plain.heatmap.shape


def test_no_crops_have_no_flipped_embeddings(engine):
    found = engine.embed(np.empty((0, 224, 224, 3), np.uint8), flip=True)
    assert [array.shape[0] for array in (found.base, found.heatmap, found.maps)] == [0, 0, 0]


def one_sided_base() -> onnx.ModelProto:
    """Sees 2 x left edge - right edge: a bright left edge alone is the opposite of its mirror."""
    model = tiny_networks.tiny_base()
    colour = next(node for node in model.graph.node if "colour_mean" in node.output)
    colour.input[0] = "sided"
    model.graph.node.insert(0, helper.make_node("Mul", ["rgb", "sides"], ["sided"]))
    sides = np.zeros((1, 1, 1, 224), np.float32)
    sides[..., 0], sides[..., -1] = 2, -1
    model.graph.initializer.append(numpy_helper.from_array(sides, "sides"))
    return model


def test_embeddings_that_cancel_out_are_a_failure_not_a_number(weights):
    onnx.save(one_sided_base(), weights / "base.onnx")
    write_specs(weights, {})
    lopsided = np.zeros((1, 224, 224, 3), np.uint8)
    lopsided[:, :, 0] = 255
    with pytest.raises(EmbeddingFailed, match="cancel"):
        Engine(weights).embed(lopsided, ("base",), flip=True)


def test_an_embedding_without_direction_is_a_failure_not_a_number(engine):
    with pytest.raises(EmbeddingFailed, match="'embedding'"):
        engine.embed(np.zeros((1, 224, 224, 3), np.uint8))


BAD_REQUESTS = {
    "another size": (np.zeros((1, 112, 112, 3), np.uint8), ("base",), "112"),
    "a crop without batch": (np.zeros((224, 224, 3), np.uint8), ("base",), "uint8"),
    "floats": (np.zeros((1, 224, 224, 3), np.float32), ("base",), "float32"),
    "an unknown model": (np.zeros((1, 224, 224, 3), np.uint8), ("best",), "best"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_request_that_cannot_be_meant_is_named(engine, name):
    crops, models, named = BAD_REQUESTS[name]
    with pytest.raises(ValueError, match=named):
        engine.embed(crops, models)


def test_changed_weights_are_refused_at_start(weights):
    with (weights / "heatmap.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(WeightsError, match="sha256"):
        Engine(weights)


def test_missing_weights_are_refused_at_start(weights):
    (weights / "base.onnx").unlink()
    with pytest.raises(WeightsError, match="missing"):
        Engine(weights)


WRONG_BASES = {
    "another dimension": (tiny_networks.tiny_base(weights=np.ones((3, 64), "f4")), "64"),
    "vectors that are not of length one": (tiny_networks.tiny_base(gain=2), "length 2"),
    "a map of another size": (tiny_networks.tiny_base(heat_pool=2), "112, 112"),
    "a map beyond 0..1": (tiny_networks.tiny_base(heat_gain=3), "outside"),
    "other inputs and outputs": (tiny_networks.tiny_heatmap(), "grey crop"),
}


@pytest.mark.parametrize("name", WRONG_BASES)
def test_a_graph_that_does_another_job_is_refused_at_start(weights, name):
    graph, named = WRONG_BASES[name]
    onnx.save(graph, weights / "base.onnx")
    write_specs(weights, {})
    with pytest.raises(WeightsError, match=named):
        Engine(weights)


def test_a_file_that_is_no_graph_is_refused_at_start(weights):
    (weights / "base.onnx").write_bytes(b"not a graph")
    write_specs(weights, {})
    with pytest.raises(WeightsError, match="cannot be loaded"):
        Engine(weights)


def test_a_network_for_another_crop_size_is_refused_at_start(weights):
    write_specs(weights, {}, input_px=112)
    with pytest.raises(WeightsError, match="112 px"):
        Engine(weights)
