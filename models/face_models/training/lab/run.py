"""`face-models lab run`: from the photos to the report, going on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from face_models.training.evaluation.bootstrap import PERCENTILES
from face_models.training.lab import maps, masked, overlays
from face_models.training.lab.arms import BASE, HEATMAP
from face_models.training.lab.bench import Bench, Trial
from face_models.training.lab.figures import study_document
from face_models.training.lab.pair_figures import lfw_document
from face_models.training.lab.ready import check
from face_models.training.lab.settings import LabConfig, Study
from face_models.training.lab.shelf import Busy
from face_models.training.provenance import provenance
from face_models.training.restored.pictures import draw as draw_restored

Step = tuple[str, Callable[[], object]]
Numbers = dict[str, Any]


def run(bench: Bench, people: Path, report_dir: Path) -> Numbers:
    """Everything of the config; answers the document and writes the pictures of maps.

    `people`: folder of demo people, who are nobody, for the pictures.
    """
    check(bench, people)
    torch.set_num_threads(bench.threads)
    cv2.setNumThreads(bench.threads)
    report_dir.mkdir(parents=True, exist_ok=True)
    work(bench, list(_steps(bench)))
    return _document(bench, people, report_dir)


def work(bench: Bench, steps: list[Step]) -> None:
    """All steps; what another process is at is left for later, and waited for in the end."""
    bench.shelf.patient = False
    with tqdm(total=len(steps), unit="step") as bar:
        while steps:
            postponed = []
            for title, step in steps:
                bar.set_description(title)
                try:
                    step()
                except Busy:
                    postponed.append((title, step))
                else:
                    bar.update()
                    bench.shelf.patient = False
            bench.shelf.patient = len(postponed) == len(steps)
            steps = postponed
    bench.shelf.patient = True


def _steps(bench: Bench) -> Iterator[Step]:
    """In the order in which one needs the other."""
    for study in bench.config.studies:
        yield f"{study.name}: photos", partial(bench.photos_of, study)
        for trial in trials_of(study):
            yield f"{trial}: learning", partial(bench.network, trial)
            yield f"{trial}: answers", partial(bench.answers, trial)
            if trial.arm == HEATMAP:
                yield f"{trial}: forms", partial(bench.forms, trial)
            if study.name == bench.config.lfw_study and trial.arm in (BASE, HEATMAP):
                yield f"{trial}: LFW", partial(bench.lfw_scores, trial)
    yield "maps: deletion and insertion", bench.areas
    for config in bench.config.restored:
        yield f"masked faces: {config.stem}", partial(masked.network, bench, config)
    if bench.config.restored:
        yield "masked faces: figures", partial(masked.figures, bench)


def trials_of(study: Study) -> list[Trial]:
    return [
        Trial(study, backbone, arm, seed)
        for seed in study.seeds
        for backbone in study.backbones
        for arm in study.arms(backbone)
    ]


def _document(bench: Bench, people: Path, report_dir: Path) -> Numbers:
    config = bench.config
    described = ", ".join(f"{study.name} ({study.source})" for study in config.studies)
    document: Numbers = {
        "name": config.name,
        "input_px": config.input_px,
        "settings": _settings(config),
        "studies": {study.name: study_document(bench, study) for study in config.studies},
        "maps": _maps(bench, people, report_dir),
        "provenance": asdict(provenance(described, config.seed)),
    }
    if config.lfw and config.lfw_study:
        document["lfw"] = lfw_document(bench, config.study(config.lfw_study))
    if config.restored:
        document["restored"] = masked.figures(bench)
        restoration = masked.restoration(bench)
        draw_restored(document["restored"], people, restoration, report_dir / "restored.png")
    document["made_at"] = sorted(bench.shelf.commits)
    return document


def _settings(config: LabConfig) -> Numbers:
    return {
        key: value
        for key, value in asdict(config).items()
        if key not in ("studies", "name", "input_px", "restored")
    }


def _maps(bench: Bench, people: Path, report_dir: Path) -> Numbers:
    """Figure 2 as pictures; how faithful each map is, in numbers and against Grad-CAM++."""
    config = bench.config
    trial = bench.explained()
    base = bench.trained(trial)
    shown = overlays.demo_people(people, config.input_px)
    overlays.draw_conditions(base, shown, config.seed, report_dir / "conditions.png")
    overlays.draw_methods(base, shown, report_dir / "methods.png")
    areas = bench.areas()
    return {
        "network": str(trial),
        "photos": areas[maps.CONTROL].shape[1],
        "areas": {name: _areas(areas, name, config) for name in areas},
    }


def _areas(areas: dict[str, maps.Areas], name: str, config: LabConfig) -> Numbers:
    """Mean areas, and how they differ from those of the map that knows but the middle."""
    answer: Numbers = {}
    random = np.random.default_rng(config.seed)
    for place, kind in enumerate(("deletion", "insertion")):
        own, plain = areas[name][place], areas[maps.CONTROL][place]
        drawn = random.integers(len(own), size=(config.bootstrap_draws, len(own)))
        low, high = np.percentile((own - plain)[drawn].mean(axis=1), PERCENTILES)
        answer[kind] = {
            "mean": float(own.mean()),
            "minus_control": float((own - plain).mean()),
            "interval": [float(low), float(high)],
        }
    return answer
