"""The networks: which pixels hide the face, what stands behind them, how old the face looks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from face_models.training.network import (
    BACKBONES,
    GREY_LEVEL,
    LEVELS_PER_UNIT,
    FaceNetwork,
)
from face_models.training.restored.settings import RegionSettings, RestorationSettings

LEAK = 0.1
POOLED_BLOCKS = 4  # of the trunk, the last ones
SMALLEST_PX = 32
OLDEST_YEARS = 116  # of the labels; a network tells the years 0..116 apart


class RegionNetwork(nn.Module):
    """RGB (n, 3, 112, 112) 0..255 -> logits (n, 1, 112, 112): above zero, the pixel is hidden.

    It looks at half the resolution: where a mask ends shows there to a pixel or so, and it costs a
    quarter. Depthwise convolutions, a U of three levels.
    """

    def __init__(self, settings: RegionSettings) -> None:
        super().__init__()
        first, second, third = settings.widths
        self.stem = _normalised(nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False), first)
        self.down = nn.Sequential(_separable(first, second, stride=2), _separable(second, second))
        self.deep = nn.Sequential(
            _separable(second, third, stride=2), _separable(third, third), _separable(third, third)
        )
        self.up = _separable(third + second, second)
        self.out = nn.Sequential(_separable(second + first, first), nn.Conv2d(first, 4, 1))

    def forward(self, rgb: Tensor) -> Tensor:
        half = functional.avg_pool2d((rgb - GREY_LEVEL) / LEVELS_PER_UNIT, 2)
        shallow = self.stem(half)
        middle = self.down(shallow)
        deep = self.deep(middle)
        middle = self.up(torch.cat([_doubled(deep), middle], dim=1))
        quarters = self.out(torch.cat([_doubled(middle), shallow], dim=1))
        return _doubled(functional.pixel_shuffle(quarters, 2), smooth=True)


class Gated(nn.Module):
    """A convolution whose answer a second one opens and closes (Yu et al. 2019, ICCV).

    One gate for all channels, the light form of Yi et al. 2020 (CVPR): a hole's pixels say nothing,
    and the gate learns where that still holds further in.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.both = nn.Conv2d(
            inputs, outputs + 1, 3, stride=stride, padding=dilation, dilation=dilation
        )

    def forward(self, planes: Tensor) -> Tensor:
        both = self.both(planes)
        feature, gate = both[:, :-1], both[:, -1:]
        return functional.leaky_relu(feature, LEAK) * torch.sigmoid(gate)


class Restorer(nn.Module):
    """RGB (n, 3, 112, 112) 0..255 and hole (n, 1, 112, 112) 0 or 1 -> RGB, filled in the hole.

    Outside the hole the picture comes back as it was: what was seen is never invented. Inside, it
    starts from the mean face (112, 112, 3), as light as the photo, and learns what differs, at half
    the resolution: finer patterns would please the loss's network more than a person.
    """

    usual: Tensor

    def __init__(self, settings: RestorationSettings, mean_face: Tensor) -> None:
        super().__init__()
        self.register_buffer("usual", mean_face.permute(2, 0, 1)[None].contiguous())
        first, second, third = settings.widths
        self.stem = Gated(4, first, stride=2)
        self.shallow = Gated(first, first)
        self.down = nn.Sequential(Gated(first, second, stride=2), Gated(second, second))
        self.deepest = Gated(second, third, stride=2)
        self.deep = nn.ModuleList(
            Gated(third, third, dilation=2 ** (level % 3)) for level in range(settings.deep)
        )
        self.up = nn.Sequential(nn.Conv2d(third + second, second, 1), Gated(second, second))
        self.finest = nn.Sequential(nn.Conv2d(second + first, first, 1), Gated(first, first))
        self.paint = nn.Conv2d(first, 3, 3, padding=1)
        for weight in self.paint.parameters():
            nn.init.zeros_(weight)

    def forward(self, rgb: Tensor, hole: Tensor) -> Tensor:
        painted = self.averaged(rgb, hole) + LEVELS_PER_UNIT * self._difference(rgb, hole)
        return rgb * (1 - hole) + painted.clamp(0, 255) * hole

    def averaged(self, rgb: Tensor, hole: Tensor) -> Tensor:
        """The mean face, everywhere, as light as what is seen of the photo."""
        return self.usual * _light(rgb * (1 - hole)) / _light(self.usual * (1 - hole))

    def _difference(self, rgb: Tensor, hole: Tensor) -> Tensor:
        seen = (rgb - GREY_LEVEL) / LEVELS_PER_UNIT * (1 - hole)
        shallow = self.shallow(self.stem(torch.cat([seen, hole], dim=1)))
        middle = self.down(shallow)
        deep = self.deepest(middle)
        for layer in self.deep:
            deep = deep + layer(deep)
        middle = self.up(torch.cat([_doubled(deep), middle], dim=1))
        fine = self.finest(torch.cat([_doubled(middle), shallow], dim=1))
        return _doubled(self.paint(fine), smooth=True)


class AgeHead(nn.Module):
    """The base network's pooled features (n, channels) -> logits of the years 0..116."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.years = nn.Linear(channels, OLDEST_YEARS + 1)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.years(self.norm(features))
        return logits


class AgeNetwork(nn.Module):
    """RGB (n, 3, h, w) 0..255 -> logits of the years 0..116, by the base network's trunk."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        self.trunk = BACKBONES[backbone].trunk(None)
        with torch.no_grad():
            channels = self.eval().features(torch.zeros(1, 3, SMALLEST_PX, SMALLEST_PX)).shape[1]
        self.head = AgeHead(channels)

    def features(self, rgb: Tensor) -> Tensor:
        """The means of the last blocks' maps: wrinkles are told early, faces late."""
        planes = (rgb - GREY_LEVEL) / LEVELS_PER_UNIT
        pooled = []
        for block in self.trunk:
            planes = block(planes)
            pooled.append(planes.mean(dim=(2, 3)))
        return torch.cat(pooled[-POOLED_BLOCKS:], dim=1)

    def forward(self, rgb: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(rgb))
        return logits


def on_base(base: FaceNetwork, backbone: str) -> AgeNetwork:
    """Starts from what the base network has learnt of faces."""
    network = AgeNetwork(backbone)
    network.trunk.load_state_dict(base.trunk.state_dict())
    return network


def expected_years(logits: Tensor) -> Tensor:
    """(n,) the mean of the told distribution: its best guess in squared error."""
    years = torch.arange(logits.shape[1], dtype=logits.dtype)
    return logits.softmax(dim=1) @ years


def _light(rgb: Tensor) -> Tensor:
    """(n, 1, 1, 1); one level more, so that a face that is hidden altogether has some, too."""
    return rgb.sum(dim=(1, 2, 3), keepdim=True) + 1


def _normalised(convolution: nn.Conv2d, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    depthwise = nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs, bias=False)
    return nn.Sequential(
        depthwise, *_normalised(nn.Conv2d(inputs, outputs, 1, bias=False), outputs)
    )


def _doubled(planes: Tensor, *, smooth: bool = False) -> Tensor:
    return functional.interpolate(
        planes, scale_factor=2.0, mode="bilinear" if smooth else "nearest"
    )
