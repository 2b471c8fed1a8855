"""Mixed precision: the same network, rounded more coarsely, where that costs nothing."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from face_models.training import train as training
from face_models.training.network import FaceNetwork
from face_models.training.precision import use_bfloat16

pytestmark = pytest.mark.training


def test_the_embedding_is_the_same_but_for_roundings() -> None:
    torch.manual_seed(5)
    plain = FaceNetwork("shufflenet_v2_x1_0").eval()
    mixed = deepcopy(plain)
    use_bfloat16(mixed)
    rgb = torch.rand(4, 3, 64, 64) * 255
    with torch.no_grad():
        wanted, found = plain(rgb), mixed(rgb)
    assert found.dtype == torch.float32
    assert not torch.equal(wanted, found)
    assert F.cosine_similarity(wanted, found).min() > 0.99


def test_what_was_copied_before_stays_as_it_is() -> None:
    network = FaceNetwork("shufflenet_v2_x1_0").eval()
    average = deepcopy(network)
    rgb = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        before = average(rgb)
        use_bfloat16(network)
        assert torch.equal(average(rgb), before)


def test_gradients_point_the_same_way() -> None:
    torch.manual_seed(5)
    plain = FaceNetwork("shufflenet_v2_x1_0").eval()  # batch statistics would amplify roundings
    mixed = deepcopy(plain)
    use_bfloat16(mixed)
    rgb = torch.rand(4, 3, 64, 64) * 255
    for network in (plain, mixed):
        network(rgb).square().mean().backward()
    wanted, found = (
        torch.cat([one.grad.flatten() for one in network.parameters() if one.grad is not None])
        for network in (plain, mixed)
    )
    assert found.dtype == torch.float32
    assert F.cosine_similarity(wanted, found, dim=0) > 0.98


def test_a_run_trains_and_resumes(data_dir: Path, tiny_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained = training.train(tiny_config, data_dir, run, training.Pace(1, bfloat16=True))
    before = torch.load(trained, weights_only=True)
    assert all(one.dtype != torch.bfloat16 for one in before["network"].values())
    again = training.train(tiny_config, data_dir, run, training.Pace(1, bfloat16=True))
    assert torch.load(again, weights_only=True)["step"] == before["step"] > 0
