"""The pipeline: a photo goes in, the persons of the gallery who resemble it most come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from face_models.pipeline import Analysis, Face
from inference_server.face_pipeline import FacePipeline
from inference_server.gallery import (
    Counts,
    Embedding,
    Resemblance,
    SearchResult,
    VectorIndex,
)
from inference_server.scale import Scale
from inference_server.stopwatch import Stopwatch

LEAD: Final = "lead"
NO_CREDIBLE_LEAD: Final = "no_credible_lead"


@dataclass(frozen=True, slots=True)
class MatchOptions:
    """`model`: "heatmap" or "base"; `face`: which one of the photo, None for the best."""

    model: str
    top_k: int
    face: int | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person who may be the one in the photo.

    `expected_false_matches`: how many of the gallery's faces reach this similarity by chance;
    `is_lead`: chance hardly explains it, as far as that was measured.
    """

    rank: int
    person_id: str
    face_id: str
    similarity: float
    confidence: float
    expected_false_matches: float
    is_lead: bool


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """The answer to a search."""

    model: str
    counts: Counts
    analysis: Analysis
    face: Face
    warnings: tuple[str, ...]
    verdict: str
    candidates: tuple[Candidate, ...]
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether two photos show one person; `warnings` of both."""

    model: str
    similarity: float
    confidence: float
    false_match_rate: float
    same: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Where a resemblance begins to count: expected false matches in a search, FMR in 1:1."""

    lead_max_expected_false_matches: float
    verify_max_false_match_rate: float


class Matcher:
    """Searches the gallery for a face (1:N) and compares two faces (1:1)."""

    def __init__(self, pipeline: FacePipeline, index: VectorIndex, policy: Policy) -> None:
        self._pipeline = pipeline
        self._scale = Scale(pipeline)
        self._index = index
        self._policy = policy

    @property
    def scale(self) -> Scale:
        """What a similarity means where these networks compare."""
        return self._scale

    def match(self, photo: bytes, options: MatchOptions) -> Match:
        """Photo -> faces -> the one that is meant -> embedding -> nearest persons -> verdict.

        Raises:
            PhotoError, EmbeddingFailed, StoreUnavailable
        """
        watch = Stopwatch()
        analysis = self._pipeline.analyse(photo)
        face = self._pipeline.choose(analysis, options.face)
        with watch.lap("embed"):
            (probe,) = self._embed([face], options.model)
        with watch.lap("search"):
            found = self._index.search(options.model, probe, options.top_k)
        isolation = self._scale.isolation(options.model, probe)
        candidates = self._candidates(options.model, found, isolation)
        return Match(
            model=options.model,
            counts=found.counts,
            analysis=analysis,
            face=face,
            warnings=(*analysis.warnings_for(options.face), *self._scale.warnings(options.model)),
            verdict=_verdict(candidates),
            candidates=candidates,
            timings_ms=watch.timings_ms(analysis.timings_ms),
        )

    def verify(self, photo_a: bytes, photo_b: bytes, model: str) -> Verification:
        """The best face of either photo, compared.

        Raises:
            PhotoError, EmbeddingFailed
        """
        analyses = [self._pipeline.analyse(photo) for photo in (photo_a, photo_b)]
        a, b = self._embed([self._pipeline.choose(analysis) for analysis in analyses], model)
        similarity = float(np.clip(a @ b, -1, 1))
        isolation = min(self._scale.isolation(model, a), self._scale.isolation(model, b))
        rate = self._scale.fmr(model, similarity, isolation)
        warnings = [*analyses[0].warnings, *analyses[1].warnings, *self._scale.warnings(model)]
        return Verification(
            model=model,
            similarity=similarity,
            confidence=self._scale.confidence(model, similarity, isolation),
            false_match_rate=rate,
            same=self._scale.covers(model) and rate <= self._policy.verify_max_false_match_rate,
            warnings=tuple(dict.fromkeys(warnings)),
        )

    def _embed(self, faces: Sequence[Face], model: str) -> Sequence[Embedding]:
        embeddings = self._pipeline.embed(faces, (model,))
        return list(embeddings.heatmap if model == "heatmap" else embeddings.base)

    def _candidates(
        self, model: str, found: SearchResult, isolation: float
    ) -> tuple[Candidate, ...]:
        return tuple(
            self._candidate(model, rank, resemblance, isolation, found.counts.faces)
            for rank, resemblance in enumerate(found.nearest, start=1)
        )

    def _candidate(
        self, model: str, rank: int, found: Resemblance, isolation: float, comparisons: int
    ) -> Candidate:
        said = (model, found.similarity, isolation, comparisons)
        expected = self._scale.expected_false_matches(*said)
        allowed = self._policy.lead_max_expected_false_matches
        return Candidate(
            rank=rank,
            person_id=found.person_id,
            face_id=found.face_id,
            similarity=found.similarity,
            confidence=self._scale.confidence(*said),
            expected_false_matches=expected,
            is_lead=self._scale.covers(model) and expected <= allowed,
        )


def _verdict(candidates: Sequence[Candidate]) -> str:
    return LEAD if candidates and candidates[0].is_lead else NO_CREDIBLE_LEAD
