"""Seeded views of a batch of faces: geometry, light, colour, sharpness, noise, occlusion.

One bilinear sampling does crop, turn, mirror and resize, so that 112-px photos become 224-px
inputs in the same step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class AugmentSettings:
    """Half-widths of uniform ranges, and chances (0..1) of the steps that not every face meets."""

    mirror_chance: float = 0.5
    scale: float = 0.10
    turn_deg: float = 10.0
    shift: float = 0.05  # of the face's width
    brightness: float = 0.35
    contrast: float = 0.35
    saturation: float = 0.4
    gamma: float = 0.35
    grey_chance: float = 0.1
    shrink_chance: float = 0.3
    shrink_min_px: int = 24
    noise_chance: float = 0.3
    noise_sigma: float = 14.0  # grey levels
    occlusion_chance: float = 0.3
    occlusion_side: tuple[float, float] = (0.15, 0.5)  # of the face's width


def augment(
    rgb: Tensor, size_px: int, settings: AugmentSettings, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Views (n, 3, size_px, size_px) of RGB faces (n, 3, h, w), both in 0..255.

    Also answers which of them are mirrored, (n,) bool.
    """
    views, mirrored = _reframe(rgb, size_px, settings, random)
    views = _relight(views, settings, random)
    views = _shrink(views, settings, random)
    views = _add_noise(views, settings, random)
    views = _occlude(views, settings, random)
    return views.clamp(0, 255), mirrored


def _uniform(n: int, low: float, high: float, random: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=random)


def _chance(n: int, chance: float, random: torch.Generator) -> Tensor:
    return torch.rand(n, generator=random) < chance


def _reframe(
    rgb: Tensor, size_px: int, settings: AugmentSettings, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    n = len(rgb)
    mirrored = _chance(n, settings.mirror_chance, random)
    angle = torch.deg2rad(_uniform(n, -settings.turn_deg, settings.turn_deg, random))
    scale = 1 + _uniform(n, -settings.scale, settings.scale, random)
    shift = _uniform(2 * n, -2 * settings.shift, 2 * settings.shift, random).view(n, 2)
    side = torch.where(mirrored, -1.0, 1.0)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([side * cos, -sin, shift[:, 0]], 1)]
    rows.append(torch.stack([side * sin, cos, shift[:, 1]], 1))
    theta = torch.stack(rows, 1)
    grid = F.affine_grid(theta, [n, 3, size_px, size_px], align_corners=False)
    return F.grid_sample(rgb, grid, padding_mode="border", align_corners=False), mirrored


def _relight(views: Tensor, settings: AugmentSettings, random: torch.Generator) -> Tensor:
    n = len(views)
    luma = torch.tensor(LUMA).view(1, 3, 1, 1)
    grey = (views * luma).sum(dim=1, keepdim=True)
    saturation = 1 + _uniform(n, -settings.saturation, settings.saturation, random)
    saturation[_chance(n, settings.grey_chance, random)] = 0
    contrast = (1 + _uniform(n, -settings.contrast, settings.contrast, random)).view(n, 1, 1, 1)
    brightness = (1 + _uniform(n, -settings.brightness, settings.brightness, random)).view(
        n, 1, 1, 1
    )
    gamma = (1 + _uniform(n, -settings.gamma, settings.gamma, random)).view(n, 1, 1, 1)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    coloured = grey + (views - grey) * saturation.view(n, 1, 1, 1)
    lit = ((coloured - mean) * contrast + mean) * brightness
    return 255 * (lit.clamp(0, 255) / 255) ** gamma


def _shrink(views: Tensor, settings: AugmentSettings, random: torch.Generator) -> Tensor:
    """Some faces come from few pixels: down to a small side and up again, one side a batch."""
    chosen = _chance(len(views), settings.shrink_chance, random)
    if not bool(chosen.any()):
        return views
    side = int(torch.randint(settings.shrink_min_px, 80, (1,), generator=random))
    small = F.interpolate(views[chosen], size=(side, side), mode="area")
    blurred = F.interpolate(small, size=views.shape[2:], mode="bilinear", align_corners=False)
    result = views.clone()
    result[chosen] = blurred
    return result


def _add_noise(views: Tensor, settings: AugmentSettings, random: torch.Generator) -> Tensor:
    chosen = _chance(len(views), settings.noise_chance, random)
    sigma = _uniform(len(views), 0, settings.noise_sigma, random) * chosen
    noise = torch.randn(views.shape, generator=random)
    return views + noise * sigma.view(-1, 1, 1, 1)


def _occlude(views: Tensor, settings: AugmentSettings, random: torch.Generator) -> Tensor:
    """A plain rectangle over some faces: mask, hand, hair, sunglasses stand-in."""
    n, _, height, width = views.shape
    chosen = _chance(n, settings.occlusion_chance, random)
    low, high = settings.occlusion_side
    half = _uniform(2 * n, low / 2, high / 2, random).view(n, 2)
    centre = _uniform(2 * n, 0, 1, random).view(n, 2)
    colour = _uniform(3 * n, 0, 255, random).view(n, 3, 1, 1)
    x = (torch.arange(width) + 0.5) / width
    y = (torch.arange(height) + 0.5) / height
    inside_x = (x[None] - centre[:, :1]).abs() < half[:, :1]
    inside_y = (y[None] - centre[:, 1:]).abs() < half[:, 1:]
    covered = inside_y[:, :, None] & inside_x[:, None, :] & chosen[:, None, None]
    return torch.where(covered[:, None], colour, views)
