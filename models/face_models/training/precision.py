"""Mixed precision on CPUs: convolutions in bfloat16, what a loss compares in float32.

Faster where the processor multiplies bfloat16 matrices (AMX), of no use elsewhere.
"""

from __future__ import annotations

from types import MethodType

import torch
from torch import Tensor, nn

from face_models.training.network import FaceNetwork


def use_bfloat16(network: FaceNetwork) -> None:
    """From now on the trunk computes in bfloat16; weights and the embedding stay float32."""
    network.trunk_precision = torch.bfloat16
    for module in network.trunk.modules():
        if isinstance(module, nn.Conv2d) and _is_strided_depthwise(module):
            module.forward = MethodType(_in_float32, module)  # type: ignore[method-assign]


def _is_strided_depthwise(convolution: nn.Conv2d) -> bool:
    """The one kind whose gradient costs far more in bfloat16 than in float32."""
    return convolution.groups > 1 and max(convolution.stride) > 1


def _in_float32(convolution: nn.Conv2d, planes: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return nn.Conv2d.forward(convolution, planes.float())
