"""Networks: the fourth channel starts from the other three, and nothing else changes."""

from __future__ import annotations

import pytest
import torch

from face_models.training.network import (
    ATTENTION_STRENGTH,
    BACKBONES,
    FaceNetwork,
    continued,
    first_convolution,
)

pytestmark = pytest.mark.training


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_the_fourth_channel_starts_as_the_mean_of_the_rgb_kernels(backbone: str) -> None:
    base = FaceNetwork(backbone)
    wide = first_convolution(continued(base, backbone, 4).trunk)[2].weight
    old = first_convolution(base.trunk)[2].weight
    assert torch.equal(wide[:, :3], old)
    assert torch.allclose(wide[:, 3], old.mean(dim=1))


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_every_backbone_answers_128_numbers_a_face(backbone: str) -> None:
    network = FaceNetwork(backbone, input_channels=4).eval()
    with torch.no_grad():
        embedding = network(torch.rand(2, 3, 64, 64) * 255, torch.rand(2, 1, 64, 64))
    assert embedding.shape == (2, 128)


def test_a_heatmap_network_goes_on_as_it_is_but_not_without_its_channel() -> None:
    told = FaceNetwork("shufflenet_v2_x1_0", input_channels=4)
    further = continued(told, "shufflenet_v2_x1_0", 4).state_dict()
    assert all(torch.equal(weight, further[name]) for name, weight in told.state_dict().items())
    with pytest.raises(ValueError, match=r"of 4 input channels.* cannot go on with 3"):
        continued(told, "shufflenet_v2_x1_0", 3)


def test_a_network_without_a_convolution_cannot_be_widened() -> None:
    with pytest.raises(ValueError, match="no convolution"):
        first_convolution(torch.nn.Sequential(torch.nn.Linear(2, 2)))


def test_attention_of_no_strength_changes_nothing_and_of_some_strength_moves_the_answer() -> None:
    start = FaceNetwork("shufflenet_v2_x1_0").eval()
    network = continued(start, "shufflenet_v2_x1_0", 3, attends=True).eval()
    features, heat = torch.rand(2, 1024, 4, 4), torch.rand(2, 1, 128, 128)
    with torch.no_grad():
        assert torch.allclose(network.embed(features, heat), start.embed(features), atol=1e-6)
        network.get_parameter(ATTENTION_STRENGTH).fill_(2.0)
        assert not torch.allclose(network.embed(features, heat), start.embed(features), atol=1e-4)
        even = torch.full_like(heat, 0.7)
        assert torch.allclose(network.embed(features, even), start.embed(features), atol=1e-5)


def test_equal_place_weights_are_the_plain_mean_at_any_size() -> None:
    network = FaceNetwork("shufflenet_v2_x1_0").eval()
    for side in (7, 4, 5):
        features = torch.rand(2, 1024, side, side)
        plain = network.embedding(features.mean(dim=(2, 3)))
        assert torch.allclose(network.embed(features), plain, atol=1e-5)


def test_a_place_of_no_weight_is_not_seen() -> None:
    network = FaceNetwork("shufflenet_v2_x1_0").eval()
    with torch.no_grad():
        network.place_weights[:, 2, 3] = 0
    features = torch.rand(1, 1024, 7, 7)
    changed = features.clone()
    changed[:, :, 2, 3] += 5
    assert torch.equal(network.embed(features), network.embed(changed))
    changed[:, :, 2, 4] += 5
    assert not torch.allclose(network.embed(features), network.embed(changed))
