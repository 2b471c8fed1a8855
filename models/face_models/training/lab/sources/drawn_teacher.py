"""A teacher of random weights, in the true one's form: affine from its last map to the norm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CHANNELS, PLACES, STRIDE, DIMENSIONS = 8, 7, 16, 128
OPSET, IR_VERSION = 17, 9


def write_teacher(file: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    weights = {
        "stem": random.normal(size=(CHANNELS, 3, STRIDE, STRIDE)) / (100 * STRIDE),
        "depthwise": random.normal(size=(CHANNELS, 1, PLACES, PLACES)),
        "dense": random.normal(size=(DIMENSIONS, CHANNELS)),
        "bias": 0.1 * random.normal(size=DIMENSIONS),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["rgb", "stem"], ["grey"], strides=[STRIDE, STRIDE]),
            helper.make_node("Relu", ["grey"], ["features"]),
            helper.make_node("Conv", ["features", "depthwise"], ["mean"], group=CHANNELS),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("Gemm", ["flat", "dense", "bias"], ["plain"], transB=1),
            helper.make_node("LpNormalization", ["plain"], ["embedding"], axis=1, p=2),
        ],
        "drawn teacher",
        [helper.make_tensor_value_info("rgb", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIMENSIONS]),
            helper.make_tensor_value_info(
                "features", TensorProto.FLOAT, ["n", CHANNELS, PLACES, PLACES]
            ),
        ],
        [_tensor(name, values) for name, values in weights.items()],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    opset = [helper.make_opsetid("", OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION), file)


def _tensor(name: str, values: NDArray[np.float64]) -> onnx.TensorProto:
    return numpy_helper.from_array(values.astype(np.float32), name)
