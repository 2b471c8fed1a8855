"""What is answered, as JSON-ready dictionaries; numbers are rounded to what they can mean."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from face_models.pipeline import Analysis, Face
from inference_server.face_pipeline import Fingerprints
from inference_server.gallery import Counts, Person, PersonPage, Reference
from inference_server.heatmaps import Heatmap
from inference_server.matcher import Candidate, Match, Verification
from inference_server.model_card import ModelCard
from inference_server.readiness import Readiness

Document = dict[str, Any]

PIXEL_DECIMALS: Final = 2
SCORE_DECIMALS: Final = 6
TIMING_DECIMALS: Final = 3
RATE_DIGITS: Final = 4


def match_document(match: Match, prints: Fingerprints) -> Document:
    return {
        "model": model_document(match.model, prints),
        "gallery": counts_document(match.counts),
        "faces": [face_document(face) for face in match.analysis.faces],
        "face": match.face.index,
        "warnings": list(match.warnings),
        "verdict": match.verdict,
        "candidates": [candidate_document(candidate) for candidate in match.candidates],
        "timings_ms": timings_document(match.timings_ms),
    }


def analysis_document(analysis: Analysis, timings_ms: Mapping[str, float]) -> Document:
    return {
        "photo": {"width": analysis.width, "height": analysis.height},
        "faces": [face_document(face) for face in analysis.faces],
        "face": analysis.best,
        "warnings": list(analysis.warnings),
        "timings_ms": timings_document(timings_ms),
    }


def heatmap_document(heatmap: Heatmap, prints: Fingerprints) -> Document:
    return {
        "model": model_document("base", prints),
        "face": heatmap.face.index,
        "overlay_png": b64encode(heatmap.overlay_png()).decode("ascii"),
        "map": {
            "shape": list(heatmap.map.shape),
            "dtype": "<f4",
            "data": b64encode(heatmap.map_bytes()).decode("ascii"),
        },
    }


def verification_document(verification: Verification, prints: Fingerprints) -> Document:
    return {
        "model": model_document(verification.model, prints),
        "similarity": round(verification.similarity, SCORE_DECIMALS),
        "confidence": round(verification.confidence, SCORE_DECIMALS),
        "false_match_rate": verification.false_match_rate,
        "same": verification.same,
        "warnings": list(verification.warnings),
    }


def reference_document(reference: Reference, counts: Counts) -> Document:
    return {
        "person_id": reference.person_id,
        "face_id": reference.face_id,
        "quality": reference.quality,
        "warnings": list(reference.warnings),
        "box": pixels(reference.box),
        "gallery": counts_document(counts),
    }


def person_document(person: Person) -> Document:
    return {
        "person_id": person.person_id,
        "faces": [
            {
                "face_id": face.face_id,
                "quality": face.quality,
                "created_at": face.created_at.isoformat(),
            }
            for face in person.faces
        ],
    }


def page_document(page: PersonPage, next_cursor: str | None) -> Document:
    return {
        "persons": [person_document(person) for person in page.persons],
        "next_cursor": next_cursor,
    }


def gallery_document(counts: Counts, prints: Fingerprints) -> Document:
    """A model's sha256 here is of everything that its answers depend on, not of its graph alone."""
    models = {name: {"sha256": sha256} for name, sha256 in prints.answers.items()}
    return {**counts_document(counts), "models": models}


def card_document(card: ModelCard, prints: Fingerprints, lead_max: float) -> Document:
    """A rate of 1e-9 is as much a figure as one of 0.3: rounded to digits, not to decimals."""
    return {
        "models": [model_document(name, prints) for name in prints.graphs],
        "lead_max_expected_false_matches": lead_max,
        "card": card.text,
        "plots": list(card.plots),
        "curves": {
            model: {
                "similarity": list(curve.similarity),
                "fmr": [float(f"{rate:.{RATE_DIGITS}g}") for rate in curve.fmr],
            }
            for model, curve in card.curves.items()
        },
    }


def readiness_document(readiness: Readiness, prints: Fingerprints) -> Document:
    return {
        "status": "ready",
        "gallery": gallery_document(readiness.counts, prints),
        "outdated_faces": readiness.outdated_faces,
        "warnings": _readiness_warnings(readiness),
    }


def _readiness_warnings(readiness: Readiness) -> list[str]:
    faces = readiness.outdated_faces
    outdated = f"{faces} faces were enrolled with other networks or settings; no search finds them."
    uncalibrated = [
        f"Model {model!r} is not calibrated for what is compared; it gives no leads."
        for model in readiness.uncalibrated
    ]
    return [*([outdated] if faces else []), *uncalibrated]


def model_document(name: str, prints: Fingerprints) -> Document:
    return {"name": name, "sha256": prints.graphs[name]}


def counts_document(counts: Counts) -> Document:
    return {"persons": counts.persons, "faces": counts.faces, "version": counts.version}


def face_document(face: Face) -> Document:
    return {
        "index": face.index,
        "box": pixels(face.box),
        "landmarks": [pixels(point) for point in face.landmarks.tolist()],
        "score": round(face.score, SCORE_DECIMALS),
        "quality": face.quality,
        "warnings": list(face.warnings),
    }


def candidate_document(candidate: Candidate) -> Document:
    return {
        "rank": candidate.rank,
        "person_id": candidate.person_id,
        "face_id": candidate.face_id,
        "similarity": round(candidate.similarity, SCORE_DECIMALS),
        "confidence": round(candidate.confidence, SCORE_DECIMALS),
        "expected_false_matches": candidate.expected_false_matches,
        "is_lead": candidate.is_lead,
    }


def timings_document(timings_ms: Mapping[str, float]) -> Document:
    return {step: round(ms, TIMING_DECIMALS) for step, ms in timings_ms.items()}


def pixels(coordinates: tuple[float, ...] | list[float]) -> list[float]:
    return [round(coordinate, PIXEL_DECIMALS) for coordinate in coordinates]
