"""What the three networks learn by."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

DICE_FLOOR = 1.0  # pixels: a face without a mask has no overlap to divide


def region_loss(logits: Tensor, region: Tensor) -> Tensor:
    """Cross entropy of pixels + (1 - soft Dice): the second counts every mask alike."""
    told = torch.sigmoid(logits)
    both = (told * region).sum(dim=(1, 2, 3))
    sizes = told.sum(dim=(1, 2, 3)) + region.sum(dim=(1, 2, 3))
    dice = (2 * both + DICE_FLOOR) / (sizes + DICE_FLOOR)
    return functional.binary_cross_entropy_with_logits(logits, region) + (1 - dice).mean()


def hole_error(painted: Tensor, truth: Tensor, hole: Tensor) -> Tensor:
    """Mean absolute difference in the hole, as a share of full scale."""
    difference = ((painted - truth).abs() * hole).sum()
    return difference / (255 * painted.shape[1] * hole.sum().clamp(min=1))


def mean_variance(
    logits: Tensor, years: Tensor, mean_weight: float, variance_weight: float
) -> dict[str, Tensor]:
    """Pan et al. 2018, equations 3, 4, 7: by name, already weighted."""
    labels = torch.arange(logits.shape[1], dtype=logits.dtype)
    told = logits.softmax(dim=1)
    mean = told @ labels
    variance = (told * (labels - mean[:, None]) ** 2).sum(dim=1)
    return {
        "cross_entropy": functional.cross_entropy(logits, years.round().long()),
        "mean": mean_weight * ((mean - years) ** 2).mean() / 2,
        "variance": variance_weight * variance.mean(),
    }
