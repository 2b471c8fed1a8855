"""What the inference tier answers, as agreed; members that are not used here are left out."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ModelName = Literal["heatmap", "base"]
Verdict = Literal["lead", "no_credible_lead"]
Quality = Annotated[int, Field(ge=0, le=100)]


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class ModelUsed(Answer):
    name: ModelName
    sha256: str


class GallerySize(Answer):
    persons: int
    faces: int
    version: int


class ModelFile(Answer):
    sha256: str


class Gallery(GallerySize):
    models: Mapping[str, ModelFile]


class FoundFace(Answer):
    index: int
    box: list[float]
    landmarks: list[list[float]]
    quality: Quality
    warnings: list[str]


class FoundCandidate(Answer):
    rank: int
    person_id: str
    face_id: str
    similarity: float
    confidence: float
    expected_false_matches: float
    is_lead: bool = False
    """Chance hardly explains it."""


class Match(Answer):
    model: ModelUsed
    gallery: GallerySize
    faces: list[FoundFace]
    face: int
    warnings: list[str] = []
    verdict: Verdict
    candidates: list[FoundCandidate]
    timings_ms: dict[str, float]


class FacesFound(Answer):
    faces: list[FoundFace]
    face: int | None
    warnings: list[str] = []


class Curve(Answer):
    similarity: list[float]
    fmr: list[float]


class ModelTold(Answer):
    """`card`: Markdown; `curves`: the median person's false match rate, by model."""

    models: list[ModelUsed]
    lead_max_expected_false_matches: float
    card: str
    plots: list[str]
    curves: Mapping[ModelName, Curve]


class EnrolledFace(Answer):
    face_id: str
    quality: Quality
    warnings: list[str]
    box: list[float]
