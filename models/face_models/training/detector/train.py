"""Trains the detector: one loop, averaged weights, a checkpoint to resume from, two CSV logs.

A step's canvases follow from the seed and the step alone, so a resumed run sees what an unbroken
one would have seen.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from face_models.detect import (
    INPUT_SIDE_PX,
    SCORE_THRESHOLD,
    Detection,
    faces_in,
    network_input,
    view_of,
)
from face_models.training.detector.canvas import Canvas, Composer
from face_models.training.detector.evaluate import ANY_SCORE
from face_models.training.detector.loss import Loss, Targets, detection_loss
from face_models.training.detector.measure import DetectorReport, report
from face_models.training.detector.network import DetectorNetwork
from face_models.training.detector.photos import LabelledPhoto, Rgb, read_photos
from face_models.training.detector.settings import (
    DetectorSettings,
    NetworkSettings,
    TrainingSettings,
    read_settings,
)

CHECKPOINT_FILE = "detector.pt"
LOG_EVERY_STEPS = 20
GRADIENT_NORM = 10.0
FINAL_RATE_SHARE = 0.02  # of the peak learning rate


@dataclass
class Learner:
    """What a checkpoint holds: the network, its running average, the optimiser and both clocks."""

    settings: DetectorSettings
    network: DetectorNetwork
    average: DetectorNetwork
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    @property
    def progress(self) -> float:
        """0..1 by the clock that is further."""
        training = self.settings.training
        return max(self.step / training.steps, self.seconds / 60 / training.minutes)

    def save(self, run_dir: Path) -> None:
        state = {
            "settings": asdict(self.settings),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = run_dir / f"{CHECKPOINT_FILE}.partial"
        torch.save(state, partial)
        partial.replace(run_dir / CHECKPOINT_FILE)

    def resume(self, run_dir: Path) -> None:
        if (run_dir / CHECKPOINT_FILE).exists():
            state = torch.load(run_dir / CHECKPOINT_FILE, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = state["step"], state["seconds"]


def train(config_path: Path, data_dir: Path, run_dir: Path, threads: int = 1) -> Path:
    """Train, or go on training, the run in `run_dir`; answers the checkpoint's path."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    run_dir.mkdir(parents=True, exist_ok=True)
    learner = new_learner(read_settings(config_path))
    learner.resume(run_dir)
    composer = Composer(read_photos(data_dir, "train"), learner.settings.canvas)
    learn(learner, composer, read_photos(data_dir, "val"), run_dir)
    return run_dir / CHECKPOINT_FILE


def new_learner(settings: DetectorSettings) -> Learner:
    torch.manual_seed(settings.training.seed)
    network = new_network(settings.network)
    average = new_network(settings.network)
    average.load_state_dict(network.state_dict())
    return Learner(settings, network, average.eval(), new_optimiser(network, settings.training))


