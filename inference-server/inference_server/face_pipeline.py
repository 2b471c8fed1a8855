"""The port to face_models: what this server asks of its pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from face_models.engine import Embeddings
from face_models.pipeline import Analysis, Embedder, Face
from face_models.spec import digest_of
from inference_server.gallery import MODELS, ModelStamp


class Calibration(Protocol):
    """What a similarity means, measured on people whom training has not seen."""

    @property
    def sha256(self) -> str: ...

    def fmr(self, model: str, similarity: float) -> float: ...

    def confidence(self, model: str, similarity: float, comparisons: int = 1) -> float: ...

    def expected_false_matches(self, model: str, similarity: float, comparisons: int) -> float: ...


class FacePipeline(Protocol):
    """face_models.pipeline.Pipeline is the real one."""

    @property
    def engine(self) -> Embedder: ...

    @property
    def calibration(self) -> Calibration: ...

    @property
    def cropping_sha256s(self) -> tuple[str, ...]: ...

    def analyse(self, data: bytes) -> Analysis: ...

    def choose(self, analysis: Analysis, index: int | None = None) -> Face: ...

    def embed(self, faces: Sequence[Face], models: tuple[str, ...] = ...) -> Embeddings: ...


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """By model, `graphs`: sha256 of the network's own file, as model.json says.

    `answers`: of all weights and measurements behind an answer; whoever keeps answers compares it.
    """

    graphs: Mapping[str, str]
    answers: Mapping[str, str]


def stamp_of(pipeline: FacePipeline) -> ModelStamp:
    """Whatever the vectors depend on: detector, landmarks, base and, for the other, heatmap.

    The calibration is left out: it judges similarities, the vectors stay what they are.
    """
    base, heatmap = (pipeline.engine.specs[name].sha256 for name in ("base", "heatmap"))
    crop = pipeline.cropping_sha256s
    return ModelStamp(base=digest_of(*crop, base), heatmap=digest_of(*crop, base, heatmap))


def fingerprints_of(pipeline: FacePipeline) -> Fingerprints:
    stamp, calibration = stamp_of(pipeline), pipeline.calibration.sha256
    return Fingerprints(
        graphs={name: pipeline.engine.specs[name].sha256 for name in MODELS},
        answers={name: digest_of(getattr(stamp, name), calibration) for name in MODELS},
    )
