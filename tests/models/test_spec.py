import dataclasses
import hashlib
import json

import pytest

from face_models.errors import WeightsError
from face_models.spec import load_specs, read_json, sha256_of, write_json, write_specs


def edit(weights, change):
    path = weights / "model.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_what_was_written_is_what_is_loaded(weights):
    written = write_specs(weights, {"seed": 7})
    assert load_specs(weights) == written
    assert written.models["heatmap"].file == "heatmap.onnx"
    assert (written.models["base"].input_px, written.models["base"].dimensions) == (224, 128)


def test_specs_are_frozen(tiny_weights):
    spec = load_specs(tiny_weights)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.models["base"].sha256 = "0"
    with pytest.raises(TypeError):
        spec.models["base"] = spec.models["heatmap"]


def test_the_sha256_is_of_the_file(weights):
    content = (weights / "base.onnx").read_bytes()
    assert sha256_of(weights / "base.onnx") == hashlib.sha256(content).hexdigest()
    assert load_specs(weights).models["base"].sha256 == hashlib.sha256(content).hexdigest()


def test_an_unchanged_graph_gives_its_path(weights):
    assert load_specs(weights).detector.path_in(weights) == weights / "detector.onnx"


def test_writing_again_keeps_the_provenance_of_other_networks(weights):
    write_specs(weights, {"base": {"epochs": 10}, "detector": {"epochs": 1}})
    spec = write_specs(weights, {"detector": {"epochs": 2}})
    assert spec.training["base"] == {"epochs": 10}
    assert spec.training["detector"] == {"epochs": 2}


def test_writing_without_all_graphs_names_the_missing_one(weights):
    (weights / "heatmap.onnx").unlink()
    with pytest.raises(WeightsError, match=r"heatmap\.onnx is missing"):
        write_specs(weights, {})


def test_json_is_written_for_people(tmp_path):
    document = {
        "note": "of [1,  2]",
        "curve": [-1, 0.5, 1e-07],
        "rows": [[1, 2], []],
        "names": ["a"],
    }
    write_json(tmp_path / "x.json", document)
    assert read_json(tmp_path / "x.json") == document
    lines = (tmp_path / "x.json").read_text().splitlines()
    assert '  "curve": [ -1, 0.5, 1e-07 ],' in lines


REFUSED = {
    "an unknown key": (lambda d: d.update(thershold=0.4), "thershold"),
    "an unknown key of a model": (lambda d: d["models"]["base"].update(dims=128), "dims"),
    "an unknown key of the detector": (lambda d: d["detector"].update(input_px=320), "input_px"),
    "an unknown model": (lambda d: d["models"].update(best={}), "best"),
    "a missing model": (lambda d: d["models"].pop("heatmap"), "heatmap"),
    "a missing key": (lambda d: d["models"]["base"].pop("sha256"), "sha256"),
    "a number as text": (lambda d: d["models"]["base"].update(input_px="224"), "input_px"),
    "a truth as number": (lambda d: d["models"]["base"].update(dimensions=True), "dimensions"),
    "another schema": (lambda d: d.update(schema=2), "schema 2"),
    "a path instead of a name": (lambda d: d["detector"].update(file="../detector.onnx"), "plain"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_slip_in_model_json_is_named(weights, name):
    change, named = REFUSED[name]
    edit(weights, change)
    with pytest.raises(WeightsError, match=named):
        load_specs(weights)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
def test_a_model_json_that_is_no_object_is_refused(weights, text):
    (weights / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsError, match=r"model\.json"):
        load_specs(weights)


def test_a_folder_without_model_json_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"model\.json"):
        load_specs(tmp_path)
