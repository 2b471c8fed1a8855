"""The exported tables. A column is private that tells who somebody is, or what was said of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateway_server.tables import Failure, Feedback, Person, Search

Kind = Literal["text", "number", "whole", "flag", "moment", "day"]
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind
    is_private: bool = False


@dataclass(frozen=True)
class Table:
    name: str
    columns: Sequence[Column]
    is_private: bool = False

    def shown(self, *, with_names: bool) -> "Table":
        kept = [one for one in self.columns if with_names or not one.is_private]
        return Table(self.name, kept, self.is_private)


def _columns(kinds: Mapping[str, Kind], private: Sequence[str] = ()) -> Sequence[Column]:
    return [Column(name, kind, name in private) for name, kind in kinds.items()]


SEARCHES: Final = Table(
    "searches",
    _columns(
        {
            "id": "text",
            "created_at": "moment",
            "finished_at": "moment",
            "status": "text",
            "problem": "text",
            "cached": "flag",
            "model": "text",
            "model_sha256": "text",
            "top_k": "whole",
            "gallery_persons": "whole",
            "gallery_faces": "whole",
            "quality": "whole",
            "verdict": "text",
            "candidates": "whole",
            "top_similarity": "number",
            "top_confidence": "number",
            "total_ms": "number",
            "case_reference": "text",
            "purpose": "text",
        },
        private=("case_reference", "purpose"),
    ),
)
CANDIDATES: Final = Table(
    "candidates",
    _columns(
        {
            "search_id": "text",
            "rank": "whole",
            "person_id": "text",
            "similarity": "number",
            "confidence": "number",
            "expected_false_matches": "number",
        }
    ),
)
VERDICTS: Final = Table(
    "verdicts",
    _columns(
        {
            "search_id": "text",
            "person_id": "text",
            "verdict": "text",
            "rank": "whole",
            "similarity": "number",
            "confidence": "number",
            "created_at": "moment",
        }
    ),
)
TIMINGS: Final = Table(
    "timings", _columns({"search_id": "text", "stage": "text", "milliseconds": "number"})
)
FAILURES: Final = Table(
    "failures",
    _columns(
        {
            "id": "text",
            "kind": "text",
            "reason": "text",
            "search_id": "text",
            "person_id": "text",
            "face_id": "text",
            "attempts": "whole",
            "created_at": "moment",
            "last_attempt_at": "moment",
            "next_attempt_at": "moment",
            "resolved_at": "moment",
            "outcome": "text",
        }
    ),
)
PERSONS: Final = Table(
    "persons",
    _columns(
        {
            "id": "text",
            "name": "text",
            "reference": "text",
            "birth_date": "day",
            "missing_since": "day",
            "notes": "text",
            "found_at": "moment",
            "created_at": "moment",
        }
    ),
    is_private=True,
)
ALL: Final = (SEARCHES, CANDIDATES, VERDICTS, TIMINGS, FAILURES, PERSONS)


def search_line(search: Search) -> Line:
    answer = search.answer or {}
    best = (candidates_of(search) or [{}])[0]
    return {
        **_same_names(search, SEARCHES),
        "problem": search.problem and search.problem["type"].rpartition(":")[2],
        "model_sha256": answer.get("model", {}).get("sha256"),
        "gallery_persons": answer.get("gallery", {}).get("persons"),
        "gallery_faces": answer.get("gallery", {}).get("faces"),
        "quality": _quality(answer),
        "verdict": answer.get("verdict"),
        "candidates": len(candidates_of(search)) if answer else None,
        "top_similarity": best.get("similarity"),
        "top_confidence": best.get("confidence"),
        "total_ms": (search.timings_ms or {}).get("total"),
    }


def candidate_lines(search: Search) -> Iterator[Line]:
    for one in candidates_of(search):
        yield {"search_id": search.id, **one}


def timing_lines(search: Search) -> Iterator[Line]:
    for stage, milliseconds in (search.timings_ms or {}).items():
        yield {"search_id": search.id, "stage": stage, "milliseconds": float(milliseconds)}


def verdict_line(verdict: Feedback, search: Search) -> Line:
    judged = candidate_of(search, verdict.person_id)
    numbers = {name: judged.get(name) for name in ("rank", "similarity", "confidence")}
    return {**_same_names(verdict, VERDICTS), **numbers}


def failure_line(failure: Failure) -> Line:
    return _same_names(failure, FAILURES)


def person_line(person: Person) -> Line:
    return _same_names(person, PERSONS)


def candidates_of(search: Search) -> Sequence[Line]:
    found: Sequence[Line] = (search.answer or {}).get("candidates", [])
    return found


def candidate_of(search: Search, person_id: str) -> Line:
    """Nothing where the person is no candidate of the search."""
    return next((one for one in candidates_of(search) if one["person_id"] == person_id), {})


def _quality(answer: Mapping[str, Any]) -> int | None:
    """Of the face that was searched for."""
    faces = answer.get("faces", [])
    searched = (one["quality"] for one in faces if one["index"] == answer.get("face"))
    return next(searched, None)


def _same_names(row: object, table: Table) -> dict[str, Any]:
    return {one.name: getattr(row, one.name, None) for one in table.columns}
