"""The parts of an exported graph: the trunk's rooms, which compress well, and what stays exact.

What stands before the trunk (normalisation) and behind it (pooling, embedding, Grad-CAM++, L2 norm)
costs next to nothing to run, and divides by small numbers: it is left in float32.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MIN_HALVED_NUMBERS = 50_000  # smaller tensors are not worth a node
HALF_SUFFIX = "_half"

_ROOM = re.compile(r"\btrunk\.(\w+)\.")


class CompressionError(Exception):
    """A graph that this package does not know how to compress."""


def trunk_rooms(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """Names of the trunk's nodes by room (`conv1`, `stage2`, …), both in the order they run.

    A room begins at its first convolution and holds everything up to the next room's; the last one
    ends with its last convolution's activation.
    """
    nodes = list(graph.node)
    convolutions = [place for place, node in enumerate(nodes) if _room_of(node)]
    if not convolutions:
        raise CompressionError("The graph has no convolution of a trunk.")
    rooms: dict[str, list[str]] = {}
    room = ""
    for node in nodes[convolutions[0] : _end(nodes, convolutions[-1])]:
        room = _room_of(node) or room
        rooms.setdefault(room, []).append(node.name)
    return rooms


def store_in_half(file: Path) -> None:
    """Keep large float32 tensors as float16 in the file, cast back where they are read.

    The runtime folds the cast when it loads the graph, so this saves bytes, not time. It is meant
    for what is left in float: the directions of the identities that heatmaps are drawn for.
    """
    model = onnx.load(file)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= MIN_HALVED_NUMBERS:
            name, half = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, name + HALF_SUFFIX))
            casts.append(
                helper.make_node(
                    "Cast", [tensor.name], [name], name=f"{name}_cast", to=TensorProto.FLOAT
                )
            )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, file)


def _room_of(node: onnx.NodeProto) -> str:
    if node.op_type != "Conv":
        return ""
    found = _ROOM.search(node.input[1])
    return found[1] if found else ""


def _end(nodes: list[onnx.NodeProto], last_convolution: int) -> int:
    """One past the last convolution and the activation that reads it alone."""
    answer = nodes[last_convolution].output[0]
    following = nodes[last_convolution + 1 : last_convolution + 2]
    activated = any(answer in node.input and len(node.input) == 1 for node in following)
    return last_convolution + 1 + activated
