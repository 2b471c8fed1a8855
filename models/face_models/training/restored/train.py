"""Training of one of the three networks: resumable, in one folder of the runs."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from face_models.training.checkpoint import CHECKPOINTS_DIR, Trained, load_trained
from face_models.training.data import FaceSet
from face_models.training.detector.learner import Lesson, learn, new_learner
from face_models.training.pixels import enlarged
from face_models.training.restored import faces as who
from face_models.training.restored.age_lessons import AgeHeadLesson, AgeLesson
from face_models.training.restored.faces import Material
from face_models.training.restored.lessons import RegionLesson, RestorationLesson
from face_models.training.restored.masks import masked
from face_models.training.restored.networks import (
    AgeHead,
    AgeNetwork,
    RegionNetwork,
    Restorer,
    on_base,
)
from face_models.training.restored.settings import (
    AgeSettings,
    RegionSettings,
    RestorationSettings,
    Run,
    read_run,
)

CONFIG_FILE: Final = "config.toml"
FEATURE_SEED: Final = 2
MEAN_OF_FACES: Final = 1000
FEATURE_BATCH: Final = 32
HEAD, TUNED = "head", "tuned"


def train(
    config_path: Path, data_dir: Path, runs_dir: Path, threads: int, cache_dir: Path | None = None
) -> Path:
    """Train, or go on; answers the checkpoint's path.

    `cache_dir`: where the decoded faces are; by default in `runs_dir`.
    """
    run = read_run(config_path)
    run_dir = runs_dir / run.name
    run_dir.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(config_path, run_dir / CONFIG_FILE)
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    torch.manual_seed(run.training.seed)
    material = who.load(data_dir, cache_dir or runs_dir / "cache")
    lesson, network = prepared(run, material, shipped_base())
    return learn(new_learner(network, run.training), lesson, run_dir, asdict(run))


def shipped_base() -> Trained:
    return load_trained(CHECKPOINTS_DIR / "base.safetensors")


def prepared(run: Run, material: Material, base: Trained) -> tuple[Lesson, nn.Module]:
    """What the run learns from, and the network that does."""
    settings = run.settings
    for weight in base.network.parameters():
        weight.requires_grad = False
    if isinstance(settings, RegionSettings):
        region = RegionLesson(settings, material.learning, material.validation)
        return region, RegionNetwork(settings)
    if isinstance(settings, RestorationSettings):
        return (
            RestorationLesson(settings, material.learning, material.validation, base.network),
            Restorer(settings, torch.from_numpy(mean_face(material.learning))),
        )
    if settings.way == TUNED:
        tuned = on_base(base.network, base.backbone)
        return AgeLesson(settings, material.aged_learning, material.aged_choosing), tuned
    lesson = _head_lesson(settings, material, base)
    return lesson, AgeHead(lesson.learning.shape[-1])


def mean_face(faces: FaceSet, seed: int = 0) -> NDArray[np.float32]:
    """(112, 112, 3) over some of the faces and their mirror images."""
    chosen = np.random.default_rng(seed).permutation(len(faces))[:MEAN_OF_FACES]
    mean = faces.images(np.sort(chosen)).mean(axis=0)
    return np.asarray((mean + mean[:, ::-1]) / 2, dtype=np.float32)


def _head_lesson(settings: AgeSettings, material: Material, base: Trained) -> AgeHeadLesson:
    network = on_base(base.network, base.backbone).eval()
    learning, choosing = material.aged_learning, material.aged_choosing
    return AgeHeadLesson(
        settings,
        _features(network, learning, settings.input_px),
        learning.years,
        _features(network, choosing, settings.input_px),
        choosing.years,
    )


@torch.no_grad()
def _features(network: AgeNetwork, aged: who.Aged, input_px: int) -> NDArray[np.float32]:
    """(4, n, channels): of the faces, their mirror images, and both masked."""
    plain = aged.faces.images(np.arange(len(aged)))
    hidden = np.stack([masked(face, row, FEATURE_SEED).face for row, face in enumerate(plain)])
    ways = [plain, plain[:, :, ::-1], hidden, hidden[:, :, ::-1]]
    return np.stack([_pooled(network, np.ascontiguousarray(way), input_px) for way in ways])


def _pooled(network: AgeNetwork, faces: NDArray[np.uint8], input_px: int) -> NDArray[np.float32]:
    starts = tqdm(range(0, len(faces), FEATURE_BATCH), "features", unit="batch")
    parts = [network.features(enlarged(faces[at : at + FEATURE_BATCH], input_px)) for at in starts]
    return torch.cat(parts).numpy()
