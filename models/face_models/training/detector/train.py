"""Trains the landmark network, then the detector whose rough landmarks it makes exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from face_models.detect import (
    INPUT_SIDE_PX,
    SCORE_THRESHOLD,
    Detection,
    faces_in,
    network_input,
    view_of,
)
from face_models.training.data import load
from face_models.training.detector.canvas import Canvas, Composer
from face_models.training.detector.evaluate import ANY_SCORE
from face_models.training.detector.landmark_lesson import LandmarkLesson
from face_models.training.detector.landmark_network import LandmarkNetwork
from face_models.training.detector.learner import Losses, learn, new_learner
from face_models.training.detector.loss import Targets, detection_loss
from face_models.training.detector.measure import DetectorReport, report
from face_models.training.detector.network import DetectorNetwork
from face_models.training.detector.photos import LabelledPhoto, Rgb, read_photos
from face_models.training.detector.settings import DetectorSettings, read_settings
from face_models.training.detector.start import difficulty, start_from

CACHE = "cache"  # beside the runs: the training faces, decoded by `face-models prepare`
START_SEED, START_CANVASES = 6, 64


def train(config_path: Path, data_dir: Path, run_dir: Path, threads: int = 1) -> Path:
    """Train, or go on training, the run in `run_dir`; answers the detector's checkpoint.

    The landmark network's lies beside it.
    """
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    run_dir.mkdir(parents=True, exist_ok=True)
    settings = read_settings(config_path)
    photos, measured = read_photos(data_dir, "train"), read_photos(data_dir, "val")
    lesson = LandmarkLesson(
        photos,
        measured,
        load(data_dir, run_dir.parent / CACHE, "train"),
        load(data_dir, run_dir.parent / CACHE, "val"),
        settings.crops.aligned_share,
    )
    train_landmarks(settings, lesson, run_dir)
    start = config_path.parent / settings.start.graph if settings.start.graph else None
    return train_detector(settings, photos, measured, run_dir, start)


def train_detector(
    settings: DetectorSettings,
    photos: Sequence[LabelledPhoto],
    measured: Sequence[LabelledPhoto],
    run_dir: Path,
    start: Path | None = None,
) -> Path:
    torch.manual_seed(settings.training.seed)
    network = DetectorNetwork(settings.network)
    composer = Composer(photos, settings.canvas)
    if start:
        start_from(network, start, start_canvases(composer))
        composer = Composer(photos, settings.canvas, difficulty(start, photos))
    learner = new_learner(network, settings.training)
    lesson = DetectorLesson(composer, measured)
    return learn(learner, lesson, run_dir, asdict(settings))


def start_canvases(composer: Composer) -> Tensor:
    """What the statistics of a network that goes on are taken from."""
    random = np.random.default_rng(START_SEED)
    return batch_of([composer.compose(random) for _ in range(START_CANVASES)])[0]


def train_landmarks(settings: DetectorSettings, lesson: LandmarkLesson, run_dir: Path) -> Path:
    torch.manual_seed(settings.landmarks.seed)
    learner = new_learner(LandmarkNetwork(), settings.landmarks)
    return learn(learner, lesson, run_dir, asdict(settings))


class DetectorLesson:
    name = "detector"

    def __init__(self, composer: Composer, measured: Sequence[LabelledPhoto]) -> None:
        self._composer = composer
        self._measured = measured

    def losses(self, network: nn.Module, count: int, random: np.random.Generator) -> Losses:
        rgb, targets = batch_of([self._composer.compose(random) for _ in range(count)])
        loss = detection_loss(network(rgb), targets)
        parts = {"score": loss.score, "box": loss.box, "landmark": loss.landmark}
        return Losses(loss.total, parts)

    def measure(self, network: nn.Module) -> DetectorReport:
        """One look a photo, before any export; what would be served is what scores enough in it."""
        seen = [find_faces(network, photo.rgb) for photo in self._measured]
        served = [[face for face in faces if face.score >= SCORE_THRESHOLD] for faces in seen]
        return report(self._measured, seen, served)


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


@torch.no_grad()
def find_faces(network: nn.Module, rgb: Rgb) -> list[Detection]:
    view = view_of(rgb, INPUT_SIDE_PX)
    levels = network(torch.from_numpy(network_input(view.canvas)))
    return faces_in(view, [level[0].numpy() for level in levels], ANY_SCORE)
