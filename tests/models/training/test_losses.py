"""Losses: hand-made cases with known answers."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from face_models.training.losses import ArcFace, distillation, identity_centres, relations

pytestmark = pytest.mark.training


def test_distillation_is_zero_for_the_same_direction_and_two_for_the_opposite() -> None:
    teacher = torch.eye(4)[:2]
    assert distillation(3 * teacher, teacher).item() == pytest.approx(0, abs=1e-6)
    assert distillation(-teacher, teacher).item() == pytest.approx(2)


def test_relations_are_kept_by_any_rotation_and_cost_the_squared_difference_of_cosines() -> None:
    teacher = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    turned = teacher @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    assert relations(3 * turned, teacher).item() == pytest.approx(0, abs=1e-7)
    square = torch.eye(2)  # cosine 0 instead of sqrt(1/2), in two of the four places
    assert relations(square, teacher).item() == pytest.approx(0.25)


def test_arcface_without_margin_is_softmax_over_scaled_cosines() -> None:
    torch.manual_seed(0)
    loss = ArcFace(torch.randn(5, 128), scale=8.0, margin_rad=0.0)
    embedding, identity = torch.randn(6, 128), torch.tensor([0, 1, 2, 3, 4, 0])
    cosine = F.normalize(embedding) @ loss.centres.T
    expected = F.cross_entropy(8 * cosine, identity)
    assert loss(embedding, identity).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_margin_is_added_to_the_angle_of_the_true_identity() -> None:
    loss = ArcFace(torch.eye(128)[:2], scale=1.0, margin_rad=0.3)
    angle = 0.5
    embedding = (math.cos(angle) * torch.eye(128)[0] + math.sin(angle) * torch.eye(128)[1])[None]
    logits = torch.tensor([[math.cos(angle + 0.3), math.sin(angle)]])
    expected = F.cross_entropy(logits, torch.tensor([0]))
    assert loss(embedding, torch.tensor([0])).item() == pytest.approx(expected.item(), abs=1e-5)


def test_faces_of_unknown_identity_teach_arcface_nothing() -> None:
    loss = ArcFace(torch.randn(3, 128), 16.0, 0.3)
    embedding = torch.randn(4, 128, requires_grad=True)
    loss(embedding, torch.full((4,), -1)).backward()
    assert embedding.grad is not None
    assert float(embedding.grad.abs().max()) == 0


def test_centres_are_the_mean_direction_of_each_identity() -> None:
    teacher = torch.eye(128)[:3]
    centres = identity_centres(teacher, torch.tensor([0, 0, -1]), 1)
    expected = torch.zeros(128)
    expected[:2] = math.sqrt(0.5)
    assert torch.allclose(centres[0], expected)
