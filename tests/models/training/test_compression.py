"""Compressed graphs answer nearly what the float32 ones answer, and make complete folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from PIL import Image

from face_models.engine import Engine, open_session
from face_models.spec import MODEL_NAMES, WEIGHTS_DIR, load_specs
from face_models.training.compression import report
from face_models.training.compression.edge import (
    FLOAT16,
    INT8,
    Fidelity,
    Floats,
    Samples,
    choose,
    describe,
    export_forms,
)
from face_models.training.compression.graphs import (
    CompressionError,
    store_in_half,
    trunk_rooms,
)
from face_models.training.compression.half import halve
from face_models.training.compression.latency import race
from face_models.training.compression.quantise import Plan, quantise
from face_models.training.provenance import Provenance

pytestmark = pytest.mark.training

BASE = WEIGHTS_DIR / "base.onnx"
PEOPLE = Path(__file__).parents[2] / "data" / "people"
SOURCE = Provenance("face-models compress", "0", "demo people", 0, "2026-11-21", "here")


@pytest.fixture(scope="module")
def faces() -> Floats:
    files = sorted(PEOPLE.glob("*/*"))[::9][:6]
    crops = [np.asarray(Image.open(f).convert("RGB").resize((224, 224))) for f in files]
    return np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2), dtype=np.float32)


@pytest.fixture(scope="module")
def exported(faces: Floats, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights folders of both forms, made of the shipped weights by one plan."""
    out = tmp_path_factory.mktemp("compressed")
    samples = Samples(faces, faces, np.array([0, 0, 1, 1, 2, 2]))
    measured = export_forms(WEIGHTS_DIR, out, samples, (Plan(),))
    describe(WEIGHTS_DIR, out, measured, SOURCE)
    return out


def _outside_trunk(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    inside = {name for room in trunk_rooms(graph).values() for name in room}
    return [node for node in graph.node if node.name not in inside]


def _embedding(file: Path, faces: Floats) -> Floats:
    answer: Floats = open_session(file, 1).run(["embedding"], {"rgb": faces})[0]
    return answer


def test_the_trunk_has_the_rooms_of_shufflenet() -> None:
    rooms = trunk_rooms(onnx.load(BASE).graph)
    assert list(rooms) == ["conv1", "stage2", "stage3", "stage4", "conv5"]


def test_embedding_heatmap_and_unit_norm_stand_outside_the_trunk() -> None:
    kinds = {node.op_type for node in _outside_trunk(onnx.load(BASE).graph)}
    assert {"Sub", "Gemm", "ArgMax", "Resize", "ReduceL2"} <= kinds
    assert "Conv" not in kinds


def test_a_graph_without_a_trunk_is_refused(tiny_weights: Path) -> None:
    with pytest.raises(CompressionError, match="no convolution"):
        trunk_rooms(onnx.load(tiny_weights / "base.onnx").graph)


@pytest.mark.parametrize("form", [INT8, FLOAT16])
@pytest.mark.parametrize("network", MODEL_NAMES)
def test_a_compressed_graph_is_smaller_and_reads_and_writes_float32(
    exported: Path, form: str, network: str
) -> None:
    file = exported / form / f"{network}.onnx"
    graph = onnx.load(file).graph
    types = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    assert types == {TensorProto.FLOAT}
    assert file.stat().st_size < 0.55 * (WEIGHTS_DIR / file.name).stat().st_size
    assert b".py" not in file.read_bytes()


@pytest.mark.parametrize(("form", "least"), [(INT8, 0.95), (FLOAT16, 0.9999)])
def test_compressed_folders_are_loaded_and_agree_with_float32(
    exported: Path, form: str, least: float, faces: Floats
) -> None:
    crops = faces.transpose(0, 2, 3, 1).astype(np.uint8)
    exact, small = Engine(WEIGHTS_DIR).embed(crops), Engine(exported / form).embed(crops)
    assert (exact.base * small.base).sum(axis=1).min() > least
    # A face between two training identities may be explained by the other one: another heatmap.
    agreement = (exact.heatmap * small.heatmap).sum(axis=1)
    assert np.median(agreement) > least
    assert agreement.min() > 0.98
    assert np.abs(exact.maps - small.maps).mean() < 0.05


def test_model_json_tells_how_a_graph_was_compressed_and_from_which(exported: Path) -> None:
    told = load_specs(exported / INT8).training["base"]["compression"]
    assert told["plan"] == str(Plan())
    assert told["of_sha256"] == load_specs(WEIGHTS_DIR).models["base"].sha256
    assert "compression" not in load_specs(exported / INT8).training["detector"]


def test_a_room_left_in_float_keeps_its_weights(faces: Floats, tmp_path: Path) -> None:
    target = tmp_path / "base.onnx"
    quantise(BASE, target, Plan(("conv1",)), [{"rgb": faces}])
    types = {tensor.name: tensor.data_type for tensor in onnx.load(target).graph.initializer}
    assert types["network.trunk.conv1.0.weight"] == TensorProto.FLOAT
    assert not any(
        "stage2" in name
        for name, kind in types.items()
        if kind == TensorProto.FLOAT and name.endswith("weight")
    )


def test_tensors_stored_in_half_hardly_change_the_answer(faces: Floats, tmp_path: Path) -> None:
    target = tmp_path / "base.onnx"
    target.write_bytes(BASE.read_bytes())
    store_in_half(target)
    assert target.stat().st_size < 0.6 * BASE.stat().st_size
    assert np.abs(_embedding(target, faces) - _embedding(BASE, faces)).max() < 0.01


def test_float16_computes_the_trunk_alone(tmp_path: Path) -> None:
    target = tmp_path / "base.onnx"
    halve(BASE, target)
    graph = onnx.shape_inference.infer_shapes(onnx.load(target)).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "Resize"):
            due = TensorProto.FLOAT16 if node.op_type == "Conv" else TensorProto.FLOAT
            assert types[node.output[0]] == due


