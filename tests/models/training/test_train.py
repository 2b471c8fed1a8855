"""The training loop: learns, resumes where it stopped, refuses a config it does not understand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from face_models.training import train as training
from face_models.training.checkpoint import load_trained, save_trained
from face_models.training.config import read_config

pytestmark = pytest.mark.training


def _weights(run_dir: Path) -> dict[str, torch.Tensor]:
    state = torch.load(run_dir / training.CHECKPOINT_FILE, weights_only=True)
    network: dict[str, torch.Tensor] = state["network"]
    return network


class Killed(Exception):
    """Stands for a process that dies in the middle of a run."""


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(
    data_dir: Path, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.train(tiny_config, data_dir, tmp_path / "unbroken", threads=1)
    with monkeypatch.context() as broken:
        broken.setattr(training, "CHECKPOINT_EVERY_S", -1.0)
        real_step = training._step

        def step_or_die(learner: training.Learner, *rest: object) -> object:
            if learner.step == 3:
                raise Killed
            return real_step(learner, *rest)  # type: ignore[arg-type]

        broken.setattr(training, "_step", step_or_die)
        with pytest.raises(Killed):
            training.train(tiny_config, data_dir, tmp_path / "broken", threads=1)
    training.train(tiny_config, data_dir, tmp_path / "broken", threads=1)
    unbroken, broken_weights = _weights(tmp_path / "unbroken"), _weights(tmp_path / "broken")
    for name, weight in unbroken.items():
        assert torch.allclose(weight, broken_weights[name], atol=1e-6), name


def test_the_heatmap_network_trains_on_the_base_run(
    data_dir: Path, tiny_config: Path, tmp_path: Path
) -> None:
    training.train(tiny_config, data_dir, tmp_path / "base", threads=1)
    config = tmp_path / "heatmap.toml"
    config.write_text(
        tiny_config.read_text().replace('name = "base"', 'base_run = "base"\nname = "heatmap"')
    )
    training.train(config, data_dir, tmp_path / "heatmap", threads=1)
    first = next(w for w in _weights(tmp_path / "heatmap").values() if w.ndim == 4)
    assert first.shape[1] == 4


def test_a_trained_network_survives_its_file(
    data_dir: Path, tiny_config: Path, tmp_path: Path
) -> None:
    training.train(tiny_config, data_dir, tmp_path / "run", threads=1)
    trained = training.load_run(tmp_path / "run")
    save_trained(trained, tmp_path / "base.safetensors")
    again = load_trained(tmp_path / "base.safetensors")
    picture = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        for ours, theirs in zip(
            again.explained()(picture), trained.explained()(picture), strict=True
        ):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("colour = 1", "RunConfig has no key colour"),
        ("[augment]\nblurr = 2", "AugmentSettings has no key blurr"),
        ("[loss]\nteacher = 2", "LossSettings has no key teacher"),
        ("[damage]\nfog = 2", "AugmentSettings has no key fog"),
        ("[views]\nmany = 2", "ViewSettings has no key many"),
    ],
)
def test_an_unknown_key_of_a_config_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f'name = "base"\nbackbone = "b"\nseed = 1\n{line}\n')
    with pytest.raises(ValueError, match=complaint):
        read_config(path)


def test_a_missing_key_of_a_config_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('name = "base"\n')
    with pytest.raises(ValueError, match="backbone"):
        read_config(path)


@pytest.mark.parametrize("name", ["base", "heatmap"])
def test_the_shipped_configs_are_readable(name: str) -> None:
    config = read_config(Path(__file__).parents[3] / "models" / "configs" / f"{name}.toml")
    assert config.name == name
    assert config.stages[-1].input_px == 224
