"""The port to face_models: what this server asks of its pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from face_models.engine import Embeddings
from face_models.pipeline import Analysis, Embedder, Face
from inference_server.gallery import ModelStamp


class Calibration(Protocol):
    """What a similarity means, measured on people whom training has not seen."""

    def fmr(self, model: str, similarity: float) -> float: ...

    def confidence(self, model: str, similarity: float) -> float: ...

    def expected_false_matches(self, model: str, similarity: float, comparisons: int) -> float: ...


class FacePipeline(Protocol):
    """face_models.pipeline.Pipeline is the real one."""

    @property
    def engine(self) -> Embedder: ...

    @property
    def calibration(self) -> Calibration: ...

    def analyse(self, data: bytes) -> Analysis: ...

    def choose(self, analysis: Analysis, index: int | None = None) -> Face: ...

    def embed(self, faces: Sequence[Face], models: tuple[str, ...] = ...) -> Embeddings: ...


def stamp_of(pipeline: FacePipeline) -> ModelStamp:
    specs = pipeline.engine.specs
    return ModelStamp(base=specs["base"].sha256, heatmap=specs["heatmap"].sha256)
