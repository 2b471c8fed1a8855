"""The real pipeline over a painted world: every coloured square of a PNG is the face of someone.

The colour is the person. Only the networks are fakes, so that photos are read, chosen and refused
as in earnest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from face_models.align import TEMPLATE_112
from face_models.detect import Detection
from face_models.engine import Crops, Embeddings
from face_models.errors import EmbeddingFailed
from face_models.photo import Rgb
from face_models.pipeline import Pipeline, PipelineSettings
from face_models.spec import ModelSpec
from face_models.template import FLIP_SUFFIX
from inference_server.face_pipeline import fingerprints_of
from tests.inference_server.references import CROPPING, GRAPHS

Colour = tuple[int, int, int]

RED: Colour = (200, 30, 30)
GREEN: Colour = (30, 200, 30)
BLUE: Colour = (30, 30, 200)
BACKGROUND: Colour = (0, 0, 0)
FACE_PX = 112
MOST_COLOURS = 16


def paint(*faces: Colour, face_px: int = FACE_PX, margin_px: int = 40) -> bytes:
    """A PNG with the faces in a row, all of one size."""
    step_px = face_px + margin_px
    size = (max(len(faces), 1) * step_px + margin_px, face_px + 2 * margin_px)
    picture = Image.new("RGB", size, BACKGROUND)
    for place, colour in enumerate(faces):
        left = margin_px + place * step_px
        picture.paste(colour, (left, margin_px, left + face_px, margin_px + face_px))
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


class PaintedDetector:
    """A picture of many colours was not painted here; it shows one face, all over."""

    def detect(self, rgb: Rgb) -> list[Detection]:
        codes = rgb.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
        colours = [code for code in np.unique(codes) if code]
        if len(colours) > MOST_COLOURS:
            return [_detection(np.ones_like(codes, dtype=bool))]
        return [_detection(codes == colour) for colour in colours]


def _detection(mask: np.ndarray) -> Detection:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = float(columns[0]), float(rows[0])
    w, h = float(len(columns)), float(len(rows))
    landmarks = np.asarray(TEMPLATE_112, dtype=np.float32) * (w / 112) + np.float32([x, y])
    return Detection(box=(x, y, w, h), score=0.9, landmarks=landmarks.astype(np.float32))


class PaintedEngine:
    """A colour's embeddings are unit vectors drawn with the colour as seed; `failure` is raised."""

    def __init__(
        self, failure: Exception | None = None, graphs: Mapping[str, str] = GRAPHS
    ) -> None:
        self.failure = failure
        self.graphs = graphs
        self.asked_models: list[tuple[str, ...]] = []

    @property
    def specs(self) -> Mapping[str, ModelSpec]:
        return {
            name: ModelSpec(
                name=name, file=f"{name}.onnx", sha256=sha256, input_px=224, dimensions=128
            )
            for name, sha256 in self.graphs.items()
        }

    def embed(
        self, crops: Crops, models: tuple[str, ...] = ("base", "heatmap"), *, flip: bool = False
    ) -> Embeddings:
        if self.failure:
            raise self.failure
        self.asked_models.append(models)
        colours = [tuple(int(value) for value in crop[112, 112]) for crop in crops]
        suffix = FLIP_SUFFIX if flip else ""
        return Embeddings(
            base=np.stack([embedding_of(colour, f"base{suffix}") for colour in colours]),
            heatmap=np.stack([embedding_of(colour, f"heatmap{suffix}") for colour in colours])
            if "heatmap" in models
            else np.empty((0, 128), dtype=np.float32),
            maps=np.stack([map_of(colour) for colour in colours]),
        )


def embedding_of(colour: Colour, template: str) -> np.ndarray:
    rng = np.random.default_rng([*colour, len(template)])
    vector = rng.normal(size=128).astype(np.float32)
    return vector / np.linalg.norm(vector)


def map_of(colour: Colour) -> np.ndarray:
    """Heat where the colour says, in 0..1."""
    return np.random.default_rng(colour).random((224, 224), dtype=np.float32)


@dataclass(frozen=True)
class PaintedCurves:
    model_sha256: str


class PaintedCalibration:
    """Six decades of FMR from similarity 0 to 1, for the templates that were measured.

    `measured`: by the template's name, the sha256 of the graph; all others are errors.
    """

    def __init__(
        self,
        sha256: str = "c" * 64,
        measured: Mapping[str, str] = GRAPHS,
        everybodys_isolation: float = 1.0,
    ) -> None:
        self.sha256 = sha256
        self.everybodys_isolation = everybodys_isolation
        self.tables = {name: PaintedCurves(graph) for name, graph in measured.items()}

    def isolation(self, model: str, probe: np.ndarray) -> float:
        assert model in self.tables
        assert probe.ndim == 1
        return self.everybodys_isolation

    def fmr(self, model: str, similarity: float, isolation: float = 1.0) -> float:
        assert model in self.tables
        return float(10 ** (-6 * max(1 - (1 - similarity) / isolation, 0)))

    def confidence(
        self, model: str, similarity: float, comparisons: int = 1, isolation: float = 1.0
    ) -> float:
        assert model in self.tables
        return (1 - (1 - similarity) / isolation / 2) / comparisons

    def expected_false_matches(
        self, model: str, similarity: float, comparisons: int, isolation: float = 1.0
    ) -> float:
        return self.fmr(model, similarity, isolation) * comparisons


def painted_pipeline(
    engine: PaintedEngine | None = None,
    settings: PipelineSettings | None = None,
    *,
    calibration: PaintedCalibration | None = None,
    cropping_sha256s: tuple[str, ...] = CROPPING,
) -> Pipeline:
    return Pipeline(
        PaintedDetector(),
        engine or PaintedEngine(),
        settings or PipelineSettings(min_quality=0),
        calibration or PaintedCalibration(),  # type: ignore[arg-type]
        cropping_sha256s,
    )


def answering_models() -> dict[str, dict[str, str]]:
    """What the gallery's answer says of the painted pipeline's models."""
    answers = fingerprints_of(painted_pipeline()).answers
    return {name: {"sha256": sha256} for name, sha256 in answers.items()}


def broken_networks() -> PaintedEngine:
    return PaintedEngine(EmbeddingFailed("ONNX Runtime failed: out of luck"))
