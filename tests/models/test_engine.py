from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest

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
