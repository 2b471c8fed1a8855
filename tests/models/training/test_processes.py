"""Processes that learn together: the same weights in each, and every face once a pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from face_models.training import train as training
from face_models.training.processes import average_gradients, this_share, work_together

pytestmark = pytest.mark.training


def _leave_gradient(folder: str) -> None:
    share, _ = this_share()
    weight = nn.Parameter(torch.zeros(2, 3, 2, 2))
    weight.grad = torch.full((2, 3, 2, 2), float(share)).to(memory_format=torch.channels_last)
    still = nn.Parameter(torch.zeros(4))
    average_gradients([weight, still])
    torch.save(weight.grad, Path(folder) / f"{share}.pt")


def _fail_in_one(_folder: str) -> None:
    if this_share() == (1, 2):
        raise RuntimeError("the second process gives up")


def test_gradients_become_their_mean(tmp_path: Path) -> None:
    work_together(2, _leave_gradient, str(tmp_path))
    for share in (0, 1):
        gradient = torch.load(tmp_path / f"{share}.pt", weights_only=True)
        assert torch.equal(gradient, torch.full((2, 3, 2, 2), 0.5))


def test_one_process_is_the_callers_own(tmp_path: Path) -> None:
    work_together(1, _leave_gradient, str(tmp_path))
    assert torch.equal(torch.load(tmp_path / "0.pt", weights_only=True), torch.zeros(2, 3, 2, 2))


def test_a_failure_of_one_process_ends_all(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="the second process gives up"):
        work_together(2, _fail_in_one, str(tmp_path))


def test_two_processes_train_and_resume(data_dir: Path, tiny_config: Path, tmp_path: Path) -> None:
    trained = training.train(tiny_config, data_dir, tmp_path / "run", training.Pace(1, processes=2))
    before = torch.load(trained, weights_only=True)
    again = training.train(tiny_config, data_dir, tmp_path / "run", training.Pace(1, processes=2))
    after = torch.load(again, weights_only=True)
    assert after["step"] == before["step"] > 0
    for name, weight in before["network"].items():
        assert torch.equal(weight, after["network"][name]), name
