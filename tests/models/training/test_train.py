"""The training loop: learns, resumes where it stopped, refuses a config it does not understand."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from face_models.training import starts
from face_models.training import train as training
from face_models.training.checkpoint import load_trained, save_trained
from face_models.training.config import NO_CHANGE, LossSettings, read_config
from face_models.training.data import load
from face_models.training.export import heatmap_graph
from face_models.training.lesson import Batch
from face_models.training.measure import embed_set
from face_models.training.network import BACKBONES
from face_models.training.pixels import enlarged
from face_models.training.sight import Sight, look

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


def test_the_heatmap_network_learns_from_the_mirrored_face(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    rgb, heat, embedding = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8), torch.rand(2, 128)

    def forward(*told: torch.Tensor) -> torch.Tensor:
        seen.extend(told)
        return embedding

    learner = SimpleNamespace(
        config=SimpleNamespace(loss=LossSettings()),
        sight=lambda _rgb: Sight(embedding, heat),
        network=SimpleNamespace(train=lambda: None),
        forward=forward,
        arcface=lambda *_: embedding.sum(),
    )
    monkeypatch.setattr(training, "_update", lambda *_: None)
    training._step(learner, Batch(rgb, embedding, torch.zeros(2)), 0.0)  # type: ignore[arg-type]
    assert torch.equal(seen[0], rgb.flip(3))
    assert torch.equal(seen[1], heat.flip(3))


def test_what_is_measured_in_training_is_what_is_served(data_dir: Path, tmp_path: Path) -> None:
    explained = load_trained(training.CHECKPOINTS_DIR / "base.safetensors").explained()
    network = load_trained(training.CHECKPOINTS_DIR / "heatmap.safetensors").network
    faces = load(data_dir, tmp_path, "val", min_photos=1)
    measured = embed_set(network, lambda rgb: look(explained, rgb), faces, 224)
    rgb = enlarged(faces.images(np.arange(len(faces))), 224)
    with torch.no_grad():
        base, heat = explained(rgb)
        both, alone = heatmap_graph(network).module.eval()(rgb, heat, base)
    assert np.allclose(measured["together"], both.numpy(), atol=1e-5)
    assert np.allclose(measured["alone"], alone.numpy(), atol=1e-5)


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


def test_a_run_goes_on_from_the_laboratory_s_start(
    data_dir: Path, tiny_config: Path, tmp_path: Path
) -> None:
    started = tiny_config.read_text().replace("1e-3", "1e-12")
    tiny_config.write_text('start_run = "laboratory"\n' + started)
    training.train(tiny_config, data_dir, tmp_path / "run", training.Pace(1))
    start = load_file(starts.file_of("shufflenet_v2_x1_0"))
    learnt = _weights(tmp_path / "run")
    kernels = [name for name, weight in start.items() if weight.ndim == 4]
    assert kernels
    for name in kernels:
        assert torch.allclose(learnt[name], start[name].float(), atol=1e-6), name


def test_the_heatmap_network_goes_on_from_the_shipped_one(
    data_dir: Path, tiny_config: Path, tmp_path: Path
) -> None:
    config = tmp_path / "heatmap.toml"
    config.write_text(
        'start_run = "shipped-heatmap"\nbase_run = "shipped"\n'
        + tiny_config.read_text().replace("1e-3", "1e-12")
    )
    training.train(config, data_dir, tmp_path / "heatmap", training.Pace(1))
    shipped = load_trained(training.CHECKPOINTS_DIR / "heatmap.safetensors").network.state_dict()
    for name, weight in _weights(tmp_path / "heatmap").items():
        if weight.ndim == 4:
            assert torch.allclose(weight, shipped[name], atol=1e-6), name


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
FURTHER = {  # start_run, base_run
    "longer/base": ("shipped", ""),
    "longer/heatmap": ("", "base"),
    "mirrored/base": ("shipped", ""),
    "mirrored/heatmap": ("shipped-heatmap", "base"),
    "own/base": ("shipped", ""),
    "own/heatmap": ("shipped-heatmap", "base"),
    "lab/starts/efficientnet-further": ("lab-start-efficientnet", ""),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_shipped_config_names_its_run_as_its_file(name: str) -> None:
    config = read_config(CONFIGS / f"{name}.toml")
    assert config.name == name
    assert config.backbone in BACKBONES
    for earlier in {config.start_run, config.base_run} - {""}:
        assert earlier in NETWORKS


@pytest.mark.parametrize("name", FURTHER)
def test_a_config_of_further_training_says_what_it_goes_on_from(name: str) -> None:
    config = read_config(CONFIGS / f"{name}.toml")
    assert (config.start_run, config.base_run) == FURTHER[name]


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
