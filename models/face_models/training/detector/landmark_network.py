"""Every cell of a coarse grid votes where the landmarks lie, and says how much its vote counts.

A vote is an offset from the cell's own centre, so what one cell learns holds wherever the face
lies in the crop: with 4,400 labelled faces that matters more than size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from face_models.landmarks import CROP_PX, EYE_DISTANCE_PX, TEMPLATE
from face_models.training.detector.network import (
    LEVEL_SPAN,
    MEAN_LEVEL,
    SeparableBlock,
    convolution,
)

WIDTHS = (16, 24, 48, 96)  # channels at strides 2, 4, 8, 16
NECK = 64
STRIDE = 8  # of the grid that votes
POINTS = len(TEMPLATE)


class DenseBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: on a CPU they train as fast as separable ones."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolution(width, width, 3)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(features + self.second(self.first(features)))


def dense_stage(inputs: int, outputs: int) -> nn.Module:
    """Halves the grid."""
    return nn.Sequential(convolution(inputs, outputs, 3, stride=2), DenseBlock(outputs))


class LandmarkNetwork(nn.Module):
    """rgb (n, 3, 96, 96) 0..255 -> (n, 10): five times x, y, in eye distances off the template."""

    centres: Tensor
    template: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            convolution(3, WIDTHS[0], 3, stride=2),
            dense_stage(WIDTHS[0], WIDTHS[1]),
            dense_stage(WIDTHS[1], WIDTHS[2]),
        )
        self.coarse = dense_stage(WIDTHS[2], WIDTHS[3])
        self.laterals = nn.ModuleList(convolution(width, NECK, 1) for width in WIDTHS[2:])
        self.votes = nn.Sequential(SeparableBlock(NECK, NECK), nn.Conv2d(NECK, 3 * POINTS, 1))
        self.register_buffer("centres", cell_centres(), persistent=False)
        template = torch.from_numpy(TEMPLATE / EYE_DISTANCE_PX).float()
        self.register_buffer("template", template, persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        fine = self.fine((rgb.float() - MEAN_LEVEL) / LEVEL_SPAN)
        near, far = self.laterals
        features = near(fine) + functional.interpolate(far(self.coarse(fine)), scale_factor=2.0)
        votes = self.votes(features).flatten(2)  # (n, 15, cells)
        weights = votes[:, :POINTS].softmax(dim=2)[:, :, None]
        places = votes[:, POINTS:].unflatten(1, (POINTS, 2)) * (STRIDE / EYE_DISTANCE_PX)
        found = ((places + self.centres) * weights).sum(dim=3)
        offsets: Tensor = (found - self.template).flatten(1)
        return offsets


def cell_centres() -> Tensor:
    """(2, cells) x, y in eye distances."""
    at = (torch.arange(CROP_PX // STRIDE) + 0.5) * STRIDE / EYE_DISTANCE_PX
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()])
