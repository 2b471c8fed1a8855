"""How an arm learns: every photo once an epoch, ArcFace, one cosine of the learning rate.

The order of the photos, their mirrors and their noise follow from seed and epoch alone, so that
all arms of a seed see the same and a resumed run ends as an unbroken one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from face_models.spec import write_json
from face_models.training.checkpoint import Trained, load_trained, save_trained
from face_models.training.config import Stage
from face_models.training.lab import scores
from face_models.training.lab.arcface import LearntArcFace
from face_models.training.lab.arms import Arm
from face_models.training.lab.photos import Photos, Rows
from face_models.training.lab.settings import IMAGENET, Lesson
from face_models.training.lab.sight import BATCH, Sight, of_network
from face_models.training.lesson import schedule
from face_models.training.network import FaceNetwork, continued
from face_models.training.pixels import enlarged
from face_models.training.robustness.conditions import PAPER_NOISE, add_noise
from face_models.training.starts import start_from

NETWORK_FILE, CURVE_FILE, CHECKPOINT_FILE = "network.safetensors", "curve.json", "checkpoint.pt"
NORM_MOMENTUM = 0.1  # MobileNetV3's own 0.01 would still remember the start after a short lesson
GRADIENT_NORM = 5.0
WHOLE = (0.0, 0.0, 1.0, 1.0)

Heats = NDArray[np.float16]  # (photos, px, px)


@dataclass(frozen=True)
class Task:
    """What is learnt and measured after every epoch; `heats` in the order of all photos."""

    photos: Photos
    learnt: Rows
    validated: Rows
    lesson: Lesson
    arm: Arm
    seed: int
    heats: Heats | None = None
    base: Trained | None = None  # draws the maps of noisy photos, which no file holds


@dataclass
class Learner:
    network: FaceNetwork
    arcface: LearntArcFace
    optimiser: torch.optim.Optimizer
    curve: list[float]  # macro-F1 after each epoch

    def save(self, folder: Path) -> None:
        partial = folder / (CHECKPOINT_FILE + ".partial")
        state = {name: getattr(self, name).state_dict() for name in _LEARNING}
        torch.save({**state, "curve": self.curve}, partial)
        partial.rename(folder / CHECKPOINT_FILE)

    def resume(self, folder: Path) -> None:
        if (folder / CHECKPOINT_FILE).exists():
            state = torch.load(folder / CHECKPOINT_FILE, weights_only=True)
            for name in _LEARNING:
                getattr(self, name).load_state_dict(state[name])
            self.curve = state["curve"]


_LEARNING = ("network", "arcface", "optimiser")


def start_network(backbone: str, start: str | Path, *, heat: bool) -> FaceNetwork:
    """`start`: "random", "imagenet", a trained network's folder, or a file as in starts.py."""
    if isinstance(start, Path) and start.is_dir():
        rgb = load_trained(start / NETWORK_FILE).network
        return continued(rgb, backbone, 4 if heat else 3)
    network = FaceNetwork(backbone, weights="DEFAULT" if start == IMAGENET else None)
    if isinstance(start, Path):
        start_from(network, start)
    return continued(network, backbone, 4) if heat else network


def learn(task: Task, backbone: str, start: str | Path, folder: Path) -> None:
    """Fills `folder` with the network and its curve; goes on where a killed process stopped."""
    learner = _new_learner(task, backbone, start)
    learner.resume(folder)
    epochs = range(len(learner.curve), task.lesson.epochs)
    for epoch in tqdm(epochs, "epochs", unit="epoch", leave=False):
        torch.manual_seed(task.seed * task.lesson.epochs + epoch)
        _one_epoch(learner, task, epoch)
        learner.curve.append(_measure(learner, task))
        learner.save(folder)
    centres = torch.nn.functional.normalize(learner.arcface.centres.detach())
    save_trained(Trained(backbone, learner.network, centres), folder / NETWORK_FILE)
    write_json(folder / CURVE_FILE, {"macro_f1": learner.curve})
    (folder / CHECKPOINT_FILE).unlink()


def _new_learner(task: Task, backbone: str, start: str | Path) -> Learner:
    torch.manual_seed(task.seed)
    network = start_network(backbone, start, heat=task.arm.heat != "none")
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = NORM_MOMENTUM
    lesson = task.lesson
    torch.manual_seed(task.seed)  # the same centres for every arm
    arcface = LearntArcFace(task.photos.people, lesson.arcface_scale, lesson.arcface_margin_rad)
    weights = [*network.parameters(), *arcface.parameters()]
    optimiser = torch.optim.AdamW(weights, weight_decay=lesson.weight_decay)
    return Learner(network, arcface, optimiser, [])


