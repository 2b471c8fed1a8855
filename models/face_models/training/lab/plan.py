"""How long a config will take: what is to be done, and how fast this machine does a bit of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch

from face_models.training.evaluation.tables import table
from face_models.training.lab import lfw
from face_models.training.lab.answers import FORMS
from face_models.training.lab.arms import ARMS, BASE, HEATMAP
from face_models.training.lab.bench import Bench, Trial
from face_models.training.lab.exposures import table_exposures
from face_models.training.lab.run import trials_of
from face_models.training.network import FaceNetwork
from face_models.training.restored.settings import read_run

TRIED_BATCHES, BATCH = 3, 32
TEACHER_RATE = 85.0  # faces a second and core, as measured with its data set


@dataclass
class Work:
    """Photos that pass through each backbone, learning and looking."""

    learnt: Counter[str]
    looked: Counter[str]


def work_of(bench: Bench) -> Work:
    work = Work(Counter(), Counter())
    for study in bench.config.studies:
        _, photos = bench.photos_of(study)
        learnt, validated = len(photos.to_learn()), len(bench.validated(study))
        for trial in trials_of(study):
            _count(bench, trial, work, learnt, validated)
    return work


def _count(bench: Bench, trial: Trial, work: Work, learnt: int, validated: int) -> None:
    arm, epochs = ARMS[trial.arm], trial.study.lesson.epochs
    work.learnt[trial.backbone] += epochs * learnt
    looks = len(bench.exposures(trial))
    work.looked[trial.backbone] += validated * (epochs + looks)
    if arm.heat == "base":
        work.looked[trial.backbone] += learnt * (epochs if arm.noise else 1) + validated * looks
    if arm.heat == "teacher":
        work.looked["teacher"] += learnt + validated * (1 + looks)
    if trial.arm == HEATMAP:
        exposures = len(table_exposures(bench.config.occlusion_repeats))
        work.looked[trial.backbone] += validated * exposures * (len(FORMS) + 1)
    if trial.study.name == bench.config.lfw_study and trial.arm in (BASE, HEATMAP):
        pairs = lfw.pairs_of(bench.data_of(trial.study) / bench.config.lfw)
        photos = len({name for pair in pairs for name in (pair.a, pair.b)})
        work.looked[trial.backbone] += photos * (4 if trial.arm == HEATMAP else 2)


def plan(bench: Bench) -> str:
    """Markdown: photos, speed and minutes by backbone."""
    torch.set_num_threads(bench.threads)
    work = work_of(bench)
    rows, total = [], 0.0
    for backbone in dict.fromkeys((*work.learnt, *work.looked)):
        learning, looking = _speed(backbone, bench.config.input_px)
        minutes = (work.learnt[backbone] / learning + work.looked[backbone] / looking) / 60
        total += minutes
        rows.append(
            [
                backbone,
                f"{work.learnt[backbone]:,} at {learning:.0f}/s",
                f"{work.looked[backbone]:,} at {looking:.0f}/s",
                f"{minutes:.0f}",
            ]
        )
    if bench.config.restored:
        masked = sum(read_run(run).training.minutes for run in bench.config.restored)
        total += masked
        rows.append(["masked faces", "", "", f"{masked:.0f}"])
    rows.append(["all", "", "", f"{total:.0f}"])
    return table(["backbone", "photos learnt", "photos looked at", "minutes"], rows)


def _speed(backbone: str, px: int) -> tuple[float, float]:
    """Photos a second of wall-clock time: learning, looking."""
    if backbone == "teacher":
        return TEACHER_RATE, TEACHER_RATE
    network = FaceNetwork(backbone).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rgb = torch.rand(BATCH, 3, px, px).contiguous(memory_format=torch.channels_last) * 255

    def step() -> None:
        network(rgb).square().mean().backward()

    def look() -> None:
        with torch.no_grad():
            network(rgb)

    learning = _rate(step)
    network.eval()
    return learning, _rate(look)


def _rate(work: Callable[[], None]) -> float:
    work()
    started = time.perf_counter()
    for _ in range(TRIED_BATCHES):
        work()
    return TRIED_BATCHES * BATCH / (time.perf_counter() - started)
