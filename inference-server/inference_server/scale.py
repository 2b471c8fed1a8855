"""Similarity -> what may be said of it; where nothing was measured, nothing is claimed.

An uncalibrated similarity still ranks the persons. It is answered with a warning and with what is
true of any similarity: every face may be a false match (FMR 1), the odds are those from before
the comparison, and so there is no lead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from face_models.calibration import MEDIAN_PERSON
from inference_server.face_pipeline import FacePipeline, graph_sha256
from inference_server.gallery import MODELS, Embedding

UNCALIBRATED: Final = "uncalibrated"
ANY_FMR: Final = 1.0


class Scale:
    """The calibration's curves of what a pipeline compares; terms are those of calibration.py."""

    def __init__(self, pipeline: FacePipeline) -> None:
        self._calibration = pipeline.calibration
        self._curves: Mapping[str, str] = {
            model: pipeline.settings.template(model).name
            for model in MODELS
            if _is_measured(pipeline, model)
        }

    @property
    def uncalibrated(self) -> tuple[str, ...]:
        """Models without curves."""
        return tuple(model for model in MODELS if not self.covers(model))

    def covers(self, model: str) -> bool:
        return model in self._curves

    def warnings(self, model: str) -> tuple[str, ...]:
        return () if self.covers(model) else (UNCALIBRATED,)

    def isolation(self, model: str, probe: Embedding) -> float:
        """How far strangers are from the probe; the curves are read on its own scale."""
        if not self.covers(model):
            return MEDIAN_PERSON
        return self._calibration.isolation(self._curves[model], probe)

    def fmr(self, model: str, similarity: float, isolation: float) -> float:
        if not self.covers(model):
            return ANY_FMR
        return self._calibration.fmr(self._curves[model], similarity, isolation)

    def confidence(
        self, model: str, similarity: float, isolation: float, comparisons: int = 1
    ) -> float:
        if not self.covers(model):
            return 1 / (1 + max(comparisons, 1))
        curve = self._curves[model]
        return self._calibration.confidence(curve, similarity, comparisons, isolation)

    def expected_false_matches(
        self, model: str, similarity: float, isolation: float, comparisons: int
    ) -> float:
        if not self.covers(model):
            return ANY_FMR * comparisons
        curve = self._curves[model]
        return self._calibration.expected_false_matches(curve, similarity, comparisons, isolation)


def _is_measured(pipeline: FacePipeline, model: str) -> bool:
    """Curves of another graph are no curves of this one."""
    curves = pipeline.calibration.tables.get(pipeline.settings.template(model).name)
    return curves is not None and curves.model_sha256 == graph_sha256(pipeline, model)
