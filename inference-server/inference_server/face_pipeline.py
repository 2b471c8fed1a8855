"""The port to face_models: what this server asks of its pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from face_models.engine import Embeddings
from face_models.pipeline import Analysis, Embedder, Face, PipelineSettings
from face_models.spec import digest_of
from inference_server.gallery import MODELS, Embedding, ModelStamp


class Curves(Protocol):
    """What was measured on one network, the graph of this sha256."""

    @property
    def model_sha256(self) -> str: ...


class Calibration(Protocol):
    """What a similarity means, measured on people whom training has not seen.

    `tables`: by the template's name (face_models.template).
    """

    @property
    def tables(self) -> Mapping[str, Curves]: ...

    @property
    def sha256(self) -> str: ...

    def isolation(self, model: str, probe: Embedding) -> float: ...

    def fmr(self, model: str, similarity: float, isolation: float = ...) -> float: ...

    def confidence(
        self, model: str, similarity: float, comparisons: int = ..., isolation: float = ...
    ) -> float: ...

    def expected_false_matches(
        self, model: str, similarity: float, comparisons: int, isolation: float = ...
    ) -> float: ...


class FacePipeline(Protocol):
    """face_models.pipeline.Pipeline is the real one."""

    @property
    def engine(self) -> Embedder: ...

    @property
    def calibration(self) -> Calibration: ...

    @property
    def settings(self) -> PipelineSettings: ...

    @property
    def cropping_sha256s(self) -> tuple[str, ...]: ...

    def analyse(self, data: bytes) -> Analysis: ...

    def choose(self, analysis: Analysis, index: int | None = None) -> Face: ...

    def embed(self, faces: Sequence[Face], models: tuple[str, ...] = ...) -> Embeddings: ...


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """By model, `graphs`: sha256 of the file of the network that has the last word on a template.

    `answers`: of all weights and measurements behind an answer; whoever keeps answers compares it.
    """

    graphs: Mapping[str, str]
    answers: Mapping[str, str]


def stamp_of(pipeline: FacePipeline) -> ModelStamp:
    """Whatever the vectors depend on: detector, landmarks, the template's networks and its name.

    The calibration is left out: it judges similarities, the vectors stay what they are.
    """
    return ModelStamp(
        base=_vector_digest(pipeline, "base"), heatmap=_vector_digest(pipeline, "heatmap")
    )


def _vector_digest(pipeline: FacePipeline, model: str) -> str:
    """A plain embedding goes without a name, as in galleries of before there were others."""
    template = pipeline.settings.template(model)
    graphs = (pipeline.engine.specs[name].sha256 for name in template.graphs)
    named = () if template.name == model else (template.name,)
    return digest_of(*pipeline.cropping_sha256s, *graphs, *named)


def graph_sha256(pipeline: FacePipeline, model: str) -> str:
    """Of the network on which similarities of the model's templates are measured."""
    return pipeline.engine.specs[pipeline.settings.template(model).graphs[-1]].sha256


def fingerprints_of(pipeline: FacePipeline) -> Fingerprints:
    stamp, calibration = stamp_of(pipeline), pipeline.calibration.sha256
    return Fingerprints(
        graphs={name: graph_sha256(pipeline, name) for name in MODELS},
        answers={name: digest_of(getattr(stamp, name), calibration) for name in MODELS},
    )
