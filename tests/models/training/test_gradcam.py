"""The closed form of Grad-CAM++ against pytorch-grad-cam, which takes a backward pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from pytorch_grad_cam import GradCAMPlusPlus
from torch import Tensor

from face_models.training.checkpoint import load_trained
from face_models.training.gradcam import ExplainedBase, IdentityLogits
from face_models.training.network import BACKBONES, FaceNetwork

CHECKPOINT = Path(__file__).parents[3] / "models" / "checkpoints" / "base.safetensors"
PEOPLE = Path(__file__).parents[2] / "data" / "people"
ALLOWED = 1e-4

pytestmark = pytest.mark.training


def _oracle(explained: ExplainedBase, rgb: Tensor) -> np.ndarray:
    logits = IdentityLogits(explained)
    with GradCAMPlusPlus(logits, [explained.network.trunk[-1]]) as cam:
        return np.asarray(cam(rgb, targets=None))


def _pictures(count: int) -> Tensor:
    random = torch.Generator().manual_seed(5)
    coarse = torch.rand(count, 3, 9, 9, generator=random) * 255
    return F.interpolate(coarse, size=(224, 224), mode="bicubic").clamp(0, 255)


def _demo_faces(count: int) -> Tensor:
    files = sorted(PEOPLE.glob("*/*"))[::7][:count]
    faces = [np.asarray(Image.open(f).convert("RGB").resize((224, 224))) for f in files]
    return torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2).float()


def test_closed_form_equals_the_oracle_on_the_trained_weights() -> None:
    explained = load_trained(CHECKPOINT).explained()
    faces = _demo_faces(8)
    with torch.no_grad():
        heat = explained(faces)[1][:, 0].numpy()
    assert np.abs(heat - _oracle(explained, faces)).max() <= ALLOWED


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_closed_form_equals_the_oracle_on_every_backbone(backbone: str) -> None:
    torch.manual_seed(1)
    network = FaceNetwork(backbone)
    torch.nn.init.normal_(network.place_weights, mean=1, std=0.7)
    explained = ExplainedBase(network, torch.randn(20, 128)).eval()
    pictures = _pictures(2)
    with torch.no_grad():
        heat = explained(pictures)[1][:, 0].numpy()
    assert np.abs(heat - _oracle(explained, pictures)).max() <= ALLOWED


def test_a_heatmap_spans_zero_to_one_at_the_input_size() -> None:
    torch.manual_seed(2)
    explained = ExplainedBase(FaceNetwork("shufflenet_v2_x1_0"), torch.randn(9, 128)).eval()
    with torch.no_grad():
        embedding, heat = explained(_pictures(3))
    assert heat.shape == (3, 1, 224, 224)
    assert torch.allclose(heat.amin(dim=(2, 3)), torch.zeros(3, 1))
    assert torch.allclose(heat.amax(dim=(2, 3)), torch.ones(3, 1), atol=1e-4)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(3), atol=1e-5)
