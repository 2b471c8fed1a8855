"""float16 graphs: half the bytes, for accelerators that compute in it.

Only the trunk computes in float16: Grad-CAM++ divides by sums plus 1e-7, which float16 cannot tell
from 0. ONNX Runtime has no float16 convolutions for a CPU: there it casts to float32 and back, so
on a CPU the gain is the file's size and the cost is time.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from face_models.training.compression.graphs import store_in_half, trunk_rooms

ENTRY, EXIT = "_to_float16", "_to_float32"


def halve(source: Path, target: Path) -> None:
    """Write the graph with a float16 trunk; inputs, outputs and all outside it stay float32."""
    model = onnx.load(source)
    names = {name for room in trunk_rooms(model.graph).values() for name in room}
    trunk = [node for node in model.graph.node if node.name in names]
    rest = [node for node in model.graph.node if node.name not in names]
    _halve_weights(model.graph, trunk)
    nodes = [*_cast_entries(model.graph, trunk), *_cast_exits(trunk, rest)]
    del model.graph.value_info[:]  # the types it tells of the trunk's values are no longer theirs
    _in_order(model.graph, [*trunk, *rest, *nodes])
    onnx.save(model, target)
    store_in_half(target)


def _halve_weights(graph: GraphProto, trunk: Iterable[NodeProto]) -> None:
    read = {name for node in trunk for name in node.input}
    for tensor in graph.initializer:
        if tensor.name in read and tensor.data_type == TensorProto.FLOAT:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))


def _cast_entries(graph: GraphProto, trunk: Iterable[NodeProto]) -> list[NodeProto]:
    """The trunk's convolutions read what is made before the trunk through a cast."""
    made_inside = {name for node in trunk for name in node.output}
    weights = {tensor.name for tensor in graph.initializer}
    entries = {}
    for node in trunk:
        if node.op_type == "Conv" and node.input[0] not in made_inside | weights:
            entries[node.input[0]] = helper.make_node(
                "Cast", [node.input[0]], [node.input[0] + ENTRY], to=TensorProto.FLOAT16
            )
            node.input[0] += ENTRY
    return list(entries.values())


def _cast_exits(trunk: Iterable[NodeProto], rest: Iterable[NodeProto]) -> list[NodeProto]:
    made_inside = {name for node in trunk for name in node.output}
    exits = {}
    for node in rest:
        for place, name in enumerate(node.input):
            if name in made_inside:
                exits[name] = helper.make_node("Cast", [name], [name + EXIT], to=TensorProto.FLOAT)
                node.input[place] = name + EXIT
    return list(exits.values())


def _in_order(graph: GraphProto, nodes: list[NodeProto]) -> None:
    """Every node behind those that make what it reads, as ONNX demands."""
    known = {value.name for value in (*graph.input, *graph.initializer)} | {""}
    del graph.node[:]
    while nodes:
        ready = [node for node in nodes if known.issuperset(node.input)]
        graph.node.extend(ready)
        known |= {name for node in ready for name in node.output}
        nodes = [node for node in nodes if not known.issuperset(node.output)]