def new_network(settings: NetworkSettings) -> DetectorNetwork:
    """Channels last: on a CPU depthwise convolutions train half as fast again."""
    network = DetectorNetwork(settings)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def new_optimiser(network: DetectorNetwork, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Decays the weights of convolutions alone."""
    kernels = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def learn(
    learner: Learner, composer: Composer, measured: Sequence[LabelledPhoto], run_dir: Path
) -> None:
    training = learner.settings.training
    while learner.progress < 1:
        started = time.monotonic()
        loss = take_step(learner, composer)
        learner.seconds += time.monotonic() - started
        learner.step += 1
        if learner.step % LOG_EVERY_STEPS == 0:
            log(run_dir / "loss.csv", learner, loss_row(learner, loss))
            print(progress_line(learner, loss), flush=True)
        if learner.step % training.measure_every == 0 or learner.progress >= 1:
            learner.save(run_dir)
            measurement = measure(learner.average, measured)
            log(run_dir / "measured.csv", learner, asdict(measurement))
            print(f"step {learner.step}: {measurement}", flush=True)


def take_step(learner: Learner, composer: Composer) -> Loss:
    training = learner.settings.training
    random = np.random.default_rng((training.seed, learner.step))
    rgb, targets = batch_of([composer.compose(random) for _ in range(training.batch)])
    for group in learner.optimiser.param_groups:
        group["lr"] = learning_rate(learner)
    learner.network.train()
    loss = detection_loss(learner.network(rgb), targets)
    learner.optimiser.zero_grad()
    loss.total.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(learner.network.parameters(), GRADIENT_NORM)
    learner.optimiser.step()
    follow(learner)
    return loss


def learning_rate(learner: Learner) -> float:
    """Linear warm-up, then half a cosine."""
    training = learner.settings.training
    warm = min((learner.step + 1) / training.warmup_steps, 1.0)
    wave = 0.5 * (1 + math.cos(math.pi * min(learner.progress, 1.0)))
    return training.learning_rate * warm * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * wave)


@torch.no_grad()
def follow(learner: Learner) -> None:
    """Moves the average towards the network; early on it follows fast."""
    decay = min(learner.settings.training.ema_decay, (1 + learner.step) / (10 + learner.step))
    now = learner.network.state_dict()
    for name, averaged in learner.average.state_dict().items():
        if averaged.dtype.is_floating_point:
            averaged.lerp_(now[name], 1 - decay)
        else:
            averaged.copy_(now[name])


def batch_of(canvases: Sequence[Canvas]) -> tuple[Tensor, Targets]:
    """Faces are padded to the largest count of the batch."""
    shape = (len(canvases), max(1, *(len(canvas.faces.boxes) for canvas in canvases)))
    boxes, marks = torch.zeros(*shape, 4), torch.zeros(*shape, 10)
    real, ignored = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    for i, faces in enumerate(canvas.faces for canvas in canvases):
        n = len(faces.boxes)
        boxes[i, :n] = torch.from_numpy(faces.boxes)
        marks[i, :n] = torch.from_numpy(faces.landmarks).reshape(n, 10)
        real[i, :n] = torch.from_numpy(faces.found > 0)
        ignored[i, :n] = torch.from_numpy(faces.found == 0)
    rgb = torch.from_numpy(np.stack([canvas.rgb for canvas in canvases])).permute(0, 3, 1, 2)
    return rgb, Targets(boxes, marks, real, ignored)


def measure(network: DetectorNetwork, photos: Sequence[LabelledPhoto]) -> DetectorReport:
    """One look a photo, before any export; what would be served is what scores enough in it."""
    seen = [find_faces(network, photo.rgb) for photo in photos]
    served = [[face for face in faces if face.score >= SCORE_THRESHOLD] for faces in seen]
    return report(photos, seen, served)


@torch.no_grad()
def find_faces(network: DetectorNetwork, rgb: Rgb) -> list[Detection]:
    view = view_of(rgb, INPUT_SIDE_PX)
    levels = network(torch.from_numpy(network_input(view.canvas)))
    return faces_in(view, [level[0].numpy() for level in levels], ANY_SCORE)


def progress_line(learner: Learner, loss: Loss) -> str:
    minutes_left = learner.seconds / 60 * (1 / learner.progress - 1)
    return (
        f"step {learner.step}, {learner.progress:.1%}, {minutes_left:.0f} min left, "
        f"{learner.step * learner.settings.training.batch / learner.seconds:.0f} canvases/s, "
        f"loss {loss.total.item():.3f}"
    )


def loss_row(learner: Learner, loss: Loss) -> dict[str, float]:
    parts = {"score": loss.score, "box": loss.box, "landmark": loss.landmark}
    return {"learning_rate": learning_rate(learner)} | {
        name: part.item() for name, part in parts.items()
    }


def log(path: Path, learner: Learner, values: dict[str, Any]) -> None:
    row = {"step": learner.step, "seconds": round(learner.seconds)} | values
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if is_new:
            writer.writeheader()
        writer.writerow(row)
