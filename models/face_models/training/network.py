"""The networks: a lightweight trunk, a weighted mean over its last map, ONE affine layer.

The mean weighs every place of every channel (MobileFaceNet's global depthwise convolution, Chen et
al. 2018, arXiv:1804.07573): on an aligned face the middle and a corner do not tell the same.
Everything behind the last convolution is affine on purpose: it gives Grad-CAM++ its closed form
(see gradcam.py). The heatmap network is the same network with a fourth input channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

EMBEDDING_DIMENSIONS = 128
GREY_LEVEL = 127.5
LEVELS_PER_UNIT = 128.0
LAST_MAP_SIDE = 7  # places, of an input of 224 px
ATTENTION_STRENGTH = "attention_strength"
BRANCH, BRANCH_CHANNELS = "branch", 8


@dataclass(frozen=True)
class Backbone:
    """How to build a trunk ending in its last convolution block, and that block's channels.

    `trunk` takes the name of torchvision's weights to fetch, or None.
    """

    trunk: Callable[[str | None], nn.Sequential]
    channels: int


def _shufflenet(weights: str | None) -> nn.Sequential:
    net = models.shufflenet_v2_x1_0(weights=weights)
    rooms = ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5")
    trunk = nn.Sequential()
    for room in rooms:
        trunk.add_module(room, getattr(net, room))
    return trunk


def _mobilenet(weights: str | None) -> nn.Sequential:
    trunk: nn.Sequential = models.mobilenet_v3_large(weights=weights).features
    return trunk


def _efficientnet(weights: str | None) -> nn.Sequential:
    trunk: nn.Sequential = models.efficientnet_b0(weights=weights).features
    return trunk


BACKBONES = {
    "shufflenet_v2_x1_0": Backbone(_shufflenet, 1024),
    "mobilenet_v3_large": Backbone(_mobilenet, 960),
    "efficientnet_b0": Backbone(_efficientnet, 1280),
}


class FaceNetwork(nn.Module):
    """RGB (n, 3, h, w) in 0..255, with `heat` (n, 1, h, w) in 0..1 where the network uses one.

    The heatmap enters as a fourth channel, as in the paper (`input_channels` 4); or as attention
    over the last feature map (`attends`): its places weigh 1 + strength x heat, strength learnt; or
    by a branch (`branches`): two small convolutions of it are added to what the trunk's first room
    answers. Strength and branch start at zero: as the network would be without a heatmap.

    `forward` answers the embedding (n, 128) before L2 normalisation, which is the affine image of
    the last feature map's weighted mean; `features` answers that map (n, channels, h/32, w/32).
    `place_weights` (channels, 7, 7) start as ones, the plain mean.
    """

    attention_strength: nn.Parameter | None
    branch: nn.Sequential | None
    trunk_precision: torch.dtype = torch.float32  # see precision.py

    def __init__(
        self,
        backbone: str,
        input_channels: int = 3,
        weights: str | None = None,
        *,
        attends: bool = False,
        branches: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = BACKBONES[backbone].trunk(weights)
        channels = BACKBONES[backbone].channels
        self.place_weights = nn.Parameter(torch.ones(channels, LAST_MAP_SIDE, LAST_MAP_SIDE))
        self.embedding = nn.Linear(channels, EMBEDDING_DIMENSIONS)
        self.takes_channel = input_channels > 3
        if self.takes_channel:
            widen_first_convolution(self.trunk, input_channels)
        strength = nn.Parameter(torch.zeros(())) if attends else None
        self.register_parameter(ATTENTION_STRENGTH, strength)
        self.branch = _new_branch(first_convolution(self.trunk)[2]) if branches else None

    def features(self, rgb: Tensor, heat: Tensor | None = None) -> Tensor:
        planes = to_planes(rgb)
        if heat is not None and self.takes_channel:
            planes = torch.cat([planes, 2 * heat - 1], dim=1)
        return self._last_map(planes, heat)

    def _last_map(self, planes: Tensor, heat: Tensor | None) -> Tensor:
        if self.trunk_precision == torch.float32:
            return self._through_trunk(planes, heat)
        with torch.autocast("cpu", self.trunk_precision):
            last_map = self._through_trunk(planes, heat)
        return last_map.float()

    def _through_trunk(self, planes: Tensor, heat: Tensor | None) -> Tensor:
        if self.branch is None or heat is None:
            last_map: Tensor = self.trunk(planes)
            return last_map
        first = self.trunk[0](planes)
        told = self.branch(F.adaptive_avg_pool2d(heat, (first.shape[2], first.shape[3])))
        answered: Tensor = self.trunk[1:](first + told)
        return answered

    def weights_of_places(self, height: int, width: int) -> Tensor:
        """(channels, height, width): the weights, resampled for a last map of another size."""
        if (height, width) == (LAST_MAP_SIDE, LAST_MAP_SIDE):
            return self.place_weights
        return F.interpolate(self.place_weights[None], (height, width), mode="bilinear")[0]

    def embed(self, features: Tensor, heat: Tensor | None = None) -> Tensor:
        if heat is not None and self.attention_strength is not None:
            places = F.adaptive_avg_pool2d(heat, (features.shape[2], features.shape[3]))
            weight = 1 + self.attention_strength * places
            features = features * weight / weight.mean(dim=(2, 3), keepdim=True)
        features = features * self.weights_of_places(features.shape[2], features.shape[3])
        embedding: Tensor = self.embedding(features.mean(dim=(2, 3)))
        return embedding

    def forward(self, rgb: Tensor, heat: Tensor | None = None) -> Tensor:
        return self.embed(self.features(rgb, heat), heat)


def mirrored(picture: Tensor) -> Tensor:
    """(n, channels, h, w), left and right exchanged: how the second network sees a face.

    The base network saw the face as it is: two different looks for the price of one each
    (tests/benchmarks/choices.py compares). Every network learns both sides, so one that began
    before this was so goes on.
    """
    return picture.flip(-1)


def to_planes(rgb: Tensor) -> Tensor:
    """0..255 -> about -1..1, what the trunk reads."""
    return (rgb - GREY_LEVEL) / LEVELS_PER_UNIT


def _new_branch(first: nn.Conv2d) -> nn.Sequential:
    """From a map (n, 1, h, w) to as many channels as the first convolution has; all zero yet."""
    last = nn.Conv2d(BRANCH_CHANNELS, first.out_channels, kernel_size=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]  # it has one
    return nn.Sequential(nn.Conv2d(1, BRANCH_CHANNELS, kernel_size=3, padding=1), nn.ReLU(), last)


def first_convolution(trunk: nn.Module) -> tuple[nn.Module, str, nn.Conv2d]:
    """The first convolution, with the module that holds it and its name there."""
    for parent in trunk.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d):
                return parent, name, child
    raise ValueError("the trunk has no convolution")


@torch.no_grad()
def widen_first_convolution(trunk: nn.Module, input_channels: int) -> None:
    """Give the first convolution more input planes, each starting as the mean of the RGB ones."""
    parent, name, old = first_convolution(trunk)
    wide = nn.Conv2d(
        input_channels,
        old.out_channels,
        kernel_size=(old.kernel_size[0], old.kernel_size[1]),
        stride=(old.stride[0], old.stride[1]),
        padding=old.padding,  # type: ignore[arg-type]  # torch types it wider than it is
        bias=old.bias is not None,
    )
    extra = input_channels - old.in_channels
    mean = old.weight.mean(dim=1, keepdim=True)
    wide.weight.copy_(torch.cat([old.weight, mean.expand(-1, extra, -1, -1)], dim=1))
    if old.bias is not None and wide.bias is not None:
        wide.bias.copy_(old.bias)
    setattr(parent, name, wide)


def continued(
    start: FaceNetwork,
    backbone: str,
    input_channels: int,
    *,
    attends: bool = False,
    branches: bool = False,
) -> FaceNetwork:
    """A new network with another's weights, and room for the heatmap where that had none.

    Raises ValueError where the start reads a fourth channel that the new one shall not have.
    """
    told = 4 if start.takes_channel else 3
    if told > input_channels:
        raise ValueError(
            f"a network of {told} input channels, the heatmap's among them, cannot go on with "
            f"{input_channels}"
        )
    network = FaceNetwork(backbone, told, attends=attends, branches=branches)
    network.load_state_dict(start.state_dict(), strict=False)
    if input_channels > told:
        widen_first_convolution(network.trunk, input_channels)
        network.takes_channel = True
    return network
