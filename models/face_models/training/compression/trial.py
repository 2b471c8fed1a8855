"""Plain pruning against singular value scaling: the same photos, steps and seeds for every arm.

Every finished arm is kept at once, so that a killed trial goes on with the next.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from face_models.training.compression.prune import pruned
from face_models.training.compression.singular import singular_values_scaled
from face_models.training.config import RunConfig, Stage
from face_models.training.data import FaceSet
from face_models.training.lesson import Lesson, schedule
from face_models.training.losses import distillation, relations
from face_models.training.measure import BATCH, Measured, judge
from face_models.training.network import FaceNetwork
from face_models.training.pixels import enlarged
from face_models.training.train import ADAM_BETAS, GRADIENT_NORM

Initialise = Callable[[FaceNetwork], FaceNetwork]

ARMS: dict[str, Initialise] = {
    "plain": copy.deepcopy,
    "singular values scaled": singular_values_scaled,
    "singular values scaled, norms kept": lambda network: singular_values_scaled(
        network, keep_norms=True
    ),
}
STATISTICS_BATCHES = 12


@dataclass(frozen=True)
class TrialSettings:
    removed_shares: tuple[float, ...] = (0.3, 0.5)
    seeds: tuple[int, ...] = (1, 2, 3)
    steps: int = 300
    batch: int = 64
    input_px: int = 112
    peak_learning_rate: float = 1e-3

    def run(self, seed: int) -> RunConfig:
        stage = Stage(
            input_px=self.input_px,
            photos=self.steps * self.batch,
            batch=self.batch,
            peak_learning_rate=self.peak_learning_rate,
            views_share=0.0,
        )
        return RunConfig("pruning", "shufflenet_v2_x1_0", seed, (stage,))


@dataclass(frozen=True)
class Arm:
    """What decides an outcome: `start` is the sha256 of the checkpoint that was pruned."""

    start: str
    removed_share: float
    initialisation: str
    seed: int
    steps: int
    batch: int
    input_px: int
    peak_learning_rate: float


@dataclass(frozen=True)
class Outcome:
    """Validation figures at the trial's input size, before and after fine-tuning."""

    arm: Arm
    before: Measured
    after: Measured


def run_trial(
    network: FaceNetwork,
    start: str,
    sets: tuple[FaceSet, FaceSet],
    settings: TrialSettings,
    kept_in: Path,
) -> list[Outcome]:
    """All arms of `settings`, those in `kept_in` from there; `sets` are training and validation."""
    kept = _read(kept_in)
    outcomes = []
    for arm in tqdm(list(_arms(settings, start)), "pruning arms", unit="arm"):
        if arm not in kept:
            kept[arm] = _run(arm, network, settings.run(arm.seed), sets)
            with kept_in.open("a") as file:
                file.write(json.dumps(asdict(kept[arm])) + "\n")
        outcomes.append(kept[arm])
    return outcomes


def _arms(settings: TrialSettings, start: str) -> Iterator[Arm]:
    """Seed by seed, so that a trial stopped early has compared all arms on fewer seeds."""
    for seed in settings.seeds:
        for share in settings.removed_shares:
            for initialisation in ARMS:
                yield Arm(
                    start,
                    share,
                    initialisation,
                    seed,
                    settings.steps,
                    settings.batch,
                    settings.input_px,
                    settings.peak_learning_rate,
                )


def _read(kept_in: Path) -> dict[Arm, Outcome]:
    lines = kept_in.read_text().splitlines() if kept_in.exists() else []
    outcomes = [
        Outcome(Arm(**raw["arm"]), Measured(**raw["before"]), Measured(**raw["after"]))
        for raw in map(json.loads, lines)
    ]
    return {outcome.arm: outcome for outcome in outcomes}


def _run(
    arm: Arm, network: FaceNetwork, config: RunConfig, sets: tuple[FaceSet, FaceSet]
) -> Outcome:
    training, validation = sets
    lesson = Lesson(config, training, None)
    small = ARMS[arm.initialisation](pruned(network, arm.removed_share))
    small.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    estimate_statistics(small, lesson)
    before = measure(small, validation, arm.input_px)
    fine_tune(small, lesson)
    return Outcome(arm, before, measure(small, validation, arm.input_px))


@torch.no_grad()
def measure(network: FaceNetwork, faces: FaceSet, input_px: int) -> Measured:
    network.eval()
    batches = np.array_split(np.arange(len(faces)), math.ceil(len(faces) / BATCH))
    vectors = [functional.normalize(network(enlarged(faces.images(b), input_px))) for b in batches]
    return judge(torch.cat(vectors).numpy(), faces)


@torch.no_grad()
def estimate_statistics(network: FaceNetwork, lesson: Lesson) -> None:
    """Batch norms' means and variances anew: those of the whole network fit no part of it."""
    norms = [norm for norm in network.modules() if isinstance(norm, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
    network.train()
    for step, moment in enumerate(schedule(lesson.config.stages)[:STATISTICS_BATCHES]):
        network(lesson.batch(step, moment).rgb)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def fine_tune(network: FaceNetwork, lesson: Lesson) -> None:
    """The teacher's directions and relations, as in training, without ArcFace."""
    config = lesson.config
    optimiser = torch.optim.AdamW(
        network.parameters(), betas=ADAM_BETAS, weight_decay=config.weight_decay
    )
    network.train()
    for step, moment in enumerate(tqdm(schedule(config.stages), "fine-tuning", leave=False)):
        batch = lesson.batch(step, moment)
        embedding = network(batch.rgb)
        loss = config.loss.distillation * distillation(embedding, batch.teacher)
        loss = loss + config.loss.relations * relations(embedding, batch.teacher)
        for group in optimiser.param_groups:
            group["lr"] = moment.learning_rate
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        optimiser.step()
