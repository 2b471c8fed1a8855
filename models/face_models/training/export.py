"""Networks -> ONNX graphs that hold normalisation, heatmap and embedding, checked against torch."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from face_models.training.gradcam import ExplainedBase
from face_models.training.losses import together
from face_models.training.network import EMBEDDING_DIMENSIONS, FaceNetwork, mirrored

INPUT_PX = 224
OPSET = 18
TOLERANCE = 1e-4
CHECKED_FACES = 4


class ExportError(Exception):
    """The exported graph answers something else than the network it came from."""


class JoinedEmbedder(nn.Module):
    """The heatmap network as it is served: the base network's unit embedding goes into the answer.

    RGB 0..255, heatmap 0..1, base (n, 128) -> the unit sum of both networks' embeddings, and the
    heatmap network's alone, which is of the mirrored face.
    """

    def __init__(self, network: FaceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, rgb: Tensor, heatmap: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
        alone = F.normalize(self.network(mirrored(rgb), mirrored(heatmap)))
        return together(alone, base), alone


@dataclass(frozen=True)
class Graph:
    """A module with example inputs and the names of its inputs and outputs."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


def base_graph(explained: ExplainedBase) -> Graph:
    """`rgb` (n, 3, 224, 224) -> `embedding` (n, 128), `heatmap` (n, 1, 224, 224)."""
    return Graph(explained, {"rgb": _example(3) * 255}, ("embedding", "heatmap"))


def heatmap_graph(network: FaceNetwork) -> Graph:
    """`rgb`, `heatmap` (n, 1, 224, 224), `base` (n, 128) -> `embedding`, `alone` (n, 128)."""
    base = F.normalize(_example(2)[:, :, 0, : EMBEDDING_DIMENSIONS // 2].flatten(1) - 0.5)
    inputs = {"rgb": _example(3) * 255, "heatmap": _example(1), "base": base}
    return Graph(JoinedEmbedder(network), inputs, ("embedding", "alone"))


def export_graph(graph: Graph, target: Path) -> float:
    """Write the graph; answers the largest difference to torch over all outputs.

    Raises ExportError above 1e-4. The file appears under its name only when it has passed.
    """
    partial = target.with_suffix(".partial.onnx")
    _write(graph, partial)
    forget_origin(partial)
    difference = largest_difference(graph, partial)
    if difference > TOLERANCE:
        raise ExportError(f"{target.name} differs from torch by {difference:.1e} > {TOLERANCE:.0e}")
    partial.rename(target)
    return difference


def largest_difference(graph: Graph, file: Path) -> float:
    """Largest absolute difference between ONNX Runtime and torch on the example inputs."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    answers = session.run(None, {name: value.numpy() for name, value in graph.inputs.items()})
    with torch.no_grad():
        expected = graph.module.eval()(*graph.inputs.values())
    tensors = expected if isinstance(expected, tuple) else (expected,)
    return max(
        float(np.abs(answer - tensor.numpy()).max())
        for answer, tensor in zip(answers, tensors, strict=True)
    )


def _write(graph: Graph, file: Path) -> None:
    batch = torch.export.Dim("n")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        torch.onnx.export(
            graph.module.eval(),
            tuple(graph.inputs.values()),
            str(file),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=tuple({0: batch} for _ in graph.inputs),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def forget_origin(file: Path) -> None:
    """Drop what the exporter notes beside the nodes: stack traces with this machine's paths."""
    model = onnx.load(file)
    for noted in (*model.graph.node, *model.graph.value_info, model.graph, model):
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")
    onnx.save(model, file)


def _example(planes: int) -> Tensor:
    """Smooth random pictures: closer to faces than white noise, and the same at every call."""
    random = torch.Generator().manual_seed(planes)
    coarse = torch.rand(CHECKED_FACES, planes, 7, 7, generator=random)
    return F.interpolate(coarse, size=(INPUT_PX, INPUT_PX), mode="bilinear")
