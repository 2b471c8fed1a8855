"""What the base network sees in a face, told in the form that a run asks for (HeatSettings).

The paper's form and every other score of the last map have the closed form of gradcam.py. Behind an
earlier layer stand convolutions and ReLUs: there the gradient takes a backward pass through them,
which no exported graph does. Such maps are for training and measuring alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from face_models.training.config import HeatSettings
from face_models.training.gradcam import ExplainedBase, heatmap, to_unit
from face_models.training.network import to_planes

IDENTITIES = {"best": 1, "top": 5}  # whose mean logit is explained
BLUR_REACH = 2.5  # deviations of the Gaussian that its kernel spans to either side
PAPERS_FORM = HeatSettings()


@dataclass(frozen=True)
class Sight:
    """What the base network sees in faces: unit embeddings (n, 128), heatmaps (n, 1, h, w)."""

    embedding: Tensor
    heat: Tensor


@torch.no_grad()
def look(base: ExplainedBase, rgb: Tensor, form: HeatSettings = PAPERS_FORM) -> Sight:
    """For training the heatmap network; no gradient flows into the base."""
    sight = _of_last_map(base, rgb, form) if form.layer == "last" else _of_layer(base, rgb, form)
    return Sight(sight.embedding, _shaped(sight.heat, form))


def _direction(base: ExplainedBase, embedding: Tensor, explains: str) -> Tensor:
    """(n, 128): the embedding along it is the explained score."""
    if explains == "nothing":
        return torch.zeros_like(embedding)
    if explains == "itself":
        return F.normalize(embedding)
    logits = base.logits(embedding)
    best = logits.topk(min(IDENTITIES[explains], logits.shape[1]), dim=1).indices
    return base.identity_weight[best].mean(dim=1)


def _of_last_map(base: ExplainedBase, rgb: Tensor, form: HeatSettings) -> Sight:
    features = base.network.features(rgb)
    embedding = base.network.embed(features)
    gradient = base.gradient(features, _direction(base, embedding, form.explains))
    return Sight(F.normalize(embedding), heatmap(features, gradient, _size(rgb)))


def _of_layer(base: ExplainedBase, rgb: Tensor, form: HeatSettings) -> Sight:
    trunk = base.network.trunk
    behind = [name for name, _ in trunk.named_children()].index(form.layer) + 1
    with torch.enable_grad():
        features = trunk[:behind](to_planes(rgb)).detach().requires_grad_()
        embedding = base.network.embed(trunk[behind:](features))
        direction = _direction(base, embedding.detach(), form.explains)
        (gradient,) = torch.autograd.grad((embedding * direction).sum(), features)
    features, embedding = features.detach(), embedding.detach()
    return Sight(F.normalize(embedding), heatmap(features, gradient, _size(rgb)))


def _size(rgb: Tensor) -> tuple[int, int]:
    return rgb.shape[2], rgb.shape[3]


def _shaped(heat: Tensor, form: HeatSettings) -> Tensor:
    """Blurred, then to its power; still from 0 to 1."""
    if form.blur > 0:
        sigma = form.blur * heat.shape[3]
        reach = min(math.ceil(BLUR_REACH * sigma), min(heat.shape[2:]) - 1)
        heat = to_unit(gaussian_blur(heat, [2 * reach + 1, 2 * reach + 1], [sigma, sigma]))
    return heat if form.power == 1 else heat**form.power
