"""Photo -> faces -> embeddings: the one way a photo goes, in serving as in evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Final, Protocol, Self

import cv2
import numpy as np

from face_models.align import CROP_PX, Landmarks, align
from face_models.calibration import UNCALIBRATED, Calibration
from face_models.descriptor import heatmap_descriptor
from face_models.detect import SCORE_THRESHOLD, Detection, Detector
from face_models.engine import Crops, Embeddings, Engine
from face_models.errors import FaceTooSmall, NoFace, NoSuchFace, QualityTooLow
from face_models.extras import Extras, Told
from face_models.photo import Photo, PhotoLimits, Rgb, read_photo
from face_models.quality import assess
from face_models.spec import MODEL_NAMES, WEIGHTS_DIR, ModelSpec, load_specs
from face_models.template import EMBEDDING, HEATMAP, Template, template_of

DOUBTFUL_MIN_QUALITY: Final = 10  # of a face below the detector's threshold
SEVERAL_FACES: Final = "several_faces"
RIVAL_RATIO: Final = 0.5
"""From this share of the chosen face's area x score on, another face is about as good, wherever it
stands: in a group nobody is meant more than the others; a passer-by behind them is far smaller."""

NO_EXTRAS: Final = Extras()
NOTHING_TOLD: Final = Told()

Box = tuple[float, float, float, float]


class FaceDetector(Protocol):
    def detect(self, rgb: Rgb) -> list[Detection]: ...


class Embedder(Protocol):
    @property
    def specs(self) -> Mapping[str, ModelSpec]: ...

    def embed(
        self, crops: Crops, models: tuple[str, ...] = MODEL_NAMES, *, flip: bool = False
    ) -> Embeddings: ...


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """What is demanded of a photo and of the face that is chosen, and what stands for the face.

    `min_face_px`: shorter side of the face's box, in pixels as decoded.
    `min_quality`: 0..100, see quality.py. By default a poor face is compared all the same, warned
    of and with little confidence: whoever is refused is surely missed. A face of which the detector
    is not sure has to reach DOUBTFUL_MIN_QUALITY at least.
    `descriptor`: "embedding" or "heatmap", see template.py; `flip`: see engine.py.
    `extras`: "region", "age": told of every face, too, see extras.py; by default nothing is.
    """

    limits: PhotoLimits = PhotoLimits()
    min_face_px: float = 24
    min_quality: int = 3
    descriptor: str = EMBEDDING
    flip: bool = False
    extras: tuple[str, ...] = ()

    def template(self, model: str) -> Template:
        """What stands for a face where `model` is asked."""
        return template_of(model, self.descriptor, flip=self.flip)


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face; coordinates in pixels of the full upright photo, the box may reach beyond it.

    `score` is the detector's, 0..1; `quality` 0..100; `warnings` name what spoils the quality;
    `crop` (224, 224, 3) is what the networks see; `told`: the extras that the settings ask for.
    """

    index: int
    box: Box  # x, y, width, height
    score: float
    landmarks: Landmarks
    quality: int
    warnings: tuple[str, ...]
    crop: Rgb
    told: Told = NOTHING_TOLD


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """All faces of a photo, most prominent first; `best` is the index analysed by default.

    `warnings` holds `several_faces` where nobody could tell which face is meant.
    `scale`: decoded pixels per pixel of the full photo.
    """

    width: int
    height: int
    faces: tuple[Face, ...]
    best: int | None
    warnings: tuple[str, ...]
    timings_ms: Mapping[str, float]
    scale: float = 1.0

    def warnings_for(self, index: int | None) -> tuple[str, ...]:
        """A caller who names a face needs no warning that there are several."""
        if index is None:
            return self.warnings
        return tuple(warning for warning in self.warnings if warning != SEVERAL_FACES)


