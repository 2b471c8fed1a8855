"""Grad-CAM++ (Chattopadhay et al. 2018, arXiv:1710.11063) as part of the forward pass.

The explained score is the plain logit of the training identity the base network takes the face
for:  score_c = w_c . (E mean(P A) + b),  affine in the last feature map A (channels, h, w), whose
places P (channels, h, w) weighs. Its gradient at place p of channel k is g_kp = (w_c E)_k P_kp /
(h w), so equation 19's weights need no backward pass:

    alpha_kp = g_kp^2 / (2 g_kp^2 + g_kp^3 sum(A_k) + eps)    weight_k = sum_p relu(g_kp) alpha_kp

Constants and scaling are those of pytorch-grad-cam, which the tests hold this form against.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from face_models.training.network import FaceNetwork

ALPHA_EPS = 1e-6
SCALE_EPS = 1e-7


class ExplainedBase(nn.Module):
    """The base network with its identity logits: RGB (n, 3, h, w) 0..255 -> embedding and heatmap.

    Args:
        network: the base network.
        identity_weight: (identities, 128), ArcFace's class centres, L2-normalised.
    """

    identity_weight: Tensor

    def __init__(self, network: FaceNetwork, identity_weight: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("identity_weight", F.normalize(identity_weight.detach()))

    def logits(self, embedding: Tensor) -> Tensor:
        return embedding @ self.identity_weight.T

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """L2-normalised embedding (n, 128) and heatmap (n, 1, h, w) in 0..1."""
        features = self.network.features(rgb)
        embedding = self.network.embed(features)
        explained = self.logits(embedding).argmax(dim=1)
        gradient = self.gradient(features, self.identity_weight[explained])
        heat = heatmap(features, gradient, size=(rgb.shape[2], rgb.shape[3]))
        return F.normalize(embedding), heat

    def gradient(self, features: Tensor, direction: Tensor) -> Tensor:
        """(n, channels, h, w): of the embedding along `direction` (n, 128), by the last map."""
        pull = direction @ self.network.embedding.weight
        places = self.network.weights_of_places(features.shape[2], features.shape[3])
        positions = features.shape[2] * features.shape[3]
        return pull[:, :, None, None] * places / positions


class IdentityLogits(nn.Module):
    """The explained scores alone, RGB -> (n, identities): what pytorch-grad-cam differentiates."""

    def __init__(self, explained: ExplainedBase) -> None:
        super().__init__()
        self.explained = explained

    def forward(self, rgb: Tensor) -> Tensor:
        return self.explained.logits(self.explained.network(rgb))


def heatmap(features: Tensor, gradient: Tensor, size: tuple[int, int]) -> Tensor:
    """Grad-CAM++ map (n, 1, *size) in 0..1.

    Args:
        features: feature map (n, channels, h, w).
        gradient: the explained score's by that map, of the same shape.
        size: height and width of the network's input, pixels.
    """
    total = features.sum(dim=(2, 3), keepdim=True)
    square = gradient**2
    alpha = square / (2 * square + total * square * gradient + ALPHA_EPS)
    weight = (gradient.clamp(min=0) * alpha).sum(dim=(2, 3), keepdim=True)
    raw = (weight * features).sum(dim=1, keepdim=True).clamp(min=0)
    wide = F.interpolate(to_unit(raw), size=size, mode="bilinear", align_corners=False)
    return to_unit(wide)


def to_unit(maps: Tensor) -> Tensor:
    low = maps.amin(dim=(2, 3), keepdim=True)
    shifted = maps - low
    return shifted / (SCALE_EPS + shifted.amax(dim=(2, 3), keepdim=True))
