"""Pixels as the data set keeps them -> the tensors that the networks read."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from face_models.training.augment import Faces


def enlarged(pixels: Faces, size_px: int) -> Tensor:
    """(n, h, w, 3) -> (n, 3, size_px, size_px) float 0..255."""
    rgb = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    if rgb.shape[-1] == size_px:
        return rgb
    return functional.interpolate(rgb, size=(size_px, size_px), mode="bilinear")
