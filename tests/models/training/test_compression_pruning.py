"""Pruning takes what matters least and nothing else; singular values lose their dominance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from face_models.training import data
from face_models.training.compression.graphs import CompressionError
from face_models.training.compression.prune import (
    GRAIN,
    most_important,
    multiplications,
    parameters,
    pruned,
)
from face_models.training.compression.singular import (
    root_of_singular_values,
    singular_values_scaled,
)
from face_models.training.compression.trial import (
    ARMS,
    TrialSettings,
    estimate_statistics,
    run_trial,
)
from face_models.training.lesson import Lesson
from face_models.training.network import FaceNetwork

pytestmark = pytest.mark.training

SHUFFLENET = "shufflenet_v2_x1_0"
SETTINGS = TrialSettings(removed_shares=(0.5,), seeds=(1,), steps=2, batch=4, input_px=32)


@pytest.fixture
def network() -> FaceNetwork:
    torch.manual_seed(5)
    return FaceNetwork(SHUFFLENET).eval()


@pytest.fixture
def sets(data_dir: Path, tmp_path: Path) -> tuple[data.FaceSet, data.FaceSet]:
    training, validation = (data.load(data_dir, tmp_path, split) for split in ("train", "val"))
    return training, validation


def _faces() -> torch.Tensor:
    return 255 * torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_channels_that_reach_nothing_are_pruned_without_a_trace(network: FaceNetwork) -> None:
    for unit in (module for module in network.trunk.modules() if hasattr(module, "branch2")):
        unit.branch2[5].weight[:, ::2] = 0
    network.embedding.weight[:, ::2] = 0
    smaller = pruned(network, 0.5)
    assert parameters(smaller) < 0.6 * parameters(network)
    assert torch.allclose(smaller(_faces()), network(_faces()), atol=1e-4)


def test_the_more_is_removed_the_less_there_is_to_compute(network: FaceNetwork) -> None:
    sizes = [pruned(network, share) for share in (0.3, 0.5, 0.7)]
    macs = [multiplications(one, 64) for one in (network, *sizes)]
    assert macs == sorted(macs, reverse=True)
    assert len(set(macs)) == 4


def test_pruning_leaves_the_network_it_is_given(network: FaceNetwork) -> None:
    before = network(_faces())
    pruned(network, 0.5)
    assert torch.equal(network(_faces()), before)


def test_the_most_important_channels_stay_in_their_order() -> None:
    importance = torch.tensor([9.0, 1, 8, 2, 7, 3, 6, 4] * 4)
    assert most_important(importance, 0.5).tolist() == [
        place for place, value in enumerate(importance.tolist()) if value > 5
    ]


def test_channels_stay_multiples_of_the_grain() -> None:
    assert len(most_important(torch.rand(58), 0.3)) % GRAIN == 0


def test_only_shufflenets_are_pruned() -> None:
    with pytest.raises(CompressionError, match="ShuffleNetV2"):
        pruned(FaceNetwork("mobilenet_v3_large"), 0.3)


def test_multiplications_of_a_convolution_grow_with_the_picture(network: FaceNetwork) -> None:
    affine = network.embedding.weight.numel()
    small, large = (multiplications(network, side) - affine for side in (64, 128))
    assert large == 4 * small


@pytest.mark.parametrize("shape", [(6, 4), (8, 4, 3, 3), (8, 1, 3, 3)])
def test_scaling_takes_the_root_of_singular_values_and_keeps_their_vectors(
    shape: tuple[int, ...],
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    root = root_of_singular_values(weight)
    assert root.shape == weight.shape
    left, values, right = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    assert torch.allclose(left.T @ root.flatten(1) @ right.T, values.sqrt().diag(), atol=1e-4)


def test_scaled_norms_start_anew_unless_they_are_kept(network: FaceNetwork) -> None:
    norm = network.trunk.conv1[1]  # type: ignore[index]
    torch.nn.init.constant_(norm.weight, 3)
    assert singular_values_scaled(network).trunk.conv1[1].weight.unique().item() == 1  # type: ignore[index]
    kept = singular_values_scaled(network, keep_norms=True)
    assert kept.trunk.conv1[1].weight.unique().item() == 3  # type: ignore[index]
    assert norm.weight.unique().item() == 3


def test_a_scaled_bias_has_the_root_of_its_norm(network: FaceNetwork) -> None:
    scaled = singular_values_scaled(network).embedding.bias
    old = network.embedding.bias
    assert torch.allclose(scaled.norm(), old.norm().sqrt(), atol=1e-4)
    assert torch.nn.functional.cosine_similarity(scaled, old, dim=0) > 0.9999


def test_estimated_statistics_are_those_of_the_faces(
    network: FaceNetwork, sets: tuple[data.FaceSet, data.FaceSet]
) -> None:
    lesson = Lesson(replace(SETTINGS, steps=1).run(seed=1), sets[0], None)
    seen: list[torch.Tensor] = []
    network.trunk.conv1[0].register_forward_hook(lambda *call: seen.append(call[2]))  # type: ignore[index]
    estimate_statistics(network, lesson)
    norm = network.trunk.conv1[1]  # type: ignore[index]
    assert torch.allclose(norm.running_mean, seen[0].mean(dim=(0, 2, 3)), atol=1e-4)
    assert norm.momentum == torch.nn.BatchNorm2d(1).momentum


def test_every_arm_is_run_once_and_a_killed_trial_goes_on(
    network: FaceNetwork, sets: tuple[data.FaceSet, data.FaceSet], tmp_path: Path
) -> None:
    kept_in = tmp_path / "arms.jsonl"
    outcomes = run_trial(network, "sha", sets, SETTINGS, kept_in)
    assert [outcome.arm.initialisation for outcome in outcomes] == list(ARMS)
    lines = kept_in.read_text().splitlines()
    kept_in.write_text("\n".join(lines[:-1]) + "\n")
    assert run_trial(network, "sha", sets, SETTINGS, kept_in) == outcomes
    assert kept_in.read_text().splitlines() == lines


def test_arms_of_another_checkpoint_are_not_taken_for_this_one(
    network: FaceNetwork, sets: tuple[data.FaceSet, data.FaceSet], tmp_path: Path
) -> None:
    kept_in = tmp_path / "arms.jsonl"
    run_trial(network, "one", sets, SETTINGS, kept_in)
    run_trial(network, "other", sets, SETTINGS, kept_in)
    assert len(kept_in.read_text().splitlines()) == 2 * len(ARMS)
