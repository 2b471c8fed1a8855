"""Singular value scaling: a gentler start for what is left after pruning.

Kim & Yoo, "Singular Value Scaling: Efficient Generative Model Compression via Pruned Weights
Refinement" (AAAI 2025, arXiv:2412.17387): pruned weights have a few dominant singular values, which
steer fine-tuning. Before it, every weight U S V^T becomes U sqrt(S) V^T (a convolution as the
matrix outputs x rest), every bias is divided by the root of its norm, and normalisation layers
start anew. The paper does this to image generators; here it meets a recogniser with batch norms.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from face_models.training.network import FaceNetwork

BIAS_EPS = 1e-8


@torch.no_grad()
def singular_values_scaled(network: FaceNetwork, *, keep_norms: bool = False) -> FaceNetwork:
    """A copy; `keep_norms` leaves the affine part of the batch norms as training made it."""
    scaled = copy.deepcopy(network)
    for layer in scaled.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.copy_(root_of_singular_values(layer.weight))
            if layer.bias is not None:
                layer.bias.mul_((layer.bias.norm() + BIAS_EPS).rsqrt())
        elif isinstance(layer, nn.BatchNorm2d) and not keep_norms:
            layer.reset_parameters()
    return scaled


def root_of_singular_values(weight: Tensor) -> Tensor:
    """U S V^T -> U sqrt(S) V^T, the first axis against all others."""
    matrix = weight.reshape(len(weight), -1)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    root: Tensor = ((left * values.sqrt()) @ right).reshape(weight.shape)
    return root
