"""The running average of a network's weights, which is what a run hands on."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, step: int, most_decay: float) -> None:
    """Moves the average towards the network; early on it follows fast."""
    decay = min(most_decay, (1 + step) / (10 + step))
    now = network.state_dict()
    for name, averaged in average.state_dict().items():
        if averaged.dtype.is_floating_point:
            averaged.lerp_(now[name], 1 - decay)
        else:
            averaged.copy_(now[name])