def _one_epoch(learner: Learner, task: Task, epoch: int) -> None:
    batches = _batches(task, epoch)
    lesson = task.lesson
    photos = len(batches) * lesson.epochs  # a batch counts as one
    stage = Stage(0, photos, 1, lesson.peak_learning_rate, lesson.warmup_share)
    moments = schedule((stage,))[epoch * len(batches) :]
    learner.network.train()
    for number, (rows, moment) in enumerate(zip(batches, moments, strict=False)):
        random = np.random.default_rng((task.seed, epoch, number))
        rgb, heat = _lesson_batch(task, rows, random)
        loss = learner.arcface(
            learner.network(rgb, heat), torch.from_numpy(task.photos.person[rows])
        )
        _update(learner, loss, moment.learning_rate)


def _batches(task: Task, epoch: int) -> list[Rows]:
    """All photos in a new order; none is so small that a batch norm would learn from one photo."""
    order = np.random.default_rng((task.seed, epoch)).permutation(task.learnt)
    return np.array_split(order, max(1, len(order) // task.lesson.batch))


def _lesson_batch(
    task: Task, rows: Rows, random: np.random.Generator
) -> tuple[Tensor, Tensor | None]:
    mirrored = torch.from_numpy(random.random(len(rows)) < task.lesson.mirror_chance)
    dropped = torch.from_numpy(random.random(len(rows)) < task.arm.dropout)
    pixels = _noisy(np.asarray(task.photos.pixels[rows]), task.arm.noise, random)
    rgb = _mirrored(enlarged(pixels, pixels.shape[1]), mirrored)
    if task.arm.heat == "none":
        return rgb, None
    if task.base is not None and task.arm.draws_anew:
        return rgb, of_network(task.base)(rgb)
    heat = _mirrored(_heat_of(task, rows), mirrored)
    return rgb, torch.where(dropped[:, None, None, None], 0, heat)


def _noisy(
    pixels: NDArray[np.uint8], chance: float, random: np.random.Generator
) -> NDArray[np.uint8]:
    """That share of the photos gets noise of a deviation up to the paper's worst."""
    return np.stack(
        [
            add_noise(one, WHOLE, random.uniform(0, PAPER_NOISE[-1]), random) if noisy else one
            for one, noisy in zip(pixels, random.random(len(pixels)) < chance, strict=True)
        ]
    )


def _mirrored(planes: Tensor, mirrored: Tensor) -> Tensor:
    return torch.where(mirrored[:, None, None, None], planes.flip(3), planes)


def _heat_of(task: Task, rows: Rows) -> Tensor:
    if task.heats is None:
        side = task.photos.pixels.shape[1]
        return torch.zeros(len(rows), 1, side, side)
    return torch.from_numpy(np.asarray(task.heats[rows], dtype=np.float32))[:, None]


def _update(learner: Learner, loss: Tensor, learning_rate: float) -> None:
    for group in learner.optimiser.param_groups:
        group["lr"] = learning_rate
    learner.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    torch.nn.utils.clip_grad_norm_(learner.network.parameters(), GRADIENT_NORM)
    learner.optimiser.step()


@torch.no_grad()
def _measure(learner: Learner, task: Task) -> float:
    """Macro-F1 on the validation photos as they are."""
    learner.network.eval()
    predicted = []
    for rows in _in_batches(task.validated):
        pixels = np.asarray(task.photos.pixels[rows])
        rgb = enlarged(pixels, pixels.shape[1])
        heat = None if task.arm.heat == "none" else _heat_of(task, rows)
        predicted.append(learner.arcface.cosines(learner.network(rgb, heat)).argmax(dim=1))
    truth = task.photos.person[task.validated]
    answers = torch.cat(predicted).numpy()
    return round(scores.score(answers, truth, task.photos.people).macro_f1, 5)


def _in_batches(rows: Rows) -> Iterator[Rows]:
    yield from np.array_split(rows, -(-len(rows) // BATCH))


def precompute(sight: Sight, photos: Photos, rows: Rows, file: Path) -> None:
    """Maps of the photos as they are, to .npy; the rows not named stay zeros."""
    side = photos.pixels.shape[1]
    shape = (len(photos.pixels), side, side)
    maps = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape)
    for chosen in tqdm(list(_in_batches(rows)), "heatmaps", unit="batch", leave=False):
        heat = sight(enlarged(np.asarray(photos.pixels[chosen]), side))
        if heat is not None:
            maps[chosen] = heat[:, 0].numpy()
    maps.flush()
