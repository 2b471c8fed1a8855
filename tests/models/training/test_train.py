"""The training loop: learns, resumes where it stopped, refuses a config it does not understand."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from face_models.training import train as training
from face_models.training.checkpoint import load_trained, save_trained
from face_models.training.config import NO_CHANGE, read_config
from face_models.training.network import BACKBONES

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
    training.train(tiny_config, data_dir, tmp_path / "unbroken", training.Pace(1))
    with monkeypatch.context() as broken:
        broken.setattr(training, "CHECKPOINT_EVERY_S", -1.0)
        real_step = training._step

        def step_or_die(learner: training.Learner, *rest: object) -> object:
            if learner.step == 3:
                raise Killed
            return real_step(learner, *rest)  # type: ignore[arg-type]

        broken.setattr(training, "_step", step_or_die)
        with pytest.raises(Killed):
            training.train(tiny_config, data_dir, tmp_path / "broken", training.Pace(1))
    training.train(tiny_config, data_dir, tmp_path / "broken", training.Pace(1))
    unbroken, broken_weights = _weights(tmp_path / "unbroken"), _weights(tmp_path / "broken")
    for name, weight in unbroken.items():
        assert torch.allclose(weight, broken_weights[name], atol=1e-6), name


def test_the_heatmap_network_trains_on_the_base_run(
    data_dir: Path, tiny_config: Path, tmp_path: Path
) -> None:
    training.train(tiny_config, data_dir, tmp_path / "base", training.Pace(1))
    config = tmp_path / "heatmap.toml"
    config.write_text(
        tiny_config.read_text().replace('name = "base"', 'base_run = "base"\nname = "heatmap"')
    )
    training.train(config, data_dir, tmp_path / "heatmap", training.Pace(1))
    first = next(w for w in _weights(tmp_path / "heatmap").values() if w.ndim == 4)
    assert first.shape[1] == 4


def test_a_trained_network_survives_its_file(
    data_dir: Path, tiny_config: Path, tmp_path: Path
) -> None:
    training.train(tiny_config, data_dir, tmp_path / "run", training.Pace(1))
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


CONFIGS = Path(__file__).parents[3] / "models" / "configs"
NETWORKS = sorted(path.stem for path in CONFIGS.glob("*.toml") if path.stem != "detector")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_shipped_config_names_its_run_as_its_file(name: str) -> None:
    config = read_config(CONFIGS / f"{name}.toml")
    assert config.name == name
    assert config.backbone in BACKBONES
    for earlier in {config.start_run, config.base_run} - {""}:
        assert earlier in NETWORKS


@pytest.mark.parametrize("backbone", ["mobilenet", "efficientnet"])
def test_the_other_backbones_learn_by_their_configs(
    data_dir: Path, tmp_path: Path, backbone: str
) -> None:
    for name in (f"base-{backbone}", f"heatmap-{backbone}"):
        config = tmp_path / f"{name}.toml"
        config.write_text(_cut_short((CONFIGS / config.name).read_text()))
        training.train(config, data_dir, tmp_path / name, training.Pace(1))
        assert (tmp_path / name / "measured.csv").read_text().count("together") == ("heat" in name)


def _cut_short(config: str) -> str:
    """The same config for two steps of four small photos, without a download or a teacher."""
    short = re.sub(r"photos = \S+\nbatch = \d+", "photos = 8\nbatch = 4\nviews_share = 0.0", config)
    return re.sub(r"input_px = \d+", "input_px = 64", short).replace('init = "imagenet"\n', "")


def test_heatmaps_from_disk_train_as_those_drawn_on_the_fly(
    data_dir: Path, tiny_config: Path, tmp_path: Path
) -> None:
    training.train(tiny_config, data_dir, tmp_path / "base", training.Pace(1))
    still = "".join(
        f"{name} = {value}\n" for name, value in asdict(NO_CHANGE).items() if value == 0
    )
    heatmap = tiny_config.read_text().replace(
        'name = "base"', 'base_run = "base"\nname = "heatmap"'
    )
    weights = {}
    for form, extra in (("disk", "precomputed_heatmaps = true\n"), ("fly", "")):
        config = tmp_path / f"{form}.toml"
        config.write_text(extra + heatmap + f"[augment]\n{still}")
        training.train(config, data_dir, tmp_path / form, training.Pace(1))
        weights[form] = _weights(tmp_path / form)
    assert list((tmp_path / "cache").glob("heatmaps-32-*.npy"))
    for name, weight in weights["disk"].items():
        assert torch.allclose(weight.float(), weights["fly"][name].float(), atol=2e-3), name
