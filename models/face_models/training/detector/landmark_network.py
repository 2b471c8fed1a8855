"""Every cell of a coarse grid votes where the landmarks lie, and says how much its vote counts.

A vote is an offset from the cell's own centre, so what one cell learns holds wherever the face
lies in the crop. The features are the first stages of the base network, which has seen far more
faces than have labelled landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from face_models.landmarks import CROP_PX, EYE_DISTANCE_PX, TEMPLATE
from face_models.training.detector.network import SeparableBlock, convolution
from face_models.training.network import BACKBONES, GREY_LEVEL, LEVELS_PER_UNIT

BACKBONE = "shufflenet_v2_x1_0"
TRUNK = "trunk."  # before the names of its weights in a checkpoint of the base network
STAGES = ("conv1", "maxpool", "stage2", "stage3")  # torchvision's names
WIDTHS = (24, 116, 232)  # channels at strides 4, 8, 16: behind the last three
NECK = 64
STRIDE = 8  # of the grid that votes
POINTS = len(TEMPLATE)


@dataclass(frozen=True)
class Votes:
    """Points in eye distances."""

    places: Tensor  # (n, 5, 2, cells)
    shares: Tensor  # (n, 5, 1, cells), of all cells 1

    @property
    def elected(self) -> Tensor:
        """What they agree on, (n, 5, 2)."""
        return (self.places * self.shares).sum(dim=3)


class LandmarkNetwork(nn.Module):
    """rgb (n, 3, 96, 96) 0..255 -> (n, 10): five times x, y, in eye distances off the template."""

    centres: Tensor
    template: Tensor

    def __init__(self) -> None:
        super().__init__()
        trunk = BACKBONES[BACKBONE].trunk(None)
        self.conv1, self.maxpool, self.stage2, self.stage3 = map(trunk.get_submodule, STAGES)
        self.laterals = nn.ModuleList(convolution(width, NECK, 1) for width in WIDTHS)
        self.voters = nn.Sequential(
            SeparableBlock(NECK, NECK),
            SeparableBlock(NECK, NECK),
            nn.Conv2d(NECK, 3 * POINTS, 1),
        )
        self.register_buffer("centres", cell_centres(), persistent=False)
        template = torch.from_numpy(TEMPLATE / EYE_DISTANCE_PX).float()
        self.register_buffer("template", template, persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        return self.offsets(self.vote(rgb))

    def vote(self, rgb: Tensor) -> Votes:
        fine = self.maxpool(self.conv1((rgb.float() - GREY_LEVEL) / LEVELS_PER_UNIT))
        middle = self.stage2(fine)
        near, at, far = self.laterals
        features = (
            functional.avg_pool2d(near(fine), 2)
            + at(middle)
            + functional.interpolate(far(self.stage3(middle)), scale_factor=2.0)
        )
        answers = self.voters(features).flatten(2)  # (n, 15, cells)
        shares = answers[:, :POINTS].softmax(dim=2)[:, :, None]
        places = answers[:, POINTS:].unflatten(1, (POINTS, 2)) * (STRIDE / EYE_DISTANCE_PX)
        return Votes(places + self.centres, shares)

    def offsets(self, votes: Votes) -> Tensor:
        """(n, 10), what `forward` answers."""
        off: Tensor = (votes.elected - self.template).flatten(1)
        return off


def landmark_network(checkpoint: Path | None = None) -> LandmarkNetwork:
    """With the first stages of a base network's checkpoint (safetensors)."""
    network = LandmarkNetwork()
    if checkpoint:
        network.load_state_dict(trunk_of(load_file(checkpoint)), strict=False)
    return network


def trunk_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(TRUNK): weight
        for name, weight in weights.items()
        if name.startswith(TRUNK)
    }


def cell_centres() -> Tensor:
    """(2, cells) x, y in eye distances."""
    at = (torch.arange(CROP_PX // STRIDE) + 0.5) * STRIDE / EYE_DISTANCE_PX
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()])
