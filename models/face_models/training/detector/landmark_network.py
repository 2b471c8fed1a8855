"""A tiny regression network: the upright face -> where its landmarks lie off the template."""

from __future__ import annotations

from torch import Tensor, nn

from face_models.training.detector.network import (
    LEVEL_SPAN,
    MEAN_LEVEL,
    SeparableBlock,
    convolution,
    stage,
)

WIDTHS = (16, 32, 64, 128)
LAST_GRID = 5  # cells a side of the last feature map of an 80 px crop
OFFSETS = 10


class LandmarkNetwork(nn.Module):
    """rgb (n, 3, 80, 80) 0..255 -> (n, 10): five times x, y, in eye distances off the template."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            convolution(3, WIDTHS[0], 3, stride=2),
            stage(WIDTHS[0], WIDTHS[1], 1),
            stage(WIDTHS[1], WIDTHS[2], 2),
            stage(WIDTHS[2], WIDTHS[3], 2),
            SeparableBlock(WIDTHS[3], WIDTHS[3]),
        )
        self.answer = nn.Sequential(
            nn.Conv2d(WIDTHS[3], 32, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(32 * LAST_GRID**2, OFFSETS),
        )

    def forward(self, rgb: Tensor) -> Tensor:
        offsets: Tensor = self.answer(self.trunk((rgb.float() - MEAN_LEVEL) / LEVEL_SPAN))
        return offsets
