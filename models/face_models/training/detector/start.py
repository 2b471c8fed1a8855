"""Going on from an exported detector: its weights, and which training faces it finds badly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from face_models.boxes import iou
from face_models.detect import INPUT_SIDE_PX, Detection, Detector, corners_of, view_of
from face_models.training.detector.measure import MATCH_IOU
from face_models.training.detector.photos import Floats, LabelledPhoto

ANY_SCORE = 0.02


@torch.no_grad()
def start_from(network: nn.Module, graph: Path, canvases: Tensor) -> None:
    """Gives the network the weights of its exported graph; it then answers as the graph does.

    Export folds batch norm into the convolutions. Here it is taken out again: statistics from
    `canvases` (n, 3, H, W), and the gain and shift that undo them, so that training finds every
    channel scaled as if it had never stopped.
    """
    network.eval()
    convolutions = in_order_of_use(network, canvases[:1])
    norms = norms_of(network)
    for convolution, (kernel, bias) in zip(convolutions, folded_weights(graph), strict=True):
        convolution.weight.copy_(kernel)
        norm = norms.get(convolution)
        if norm is None:
            convolution.bias.copy_(bias)  # type: ignore[union-attr]
        else:
            undone(norm, bias, torch.zeros_like(bias), torch.ones_like(bias))
    for norm, (mean, variance) in statistics(network, list(norms.values()), canvases).items():
        undone(norm, norm.bias.clone(), mean, variance)


def undone(norm: nn.BatchNorm2d, shift: Tensor, mean: Tensor, variance: Tensor) -> None:
    """Statistics whose effect gain and shift cancel: in all, the layer adds `shift`."""
    norm.running_mean.copy_(mean)  # type: ignore[union-attr]
    norm.running_var.copy_(variance)  # type: ignore[union-attr]
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(shift + mean)


def in_order_of_use(network: nn.Module, canvas: Tensor) -> list[nn.Conv2d]:
    used: list[nn.Conv2d] = []
    hooks = [
        module.register_forward_hook(lambda module, _, __: used.append(module))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    network(canvas)
    for hook in hooks:
        hook.remove()
    return used


def norms_of(network: nn.Module) -> dict[nn.Module, nn.BatchNorm2d]:
    """Convolution -> the batch norm behind it."""
    return {
        first: second
        for row in network.modules()
        if isinstance(row, nn.Sequential)
        for first, second in pairwise(row)
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d)
    }


def statistics(
    network: nn.Module, norms: Sequence[nn.BatchNorm2d], canvases: Tensor
) -> dict[nn.BatchNorm2d, tuple[Tensor, Tensor]]:
    """Mean and variance per channel of what reaches each batch norm."""
    seen: dict[nn.BatchNorm2d, tuple[Tensor, Tensor]] = {}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
        seen[norm] = mean, variance  # type: ignore[index]

    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    network(canvases)
    for hook in hooks:
        hook.remove()
    return seen


def folded_weights(graph: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Kernel and bias of every convolution, in the order in which they are run."""
    model = onnx.load(graph).graph
    arrays = {entry.name: numpy_helper.to_array(entry) for entry in model.initializer}
    for node in model.node:
        if (
            node.op_type == "Identity" and node.input[0] in arrays
        ):  # the exporter stores equals once
            arrays[node.output[0]] = arrays[node.input[0]]
        if node.op_type == "Conv":
            kernel, bias = (arrays[name] for name in node.input[1:])
            yield torch.from_numpy(kernel.copy()), torch.from_numpy(bias.copy())


def difficulty(graph: Path, photos: Sequence[LabelledPhoto]) -> list[Floats]:
    """Of every face of every photo: 0 (found with certainty) .. 1 (not found)."""
    detector = Detector(graph, score_threshold=ANY_SCORE)
    return [missing(photo, detector.look(view_of(photo.rgb, INPUT_SIDE_PX))) for photo in photos]


def missing(photo: LabelledPhoto, found: Sequence[Detection]) -> Floats:
    """1 - the best score of a detection on each face."""
    hits = iou(photo.corners, corners_of(found)) >= MATCH_IOU
    scores = np.array([face.score for face in found], np.float32)
    return np.asarray(1 - (hits * scores).max(axis=1, initial=0), np.float32)
