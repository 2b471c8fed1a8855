"""Structured pruning of ShuffleNetV2: whole channels go, the network stays dense and smaller.

Removed are only channels that no shuffle touches, so that splits and shuffles stay as they are:

    every unit's branch2   those between its two 1x1 convolutions, through the depthwise one
    conv5                  its outputs, with the embedding's inputs

A channel's importance is the product of the L1 norms along the one path through it (Li et al. 2017,
"Pruning filters for efficient ConvNets", arXiv:1608.08710, use the first factor alone), with batch
norms folded in: unlike the filter's own norm, it does not change when a norm moves between layers.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torchvision.models.shufflenetv2 import InvertedResidual

from face_models.training.compression.graphs import CompressionError
from face_models.training.network import FaceNetwork

Layer = TypeVar("Layer", bound=nn.Module)

GRAIN = 8  # channels stay multiples of what vector units like


def pruned(network: FaceNetwork, removed_share: float) -> FaceNetwork:
    """A smaller copy; of each prunable layer's channels about `removed_share` (0..1) are gone."""
    smaller = copy.deepcopy(network)
    units = [unit for unit in smaller.trunk.modules() if isinstance(unit, InvertedResidual)]
    if not units:
        raise CompressionError("Only ShuffleNetV2 trunks can be pruned.")
    for unit in units:
        _prune_unit(unit.branch2, removed_share)
    _prune_last(smaller, removed_share)
    return smaller


def _prune_unit(branch: nn.Sequential, removed_share: float) -> None:
    """1x1 conv, norm, ReLU, depthwise conv, norm, 1x1 conv, norm, ReLU."""
    widen, depthwise, narrow = (_convolution(branch, place) for place in (0, 3, 5))
    widened, filtered = _norm(branch, 1), _norm(branch, 4)
    path = folded_norms(widen, widened) * folded_norms(depthwise, filtered)
    kept = most_important(path * narrow.weight.detach().abs().sum(dim=(0, 2, 3)), removed_share)
    branch[0], branch[1] = _with_outputs(widen, kept), _with_channels(widened, kept)
    branch[3], branch[4] = _with_outputs(depthwise, kept), _with_channels(filtered, kept)
    branch[5] = _rebuilt(narrow, narrow.weight[:, kept])


def _prune_last(network: FaceNetwork, removed_share: float) -> None:
    conv5 = network.trunk.get_submodule("conv5")
    convolution, norm = _convolution(conv5, 0), _norm(conv5, 1)
    old = network.embedding
    places = network.place_weights.detach()
    weighed = old.weight.detach().abs().sum(dim=0) * places.abs().mean(dim=(1, 2))
    path = folded_norms(convolution, norm) * weighed
    kept = most_important(path, removed_share)
    conv5.add_module("0", _with_outputs(convolution, kept))
    conv5.add_module("1", _with_channels(norm, kept))
    network.embedding = nn.Linear(len(kept), old.out_features)
    network.place_weights = nn.Parameter(places[kept])
    network.embedding.load_state_dict({"weight": old.weight[:, kept], "bias": old.bias})


def most_important(importance: Tensor, removed_share: float) -> Tensor:
    """Places of the channels that stay, ascending."""
    channels = len(importance)
    stay = max(GRAIN, GRAIN * round((1 - removed_share) * channels / GRAIN))
    return importance.topk(min(stay, channels)).indices.sort().values


def folded_norms(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """(outputs,): L1 norm of each filter, as its batch norm scales it."""
    variance: Tensor = norm.state_dict()["running_var"]
    gain = norm.weight.detach().abs() / (variance + norm.eps).sqrt()
    return gain * convolution.weight.detach().abs().sum(dim=(1, 2, 3))


def _convolution(block: nn.Module, place: int) -> nn.Conv2d:
    return _layer(block, place, nn.Conv2d)


def _norm(block: nn.Module, place: int) -> nn.BatchNorm2d:
    return _layer(block, place, nn.BatchNorm2d)


def _layer(block: nn.Module, place: int, kind: type[Layer]) -> Layer:
    layer = block.get_submodule(str(place))
    if not isinstance(layer, kind):
        raise CompressionError(f"Layer {place} is no {kind.__name__}: {layer}.")
    return layer


def _with_outputs(old: nn.Conv2d, kept: Tensor) -> nn.Conv2d:
    return _rebuilt(old, old.weight[kept])


def _rebuilt(old: nn.Conv2d, weight: Tensor) -> nn.Conv2d:
    """`old` with this smaller weight; a depthwise one has as many groups as outputs."""
    outputs, inputs = weight.shape[:2]
    depthwise = old.groups > 1
    new = nn.Conv2d(
        outputs if depthwise else inputs,
        outputs,
        kernel_size=(old.kernel_size[0], old.kernel_size[1]),
        stride=(old.stride[0], old.stride[1]),
        padding=old.padding,  # type: ignore[arg-type]  # torch types it wider than it is
        groups=outputs if depthwise else 1,
        bias=False,  # a batch norm follows each
    )
    new.weight = nn.Parameter(weight.detach().clone())
    return new


def _with_channels(old: nn.BatchNorm2d, kept: Tensor) -> nn.BatchNorm2d:
    new = nn.BatchNorm2d(len(kept), eps=old.eps, momentum=old.momentum)
    state = old.state_dict()
    new.load_state_dict(
        {name: value[kept] if value.ndim else value for name, value in state.items()}
    )
    return new.train(old.training)


def parameters(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


@torch.no_grad()
def multiplications(network: FaceNetwork, input_px: int) -> int:
    """Multiply-accumulates of the convolutions and the affine layer for one face."""
    counted = []

    def count(module: nn.Module, _: object, answer: Tensor) -> None:
        weight: Tensor = module.weight  # type: ignore[assignment]
        positions = answer[0, 0].numel() if answer.ndim == 4 else 1
        counted.append(weight.numel() * positions)

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    network(torch.zeros(1, 3, input_px, input_px))
    for hook in hooks:
        hook.remove()
    return sum(counted)
