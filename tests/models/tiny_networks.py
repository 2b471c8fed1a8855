"""Real ONNX graphs with the inputs and outputs of the trained ones, small enough to know by heart.

    base       embedding = unit(mean colour x W), heatmap = mean of the channels / 255
    heatmap    embedding = unit(mean colour x W + 100 x mean heat)
    detector, landmarks   any file: the tests that need the real ones say so

A black crop has no direction: its base embedding is 0 / 0.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from face_models.spec import write_specs

DIMENSIONS = 128
WEIGHTS = np.random.default_rng(seed=1).normal(size=(3, DIMENSIONS)).astype(np.float32)
HEAT_WEIGHT = 100.0

RGB = ("rgb", ["n", 3, 224, 224])
HEATMAP = ("heatmap", ["n", 1, "h", "w"])
EMBEDDING = ("embedding", ["n", DIMENSIONS])


def write_tiny_weights(folder: Path) -> None:
    for name in ("detector", "landmarks"):
        (folder / f"{name}.onnx").write_bytes(b"not read here")
    onnx.save(tiny_base(), folder / "base.onnx")
    onnx.save(tiny_heatmap(), folder / "heatmap.onnx")
    write_specs(folder, {"how": "by hand"})


def expected_base(crops: np.ndarray) -> np.ndarray:
    return _unit(crops.mean(axis=(1, 2)) @ WEIGHTS)


def expected_maps(crops: np.ndarray) -> np.ndarray:
    return crops.mean(axis=3) / 255


def expected_heatmap(crops: np.ndarray) -> np.ndarray:
    heat = expected_maps(crops).mean(axis=(1, 2))[:, None]
    return _unit(crops.mean(axis=(1, 2)) @ WEIGHTS + HEAT_WEIGHT * heat)


def tiny_base(
    *,
    gain: float = 1.0,
    heat_gain: float = 1.0,
    heat_pool: int = 1,
    weights: np.ndarray = WEIGHTS,
) -> onnx.ModelProto:
    pool = [heat_pool, heat_pool]
    nodes = [
        *_colour_embedding(),
        *_unit_nodes("colour"),
        helper.make_node("Mul", ["unit", "gain"], ["embedding"]),
        helper.make_node("ReduceMean", ["rgb", "channel_axis"], ["mean"], keepdims=1),
        helper.make_node("AveragePool", ["mean"], ["pooled"], kernel_shape=pool, strides=pool),
        helper.make_node("Mul", ["pooled", "heat_gain"], ["heatmap"]),
    ]
    constants = {"W": weights, "gain": gain, "heat_gain": heat_gain / 255}
    return _model(nodes, [RGB], [(EMBEDDING[0], ["n", weights.shape[1]]), HEATMAP], constants)


def tiny_heatmap() -> onnx.ModelProto:
    nodes = [
        *_colour_embedding(),
        helper.make_node("ReduceMean", ["heatmap", "pixel_axes"], ["heat"], keepdims=0),
        helper.make_node("Mul", ["heat", "heat_weight"], ["heated"]),
        helper.make_node("Add", ["colour", "heated"], ["sum"]),
        *_unit_nodes("sum"),
        helper.make_node("Identity", ["unit"], ["embedding"]),
    ]
    return _model(nodes, [RGB, HEATMAP], [EMBEDDING], {"W": WEIGHTS, "heat_weight": HEAT_WEIGHT})


def tiny_joined_heatmap(third: str = "base") -> onnx.ModelProto:
    """Embedding = unit(base network's embedding + mean heat), as the shipped one sums two."""
    nodes = [
        helper.make_node("ReduceMean", ["heatmap", "pixel_axes"], ["heat"], keepdims=0),
        helper.make_node("Add", [third, "heat"], ["sum"]),
        *_unit_nodes("sum"),
        helper.make_node("Identity", ["unit"], ["embedding"]),
    ]
    return _model(nodes, [RGB, HEATMAP, (third, ["n", DIMENSIONS])], [EMBEDDING], {})


def expected_joined(crops: np.ndarray) -> np.ndarray:
    return _unit(expected_base(crops) + expected_maps(crops).mean(axis=(1, 2))[:, None])


def _colour_embedding() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceMean", ["rgb", "pixel_axes"], ["colour_mean"], keepdims=0),
        helper.make_node("MatMul", ["colour_mean", "W"], ["colour"]),
    ]


def _unit_nodes(vector: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceL2", [vector, "channel_axis"], ["length"], keepdims=1),
        helper.make_node("Div", [vector, "length"], ["unit"]),
    ]


def _model(nodes, inputs, outputs, constants) -> onnx.ModelProto:
    arrays = {name: np.asarray(value, dtype=np.float32) for name, value in constants.items()}
    arrays |= {"channel_axis": np.array([1]), "pixel_axes": np.array([2, 3])}
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
