"""Photos under treatment: of the aligned crop, or of the whole photo before detection; networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np

from face_models.align import CROP_PX, Landmarks, align
from face_models.engine import Crops, Engine, Vectors, open_session
from face_models.errors import PhotoError
from face_models.photo import Rgb, read_photo
from face_models.pipeline import Pipeline
from face_models.spec import MODEL_FILE
from face_models.training.data import FaceSet
from face_models.training.robustness.conditions import (
    CONDITIONS,
    FACE_IN_CROP,
    Box,
    Condition,
    seeded,
)

CLEAN: Final = "as it is"
BASE_FILE: Final = "base.onnx"

Networks = Callable[[Crops], Mapping[str, Vectors]]


@dataclass(frozen=True)
class Treatment:
    """One severity of one condition, or (`condition` is None) the photo as it is."""

    condition: Condition | None = None
    severity: float = 0.0

    @property
    def name(self) -> str:
        return self.condition.name if self.condition else CLEAN


def treatments(conditions: Sequence[Condition] = CONDITIONS) -> list[Treatment]:
    """The clean photo, then every severity of every condition."""
    spoilt = [Treatment(one, severity) for one in conditions for severity in one.severities]
    return [Treatment(), *spoilt]


class Photos(Protocol):
    def crops(self, photo: str, chosen: Sequence[Treatment]) -> Iterator[Rgb | None]:
        """The aligned face under each treatment; None where there is none to use."""


@dataclass(frozen=True)
class AlignedPhotos:
    """Treatments of the aligned crop: what the networks alone endure."""

    crop: Callable[[str], Rgb | None]
    seed: int

    def crops(self, photo: str, chosen: Sequence[Treatment]) -> Iterator[Rgb | None]:
        crop = self.crop(photo)
        for one in chosen:
            yield None if crop is None else treated(crop, FACE_IN_CROP, one, photo, self.seed)


@dataclass(frozen=True)
class WholePhotos:
    """Treatments of the photo before detection: what the service endures."""

    pipeline: Pipeline
    images: Path
    seed: int

    def crops(self, photo: str, chosen: Sequence[Treatment]) -> Iterator[Rgb | None]:
        data = (self.images / photo).read_bytes()
        try:
            face = self.pipeline.choose(self.pipeline.analyse(data))
        except PhotoError:
            yield from (None for _ in chosen)
            return
        picture = read_photo(data, self.pipeline.settings.limits)
        x, y, width, height = (side * picture.scale for side in face.box)
        for one in chosen:
            spoilt = treated(picture.rgb, (x, y, width, height), one, photo, self.seed)
            yield found_face(self.pipeline, _png(spoilt))


def treated(picture: Rgb, face: Box, one: Treatment, photo: str, seed: int) -> Rgb:
    if one.condition is None:
        return picture
    random = seeded(seed, photo, one.name, one.severity)
    return one.condition.spoil(picture, face, one.severity, random)


def found_face(pipeline: Pipeline, data: bytes) -> Rgb | None:
    """The crop that the pipeline would compare, if it would compare one."""
    try:
        return pipeline.choose(pipeline.analyse(data)).crop
    except PhotoError:
        return None


def reference_crops(images: Path, landmarks: Mapping[str, Landmarks]) -> Callable[[str], Rgb]:
    """Crops aligned by given landmarks, not by ours."""

    def crop(photo: str) -> Rgb:
        read = read_photo((images / photo).read_bytes())
        return align(read.rgb, landmarks[photo] * read.scale)

    return crop


def set_crops(faces: FaceSet) -> Callable[[str], Rgb]:
    """Crops of a training set; a photo's name is its number."""

    def crop(photo: str) -> Rgb:
        face = faces.images(np.array([int(photo)]))[0]
        return np.asarray(cv2.resize(face, (CROP_PX, CROP_PX)), dtype=np.uint8)

    return crop


def load_networks(folders: Mapping[str, Path], models: tuple[str, ...], threads: int) -> Networks:
    """Every network of the folders, named `folder model`; a folder may hold base.onnx alone.

    Raises:
        WeightsError: a folder's files are missing or do not do their job.
    """
    engines = {name: folder_networks(folder, models, threads) for name, folder in folders.items()}

    def embed(crops: Crops) -> dict[str, Vectors]:
        return {
            f"{name} {model}".strip(): vectors
            for name, engine in engines.items()
            for model, vectors in engine(crops).items()
        }

    return embed


def folder_networks(folder: Path, models: tuple[str, ...], threads: int) -> Networks:
    if (folder / MODEL_FILE).exists():
        engine = Engine(folder, threads)

        def embed(crops: Crops) -> dict[str, Vectors]:
            answer = engine.embed(crops, models)
            return {model: getattr(answer, model) for model in models}

        return embed
    session = open_session(folder / BASE_FILE, threads)

    def embed_base(crops: Crops) -> dict[str, Vectors]:
        rgb = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        return {"base": session.run(["embedding"], {"rgb": rgb})[0]}

    return embed_base


def _png(picture: Rgb) -> bytes:
    _, data = cv2.imencode(".png", picture[..., ::-1])
    return data.tobytes()
