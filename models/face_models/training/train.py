"""Training of the base and the heatmap network: one loop, resumable after any step.

A run lives in one folder: config.toml (a copy), checkpoint.pt (replaced atomically), log.csv.
Order of photos and views follow from the seed and the step alone, so a resumed run sees what an
unbroken one would have seen.
"""

from __future__ import annotations

import csv
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from face_models.training import data
from face_models.training.augment import augment
from face_models.training.checkpoint import Trained, rebuild
from face_models.training.config import RunConfig, Stage, read_config
from face_models.training.gradcam import ExplainedBase, explain
from face_models.training.losses import ArcFace, distillation, identity_centres
from face_models.training.network import FaceNetwork, heatmap_network_from

CHECKPOINT_FILE = "checkpoint.pt"
CHECKPOINT_EVERY_S = 120
LOG_EVERY_STEPS = 20
ADAM_BETAS = (0.9, 0.98)
GRADIENT_NORM = 5.0


@dataclass
class Learner:
    """What a checkpoint holds: the networks, the optimiser and how far the run has come."""

    config: RunConfig
    network: FaceNetwork
    arcface: ArcFace
    optimiser: torch.optim.Optimizer
    base: ExplainedBase | None  # fixed; makes the fourth channel of the heatmap network
    step: int = 0

    def save(self, run_dir: Path) -> None:
        partial = run_dir / (CHECKPOINT_FILE + ".partial")
        state = {
            "network": self.network.state_dict(),
            "arcface": self.arcface.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "backbone": self.config.backbone,
        }
        torch.save(state, partial)
        partial.rename(run_dir / CHECKPOINT_FILE)

    def resume(self, run_dir: Path) -> None:
        if not (run_dir / CHECKPOINT_FILE).exists():
            return
        state = torch.load(run_dir / CHECKPOINT_FILE, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.arcface.load_state_dict(state["arcface"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


@dataclass(frozen=True)
class Moment:
    """Where in the schedule a step stands."""

    stage: Stage
    step_in_stage: int
    steps_in_stage: int

    @property
    def learning_rate(self) -> float:
        """Linear warm-up, then half a cosine down to zero."""
        warmup = max(1, round(self.stage.warmup_share * self.steps_in_stage))
        if self.step_in_stage < warmup:
            return self.stage.peak_learning_rate * (self.step_in_stage + 1) / warmup
        share = (self.step_in_stage - warmup) / max(1, self.steps_in_stage - warmup)
        return self.stage.peak_learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def train(config_path: Path, data_dir: Path, run_dir: Path, threads: int = 2) -> Path:
    """Train, or go on training, the run in `run_dir`; answers the checkpoint's path."""
    config = read_config(config_path)
    torch.set_num_threads(threads)
    torch.manual_seed(config.seed)
    run_dir.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(config_path, run_dir / "config.toml")
    faces = data.load(data_dir, run_dir.parent / "cache", "train", config.min_photos)
    learner = _new_learner(config, faces, data_dir, run_dir)
    learner.resume(run_dir)
    _learn(learner, faces, run_dir)
    learner.save(run_dir)
    return run_dir / CHECKPOINT_FILE


def load_run(run_dir: Path) -> Trained:
    """The network of a run as far as it has come, in evaluation mode."""
    state = torch.load(run_dir / CHECKPOINT_FILE, weights_only=True)
    return rebuild(state["backbone"], state["network"], state["arcface"]["centres"])


def _new_learner(config: RunConfig, faces: data.FaceSet, data_dir: Path, run_dir: Path) -> Learner:
    base = load_run(run_dir.parent / config.base_run).explained() if config.base_run else None
    network = _new_network(config, base, data_dir)
    identity = torch.from_numpy(faces.identity)
    centres = identity_centres(torch.from_numpy(faces.teacher), identity, faces.identities)
    settings = config.loss
    arcface = ArcFace(centres, settings.arcface_scale, settings.arcface_margin_rad)
    optimiser = torch.optim.AdamW(
        network.parameters(), betas=ADAM_BETAS, weight_decay=config.weight_decay
    )
    return Learner(config, network, arcface, optimiser, base)


def _new_network(config: RunConfig, base: ExplainedBase | None, data_dir: Path) -> FaceNetwork:
    if base is not None:
        return heatmap_network_from(base.network, config.backbone)
    network = FaceNetwork(config.backbone)
    if config.init:
        network.trunk.load_state_dict(load_file(data_dir / config.init), strict=False)
    return network


def _learn(learner: Learner, faces: data.FaceSet, run_dir: Path) -> None:
    moments = _schedule(learner.config)
    saved_at = time.monotonic()
    with (
        (run_dir / "log.csv").open("a", newline="") as file,
        tqdm(total=len(moments), initial=learner.step, unit="step", mininterval=5) as bar,
    ):
        log = csv.writer(file)
        for moment in moments[learner.step :]:
            losses = _step(learner, faces, moment)
            learner.step += 1
            bar.update()
            if learner.step % LOG_EVERY_STEPS == 0:
                log.writerow([learner.step, moment.stage.input_px, *losses])
                file.flush()
                bar.set_postfix(px=moment.stage.input_px, distil=losses[0], arcface=losses[1])
            if time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
                learner.save(run_dir)
                saved_at = time.monotonic()


def _schedule(config: RunConfig) -> list[Moment]:
    return [
        Moment(stage, step, steps)
        for stage in config.stages
        for steps in [math.ceil(stage.photos / stage.batch)]
        for step in range(steps)
    ]


def _step(learner: Learner, faces: data.FaceSet, moment: Moment) -> tuple[float, float, float]:
    """One update; answers the distillation loss, the ArcFace loss and the learning rate."""
    config = learner.config
    random = torch.Generator().manual_seed(config.seed * 1_000_003 + learner.step)
    chosen = _chosen_photos(len(faces), config.seed, moment)
    photos = torch.from_numpy(faces.images(chosen)).permute(0, 3, 1, 2).float()
    views, mirrored = augment(photos, moment.stage.input_px, config.augment, random)
    heat = explain(learner.base, views) if learner.base is not None else None
    learner.network.train()
    embedding = learner.network(views, heat)
    taught = distillation(embedding, _teacher(faces, chosen, mirrored))
    identified = learner.arcface(embedding, torch.from_numpy(faces.identity[chosen]))
    loss = config.loss.distillation * taught + config.loss.arcface * identified
    _update(learner, loss, moment.learning_rate)
    return round(taught.item(), 4), round(identified.item(), 3), moment.learning_rate


def _chosen_photos(photos: int, seed: int, moment: Moment) -> NDArray[np.int64]:
    """Every photo once a pass, each pass in its own order, a batch running on over the edge."""
    first = moment.step_in_stage * moment.stage.batch
    places = np.arange(first, first + moment.stage.batch)
    chosen = np.empty(len(places), dtype=np.int64)
    for a_pass in np.unique(places // photos):
        order = np.random.default_rng((seed, moment.stage.input_px, int(a_pass))).permutation(
            photos
        )
        here = places // photos == a_pass
        chosen[here] = order[places[here] % photos]
    return chosen


def _teacher(faces: data.FaceSet, chosen: NDArray[np.int64], mirrored: Tensor) -> Tensor:
    plain = torch.from_numpy(faces.teacher[chosen])
    flipped = torch.from_numpy(faces.teacher_flipped[chosen])
    return torch.where(mirrored[:, None], flipped, plain)


def _update(learner: Learner, loss: Tensor, learning_rate: float) -> None:
    for group in learner.optimiser.param_groups:
        group["lr"] = learning_rate
    learner.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    torch.nn.utils.clip_grad_norm_(learner.network.parameters(), GRADIENT_NORM)
    learner.optimiser.step()