class _Laps:
    """Milliseconds of each step, in the order in which they ended."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self._started = perf_counter()

    def end(self, step: str) -> None:
        now = perf_counter()
        self.ms[step] = 1000 * (now - self._started)
        self._started = now


class Pipeline:
    """`cropping_sha256s`: of the graphs that decide how a face is cropped, detector first."""

    def __init__(
        self,
        detector: FaceDetector,
        engine: Embedder,
        settings: PipelineSettings = PipelineSettings(),
        calibration: Calibration = UNCALIBRATED,
        cropping_sha256s: tuple[str, ...] = (),
        extras: Extras = NO_EXTRAS,
    ) -> None:
        self.detector = detector
        self.engine = engine
        self.settings = settings
        self.calibration = calibration
        self.cropping_sha256s = cropping_sha256s
        self.extras = extras

    @classmethod
    def load(
        cls,
        weights_dir: Path = WEIGHTS_DIR,
        threads: int = 1,
        settings: PipelineSettings = PipelineSettings(),
    ) -> Self:
        """The pipeline of a weights folder; `threads` hold for OpenCV in the whole process, too.

        Raises:
            WeightsError: a file is missing, changed or misdescribed.
        """
        cv2.setNumThreads(threads)  # its own choice, a thread for each core, hinders other workers
        specs = load_specs(weights_dir)
        detector, landmarks = (
            spec.path_in(weights_dir) for spec in (specs.detector, specs.landmarks)
        )
        return cls(
            Detector(detector, threads, landmark_weights=landmarks),
            Engine(weights_dir, threads),
            settings,
            Calibration.load(weights_dir),
            (specs.detector.sha256, specs.landmarks.sha256),
            Extras.load(settings.extras, specs, weights_dir, threads),
        )

    def analyse(self, data: bytes) -> Analysis:
        """Every face of the photo, whatever its quality.

        Raises:
            PhotoError: the photo cannot be read; a photo without faces is no error here.
        """
        laps = _Laps()
        photo = read_photo(data, self.settings.limits)
        laps.end("decode")
        detections = by_prominence(self.detector.detect(photo.rgb), photo.rgb)
        laps.end("detect")
        faces = tuple(
            _face(index, photo, found, self.extras) for index, found in enumerate(detections)
        )
        laps.end("align")
        return Analysis(
            width=photo.width,
            height=photo.height,
            faces=faces,
            best=0 if faces else None,
            warnings=_rivalry(detections, photo.rgb),
            timings_ms=MappingProxyType(laps.ms),
            scale=photo.scale,
        )

    def choose(self, analysis: Analysis, index: int | None = None) -> Face:
        """The caller's face, else the best one, if it is good enough to compare.

        Raises:
            NoFace, NoSuchFace, FaceTooSmall, QualityTooLow
        """
        face = _pick(analysis, index)
        side_px = min(face.box[2:]) * analysis.scale
        if side_px < self.settings.min_face_px:
            raise FaceTooSmall(
                f"Face {face.index} is {side_px:.0f} px wide or high; "
                f"at least {self.settings.min_face_px:g} are needed."
            )
        needed = self.settings.min_quality
        if face.score < SCORE_THRESHOLD:  # the detector's last resort
            needed = max(needed, DOUBTFUL_MIN_QUALITY)
        if face.quality < needed:
            reasons = ", ".join(face.warnings) or "no single reason"
            raise QualityTooLow(
                f"Face {face.index} has quality {face.quality}; "
                f"at least {needed} is needed ({reasons})."
            )
        return face

    def embed(self, faces: Sequence[Face], models: tuple[str, ...] = MODEL_NAMES) -> Embeddings:
        """One row per face, in one batch.

        Where the descriptor is "heatmap", the rows of `heatmap` are the maps' descriptors
        (n, 16384), and the heatmap network rests.

        Raises:
            EmbeddingFailed
        """
        crops = np.empty((len(faces), CROP_PX, CROP_PX, 3), dtype=np.uint8)
        for row, face in enumerate(faces):
            crops[row] = face.crop
        if self.settings.descriptor != HEATMAP or "heatmap" not in models:
            return self.engine.embed(crops, models, flip=self.settings.flip)
        found = self.engine.embed(crops, ("base",), flip=self.settings.flip)
        return replace(found, heatmap=heatmap_descriptor(found.maps))


def by_prominence(detections: Sequence[Detection], rgb: Rgb) -> list[Detection]:
    """Whom the photo is of, first; what has no extent in the picture is not a face."""
    usable = [found for found in detections if _is_usable(found)]
    return sorted(usable, key=lambda found: prominence(found, rgb), reverse=True)


def prominence(detection: Detection, rgb: Rgb) -> float:
    """Area in the picture x detector's score x centrality.

    Centrality falls in a straight line from 1 in the middle of the photo to 0 in its corners.
    """
    height, width = rgb.shape[:2]
    x, y, w, h = detection.box
    off_centre = math.hypot(x + w / 2 - width / 2, y + h / 2 - height / 2)
    centrality = max(1 - off_centre / math.hypot(width / 2, height / 2), 0)
    return presence(detection, rgb) * centrality


def presence(detection: Detection, rgb: Rgb) -> float:
    """Area in the picture x detector's score: how much of a face there is, wherever it stands."""
    height, width = rgb.shape[:2]
    x, y, w, h = detection.box
    seen_w = max(min(x + w, width) - max(x, 0), 0)
    seen_h = max(min(y + h, height) - max(y, 0), 0)
    return float(seen_w * seen_h * detection.score)


def _is_usable(detection: Detection) -> bool:
    """Finite numbers, and landmarks that differ: enough to be aligned."""
    numbers = np.concatenate([np.array(detection.box), detection.landmarks.ravel()])
    return bool(np.isfinite(numbers).all() and np.ptp(detection.landmarks, axis=0).max() > 0)


def _rivalry(detections: Sequence[Detection], rgb: Rgb) -> tuple[str, ...]:
    if len(detections) < 2:
        return ()
    best, *others = (presence(found, rgb) for found in detections)
    return (SEVERAL_FACES,) if max(others) >= RIVAL_RATIO * best else ()


def _face(index: int, photo: Photo, detection: Detection, extras: Extras) -> Face:
    crop = align(photo.rgb, detection.landmarks)
    quality = assess(crop, detection)
    x, y, w, h = (float(side / photo.scale) for side in detection.box)
    landmarks = np.asarray(detection.landmarks / photo.scale, dtype=np.float32)
    return Face(
        index=index,
        box=(x, y, w, h),
        score=float(detection.score),
        landmarks=landmarks,
        quality=quality.score,
        warnings=quality.reasons,
        crop=crop,
        told=extras.tell(crop, landmarks),
    )


def _pick(analysis: Analysis, index: int | None) -> Face:
    if analysis.best is None:
        raise NoFace("No face was found in the photo.")
    chosen = analysis.best if index is None else index
    if not 0 <= chosen < len(analysis.faces):
        raise NoSuchFace(f"There is no face {chosen}; the photo has {len(analysis.faces)}.")
    return analysis.faces[chosen]
