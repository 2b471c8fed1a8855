"""A small anchor-free detector: depthwise-separable trunk, feature pyramid, one head per stride.

Every cell of a grid answers 15 numbers, all in cells: 1 face logit, 4 for the box (offset of its
centre, log of its size) and 10 for the landmarks (offsets). Its models are YuNet (Wu et al. 2023)
and SCRFD (Guo et al. 2021).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from face_models.detect import ANSWERS_PER_CELL, STRIDES
from face_models.training.detector.settings import NetworkSettings

MEAN_LEVEL, LEVEL_SPAN = 127.5, 64.0  # bytes -> about zero mean, unit spread
RARE_FACE_LOGIT = -4.6  # log(0.01 / 0.99): most cells hold no face, so training starts from "no"


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class SeparableBlock(nn.Module):
    """3x3 within channels, 1x1 across them; a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.within = convolution(inputs, inputs, 3, stride, groups=inputs)
        self.across = convolution(inputs, outputs, 1)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = self.across(self.within(features))
        return features + changed if self.shortcut else changed


def stage(inputs: int, outputs: int, depth: int) -> nn.Module:
    """Halves the grid, then `depth` residual blocks."""
    blocks = [SeparableBlock(outputs, outputs) for _ in range(depth)]
    return nn.Sequential(SeparableBlock(inputs, outputs, stride=2), *blocks)


class DetectorNetwork(nn.Module):
    """rgb (n, 3, H, W) 0..255, H and W multiples of 32 -> one (n, 15, H/s, W/s) per stride s."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        widths, depths, neck = settings.widths, settings.depths, settings.neck
        self.stem = nn.Sequential(
            convolution(3, widths[0], 3, stride=2), stage(widths[0], widths[1], depths[0])
        )
        self.stages = nn.ModuleList(
            stage(widths[i], widths[i + 1], depths[i]) for i in range(1, len(depths))
        )
        self.laterals = nn.ModuleList(convolution(width, neck, 1) for width in widths[2:])
        self.heads = nn.ModuleList(head(neck) for _ in STRIDES)

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        features = self.stem((rgb.float() - MEAN_LEVEL) / LEVEL_SPAN)
        laterals = []
        for stage_, lateral in zip(self.stages, self.laterals, strict=True):
            features = stage_(features)
            laterals.append(lateral(features))
        return tuple(
            head_(level) for head_, level in zip(self.heads, pyramid(laterals), strict=True)
        )


def pyramid(laterals: list[Tensor]) -> list[Tensor]:
    """Adds each coarser level, doubled, to the finer one; finest first."""
    levels = [laterals[-1]]
    for lateral in reversed(laterals[:-1]):
        levels.append(lateral + functional.interpolate(levels[-1], scale_factor=2.0))
    return levels[::-1]


def head(neck: int) -> nn.Module:
    answer = nn.Conv2d(neck, ANSWERS_PER_CELL, 1)
    nn.init.normal_(answer.weight, std=0.01)
    nn.init.zeros_(answer.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        answer.bias[0] = RARE_FACE_LOGIT  # type: ignore[index]
    return nn.Sequential(*(SeparableBlock(neck, neck) for _ in range(3)), answer)
