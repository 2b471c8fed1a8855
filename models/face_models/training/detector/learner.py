"""One training loop: averaged weights, two clocks, a checkpoint to resume from, two CSV logs.

A step's examples follow from the seed and the step alone, so a resumed run sees what an unbroken
one would have seen.
"""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from face_models.training.averaging import follow
from face_models.training.detector.settings import TrainingSettings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LOG_EVERY_STEPS = 20
GRADIENT_NORM = 10.0
FINAL_RATE_SHARE = 0.02  # of the peak learning rate


class Lesson(Protocol):
    """What is learned."""

    name: str  # of the checkpoint and the logs

    def losses(self, network: nn.Module, count: int, random: np.random.Generator) -> Losses:
        """Of `count` new examples."""

    def measure(self, network: nn.Module) -> DataclassInstance:
        """Figures on photos that are never learned from; its str() is one line."""


@dataclass(frozen=True)
class Losses:
    total: Tensor
    parts: Mapping[str, Tensor]


@dataclass
class Learner:
    """What a checkpoint holds: the network, its running average, the optimiser and both clocks."""

    settings: TrainingSettings
    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    @property
    def progress(self) -> float:
        """0..1 by the clock that is further."""
        return max(self.step / self.settings.steps, self.seconds / 60 / self.settings.minutes)

    @property
    def learning_rate(self) -> float:
        """Linear warm-up, then half a cosine."""
        warm = min((self.step + 1) / self.settings.warmup_steps, 1.0)
        wave = 0.5 * (1 + math.cos(math.pi * min(self.progress, 1.0)))
        share = FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * wave
        return self.settings.learning_rate * warm * share

    def save(self, path: Path, about: Mapping[str, Any]) -> None:
        state = {
            "settings": about,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def resume(self, path: Path) -> None:
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = state["step"], state["seconds"]


def new_learner(network: nn.Module, settings: TrainingSettings) -> Learner:
    """Channels last: on a CPU depthwise convolutions train half as fast again."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval()
    return Learner(settings, network, average, new_optimiser(network, settings))


def new_optimiser(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Decays the weights of convolutions alone."""
    kernels = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def learn(learner: Learner, lesson: Lesson, run_dir: Path, about: Mapping[str, Any]) -> Path:
    """Trains until a clock has run out; answers the checkpoint's path."""
    checkpoint = run_dir / f"{lesson.name}.pt"
    learner.resume(checkpoint)
    while learner.progress < 1:
        losses = take_step(learner, lesson)
        if learner.step % LOG_EVERY_STEPS == 0:
            log(run_dir / f"{lesson.name}-loss.csv", learner, values_of(losses))
            print(progress_line(learner, losses), flush=True)
        if learner.step % learner.settings.measure_every == 0 or learner.progress >= 1:
            learner.save(checkpoint, about)
            measured = lesson.measure(learner.average)
            log(run_dir / f"{lesson.name}-measured.csv", learner, asdict(measured))
            print(f"step {learner.step}: {measured}", flush=True)
    return checkpoint


def take_step(learner: Learner, lesson: Lesson) -> Losses:
    started = time.monotonic()
    random = np.random.default_rng((learner.settings.seed, learner.step))
    for group in learner.optimiser.param_groups:
        group["lr"] = learner.learning_rate
    losses = lesson.losses(learner.network.train(), learner.settings.batch, random)
    learner.optimiser.zero_grad()
    losses.total.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(learner.network.parameters(), GRADIENT_NORM)
    learner.optimiser.step()
    follow(learner.average, learner.network, learner.step, learner.settings.ema_decay)
    learner.step += 1
    learner.seconds += time.monotonic() - started
    return losses


def progress_line(learner: Learner, losses: Losses) -> str:
    minutes_left = learner.seconds / 60 * (1 / learner.progress - 1)
    return (
        f"step {learner.step}, {learner.progress:.1%}, {minutes_left:.0f} min left, "
        f"{learner.step * learner.settings.batch / learner.seconds:.0f} examples/s, "
        f"loss {losses.total.item():.3f}"
    )


def values_of(losses: Losses) -> dict[str, float]:
    return {name: part.item() for name, part in losses.parts.items()}


def log(path: Path, learner: Learner, values: Mapping[str, float]) -> None:
    row = {"step": learner.step, "seconds": round(learner.seconds), **values}
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if is_new:
            writer.writeheader()
        writer.writerow(row)