GRAPH = Fidelity("plan", 1000, 0.9, 0.1, agreement=0.99, heatmap_difference=0.01, time=0.9)
FASTER = replace(GRAPH, time=0.7)


@pytest.mark.parametrize(
    ("graphs", "chosen"),
    [
        pytest.param([GRAPH, FASTER], 1, id="the fastest"),
        pytest.param([GRAPH, replace(FASTER, auc=0.899)], 0, id="not below the AUC"),
        pytest.param([GRAPH, replace(FASTER, heatmap_difference=0.1)], 0, id="not a coarse map"),
        pytest.param([GRAPH, replace(GRAPH, agreement=0.995)], 1, id="of equals, the closest"),
        pytest.param(
            [replace(FASTER, auc=0.8), replace(GRAPH, auc=0.85)], 1, id="else the highest AUC"
        ),
        pytest.param([GRAPH, replace(FASTER, heatmap_difference=None)], 1, id="without a map too"),
    ],
)
def test_the_chosen_plan_is(graphs: list[Fidelity], chosen: int) -> None:
    assert choose(graphs, float_auc=0.9) == chosen


def test_a_race_tells_each_ones_time_relative_to_the_first(faces: Floats) -> None:
    session = open_session(BASE, 1)
    speed = race({"one": session, "other": session}, {"rgb": faces[:1]}, rounds=5)
    assert speed["one"].ratio == 1
    assert 0.2 < speed["other"].ratio < 5
    assert speed["one"].median_ms > 0


def _pruning(auc: float, seed: int) -> dict[str, Any]:
    figures = {"auc": auc, "tar": 0.5, "agreement": 0.6}
    return {
        "arm": {"removed_share": 0.3, "initialisation": "plain", "seed": seed},
        "before": figures,
        "after": figures,
    }


def _document() -> dict[str, Any]:
    return {
        "settings": {"steps": 3, "batch": 4, "input_px": 32, "peak_learning_rate": 0.1},
        "sizes": [
            {"removed_share": 0.3, "parameters": 5, "multiplications": 6_000_000,
             "bytes": 7_000_000, "median_ms": 1.5, "ratio": 0.5},
        ],
        "outcomes": [_pruning(0.8, 1), _pruning(0.9, 2)],
        "provenance": {"command": "c", "data": "d", "commit": "e", "date": "f", "machine": "g"},
    }  # fmt: skip


def test_the_report_tells_every_seed_and_their_mean() -> None:
    told = report.markdown({"pruning": _document()})
    assert "| 30% | plain | 1 | 0.8000 | 0.8000 |" in told
    assert "| 30% | plain | **mean** | 0.8500 | 0.8500 |" in told


def test_a_part_measured_anew_leaves_the_other_part_of_the_report(tmp_path: Path) -> None:
    path = tmp_path / "compression.json"
    path.write_text(json.dumps({"edge": 1, "pruning": 2}))
    assert report.merge({"pruning": 3}, path) == {"edge": 1, "pruning": 3}


def test_the_report_is_drawn(tmp_path: Path) -> None:
    report.draw({"pruning": _document()}, tmp_path / "compression.png")
    with Image.open(tmp_path / "compression.png") as drawn:
        assert drawn.size[0] > 100
