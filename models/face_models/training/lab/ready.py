"""What a run needs beside its photos is looked for before the hours of training, not after them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from face_models.training import starts
from face_models.training.evaluation.protocol import UnusableInput
from face_models.training.lab.arms import ARMS
from face_models.training.lab.bench import Bench
from face_models.training.lab.settings import DISTILLED, IMAGENET, RANDOM, Study
from face_models.training.views import TEACHER_FILE


def check(bench: Bench, people: Path) -> None:
    """`people`: folder of demo people, for the pictures.

    Raises:
        UnusableInput: a file is not there; it is named.
    """
    needed = [people, *(file for study in bench.config.studies for file in _files(bench, study))]
    if bench.config.restored and bench.config.studies[0].source != "drawn":
        needed.append(bench.folders.data / "train")
    missing = list(dict.fromkeys(file for file in needed if not file.exists()))
    if any(file.name.startswith(starts.PREFIX) for file in missing):
        how = "`face-models train models/configs/lab/starts/…` and `face-models lab start RUN`"
        raise UnusableInput(f"{_named(missing)}: not there; {how} make a start.")
    if missing:
        raise UnusableInput(f"{_named(missing)}: not there.")


def _named(files: list[Path]) -> str:
    return ", ".join(map(str, files))


def _files(bench: Bench, study: Study) -> Iterator[Path]:
    if study.source == "drawn":
        return
    data, config = bench.folders.data, bench.config
    if study.name == config.lfw_study:
        yield from (data / config.lfw / name for name in ("pairs.csv", "faces.csv", "photos"))
    if any(ARMS[arm].heat == "teacher" for arm in study.beyond):
        yield data / TEACHER_FILE
    for backbone in () if study.start_study else study.backbones:
        start = study.start.get(backbone, RANDOM)
        if start == DISTILLED:
            yield starts.file_of(backbone)
        elif start not in (RANDOM, IMAGENET):
            yield data / start
