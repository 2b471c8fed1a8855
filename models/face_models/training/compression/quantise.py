"""int8 graphs by static quantisation: ONNX Runtime's QDQ form, weights per channel.

Ranges of the activations are seen on training faces. Which rooms of the trunk stay in float, and
how ranges are found, is a `Plan`; plans are judged on validation faces by `edge.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from face_models.training.compression.graphs import store_in_half, trunk_rooms

Feed = Mapping[str, NDArray[np.float32]]

TRUNK_OPERATIONS = ("Conv", "Relu", "MaxPool", "Concat", "Split", "Reshape", "Transpose")
MOVING_AVERAGE = {"CalibMovingAverage": True}


@dataclass(frozen=True)
class Plan:
    """How a graph is quantised.

    `averaged_ranges`: a moving average of each batch's range instead of the widest value ever seen,
    so that a rare outlier is clipped and all others get finer steps.
    `everything`: also Grad-CAM++ and what else ONNX Runtime can quantise, but the embedding's Gemm
    (its per-channel form is broken there); shows what leaving them in float is worth.
    """

    float_rooms: tuple[str, ...] = ()
    averaged_ranges: bool = True
    everything: bool = False

    def __str__(self) -> str:
        ranges = "averaged ranges" if self.averaged_ranges else "widest ranges"
        if self.everything:
            return f"all nodes but the embedding, {ranges}"
        floats = f"but {' and '.join(self.float_rooms)}" if self.float_rooms else ""
        return " ".join(f"trunk {floats}".split()) + f", {ranges}"


PLANS = (
    Plan(),
    Plan(averaged_ranges=False),
    Plan(("conv1",)),
    Plan(("stage2",)),
    Plan(("stage4",)),
    Plan(("conv5",)),
    Plan(("conv1", "conv5")),
    Plan(everything=True),
)


class _Reader:
    """What ONNX Runtime asks for: the next feed, or None behind the last."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        feed = next(self._feeds, None)
        return None if feed is None else dict(feed)


def quantise(source: Path, target: Path, plan: Plan, feeds: Iterable[Feed]) -> None:
    """Write the graph `source` as int8 to `target`; ranges are those of `feeds`."""
    graph = onnx.load(source).graph
    trunk = trunk_rooms(graph)
    chosen = [
        node for room, nodes in trunk.items() if room not in plan.float_rooms for node in nodes
    ]
    quantize_static(
        str(source),
        str(target),
        _Reader(feeds),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=None if plan.everything else list(TRUNK_OPERATIONS),
        nodes_to_quantize=None if plan.everything else chosen,
        nodes_to_exclude=[node.name for node in graph.node if node.op_type == "Gemm"],
        extra_options=MOVING_AVERAGE if plan.averaged_ranges else {},
    )
    store_in_half(target)
