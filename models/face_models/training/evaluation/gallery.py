"""One to many: a gallery of enrolled people, and everybody searched in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from face_models.training.evaluation import identification
from face_models.training.evaluation.bootstrap import Resampling
from face_models.training.evaluation.breakdown import QUALITY_EDGES, band
from face_models.training.evaluation.evaluate import Templates, Vectors, refusals_of, vectors_of
from face_models.training.evaluation.identification import Identification, Outcomes, identify
from face_models.training.evaluation.protocol import Searches


@dataclass(frozen=True)
class SearchErrors:
    """Of the mated searches whose probe is of one quality band, at the threshold of FPIR 1 %."""

    searches: int
    rank_1: float
    fnir: float | None


@dataclass(frozen=True)
class GalleryReport:
    """Identification by one way of description (`model`)."""

    model: str
    enrolled: int  # people in the gallery, those without a usable photo included
    mated_searches: int
    non_mated_searches: int
    failures_to_enrol: dict[str, dict[str, str]]  # gallery | mated | non_mated -> photo -> reason
    identification: Identification
    intervals: dict[str, Any]
    by_quality: dict[str, SearchErrors]
    outcomes: Outcomes


def evaluate_gallery(
    templates: Templates,
    searches: Searches,
    ways: Sequence[str],
    resampling: Resampling,
) -> list[GalleryReport]:
    """Every probe against the whole gallery, one report per way of description."""
    return [_gallery_report(way, templates, searches, resampling) for way in ways]


def _gallery_report(
    way: str, templates: Templates, searches: Searches, resampling: Resampling
) -> GalleryReport:
    photos = {
        "gallery": list(searches.enrolled.values()),
        "mated": list(searches.mated),
        "non_mated": list(searches.non_mated),
    }
    outcomes = _outcomes(way, templates, searches)
    found = identify(outcomes)
    return GalleryReport(
        model=way,
        enrolled=len(searches.enrolled),
        mated_searches=len(searches.mated),
        non_mated_searches=len(searches.non_mated),
        failures_to_enrol={part: refusals_of(templates, names) for part, names in photos.items()},
        identification=found,
        intervals=identification.intervals(outcomes, resampling),
        by_quality=_searches_by_quality(templates, list(searches.mated), outcomes, found),
        outcomes=outcomes,
    )


def _outcomes(way: str, templates: Templates, searches: Searches) -> Outcomes:
    row = {person: number for number, person in enumerate(searches.enrolled)}
    everybody = [*searches.enrolled, *sorted(set(searches.non_mated.values()))]
    number = {person: index for index, person in enumerate(everybody)}
    gallery = _matrix(templates, list(searches.enrolled.values()), way)
    mated = _matrix(templates, list(searches.mated), way)
    mates = np.array([row[person] for person in searches.mated.values()])
    rank, mate_score, _ = identification.search(mated, gallery, mates)
    non_mated = _matrix(templates, list(searches.non_mated), way)
    nobody = np.full(len(non_mated), -1)
    *_, alarm_score = identification.search(non_mated, gallery, nobody)
    return Outcomes(
        rank=rank,
        mate_score=mate_score,
        alarm_score=alarm_score,
        mated_person=np.array([number[person] for person in searches.mated.values()]),
        non_mated_person=np.array([number[person] for person in searches.non_mated.values()]),
    )


def _matrix(templates: Templates, photos: Sequence[str], way: str) -> Vectors:
    """(photos, d), NaN where a photo could not be enrolled."""
    enrolled = vectors_of(templates, photos, way)
    d = next(len(one.vectors[way]) for one in templates.values() if one.refusal is None)
    unknown = np.full(d, np.nan, dtype=np.float32)
    return np.stack([enrolled.get(photo, unknown) for photo in photos])


def _searches_by_quality(
    templates: Templates, photos: Sequence[str], outcomes: Outcomes, found: Identification
) -> dict[str, SearchErrors]:
    bands = np.array([band(templates[photo].quality, QUALITY_EDGES) for photo in photos])
    threshold = found.threshold_at_fpir.get("0.01")
    return {
        str(name): _search_errors(outcomes, bands == name, threshold) for name in np.unique(bands)
    }


def _search_errors(
    outcomes: Outcomes, chosen: NDArray[np.bool_], threshold: float | None
) -> SearchErrors:
    weights = chosen.astype(np.float64)
    return SearchErrors(
        searches=int(chosen.sum()),
        rank_1=identify(outcomes, weights).rank_1,
        fnir=None if threshold is None else identification.fnir(outcomes, threshold, weights),
    )
