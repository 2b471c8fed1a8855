"""A gateway's database as after a year: people, faces, searches, leads, failures and an audit.

Rows alone, made in seconds and the same for the same numbers; there are no photos behind them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import create_engine, func, insert, select
from sqlalchemy.orm import Session

from gateway_server import tables
from gateway_server.tables import Row

SEED: Final = 20_261_122
CANDIDATES: Final = 5
FAILURES_SHARE, FAILED_SHARE, REPEATED_SHARE = 0.05, 0.03, 0.2
LEAD_CONFIDENCE: Final = 0.5
AT_A_TIME: Final = 1000
NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
GIVEN = ("Ada", "Bela", "Cato", "Dara", "Edda", "Finn", "Gale", "Hale", "Ilse", "Jun", "Kai", "Lux")
FAMILY = ("Ash", "Birch", "Cedar", "Elm", "Fir", "Hazel", "Maple", "Oak", "Pine", "Rowan", "Yew")
REASONS = ("inference-timeout", "inference-unreachable", "inference-error", "photo-store")
Values = dict[str, Any]


class Year:
    """What is written; every id follows from a number."""

    def __init__(self, people: int, searches: int, key_id: str, accesses: int) -> None:
        """`accesses`: that the audit has already."""
        self._random = random.Random(SEED)
        self._people = people
        self._searches = searches
        self._key_id = key_id
        self._accesses = accesses

    def rows(self) -> Iterator[tuple[type[Row], Values]]:
        """In an order that the tables' references allow."""
        for number in range(self._people):
            yield from self._person(number)
        for number in range(self._searches):
            yield from self._search(number)
        for number in range(self._searches):
            yield tables.Audit, self._access(number)

    def _person(self, number: int) -> Iterator[tuple[type[Row], Values]]:
        name = f"{GIVEN[number % 12]} {FAMILY[number // 12 % 11]} {number}"
        made_at = self._moment()
        yield (
            tables.Person,
            {
                "id": row_id("person", number),
                "name": name,
                "reference": f"2026/{number}",
                "birth_date": date(1950 + number % 60, 1 + number % 12, 1 + number % 28),
                "missing_since": date(2026, 1 + number % 11, 1 + number % 28),
                "notes": None,
                "found_at": made_at if number % 10 == 0 else None,
                "search_text": f"{name} 2026/{number}".casefold(),
                "created_at": made_at,
                "updated_at": made_at,
            },
        )
        yield tables.Photo, photo_row("face", number, made_at)
        yield tables.Face, self._face(number, made_at)

    def _face(self, number: int, made_at: datetime) -> Values:
        return {
            "id": row_id("face", number),
            "person_id": row_id("person", number),
            "photo_sha256": photo_id("face", number),
            "face_index": 0,
            "status": "enrolled",
            "quality": self._random.randint(40, 95),
            "warnings": [],
            "box": [40, 40, 120, 150],
            "created_at": made_at,
        }

    def _search(self, number: int) -> Iterator[tuple[type[Row], Values]]:
        made_at = self._moment()
        yield tables.Photo, photo_row("search", number, made_at)
        answer = self._answer()
        failed = self._random.random() < FAILED_SHARE
        yield tables.Search, self._search_row(number, made_at, None if failed else answer)
        if self._random.random() < FAILURES_SHARE:
            yield tables.Failure, self._failure(number, made_at)
        best = answer["candidates"][0]
        if not failed and best["confidence"] >= LEAD_CONFIDENCE:
            yield tables.Lead, self._lead(number, best, made_at)

    def _search_row(self, number: int, made_at: datetime, answer: Values | None) -> Values:
        problem = {"type": "urn:reunite:problem:no-face", "title": "No face", "status": 422}
        return {
            "id": row_id("search", number),
            "status": "done" if answer else "failed",
            "created_at": made_at,
            "finished_at": made_at + timedelta(milliseconds=180),
            "key_id": self._key_id,
            "request_id": row_id("request", number),
            "photo_sha256": photo_id("search", number),
            "top_k": CANDIDATES,
            "model": "heatmap",
            "face": None,
            "case_reference": f"case {number % 500}",
            "case_text": f"case {number % 500}",
            "verdict": answer["verdict"] if answer else None,
            "purpose": None,
            "cached": self._random.random() < REPEATED_SHARE,
            "answer": answer,
            "timings_ms": {"detect": 12.0, "embed": 24.0, "search": 0.5, "total": 61.0},
            "problem": None if answer else problem | {"detail": "No face was found in the photo"},
        }

    def _answer(self) -> Values:
        similarities = sorted(self._random.uniform(0.1, 0.9) for _ in range(CANDIDATES))[::-1]
        chosen = self._random.sample(range(self._people), CANDIDATES)
        candidates = [
            {
                "rank": rank,
                "person_id": row_id("person", person),
                "face_id": row_id("face", person),
                "similarity": round(similarity, 4),
                "confidence": round(min(0.9999, similarity**0.25), 4),
                "expected_false_matches": round(10 ** (2 - 6 * similarity), 6),
            }
            for rank, (similarity, person) in enumerate(zip(similarities, chosen, strict=True), 1)
        ]
        return {
            "model": {"name": "heatmap", "sha256": "c" * 64},
            "gallery": {"persons": self._people, "faces": self._people},
            "faces": [{**FACE, "quality": self._random.randint(40, 95)}],
            "face": 0,
            "warnings": [],
            "verdict": "lead" if similarities[0] > LEAD_CONFIDENCE else "no_credible_lead",
            "candidates": candidates,
        }

    def _failure(self, number: int, made_at: datetime) -> Values:
        resolved = made_at + timedelta(hours=1) if self._random.random() < 0.5 else None
        return {
            "id": row_id("failure", number),
            "kind": "search",
            "search_id": row_id("search", number),
            "reason": self._random.choice(REASONS),
            "detail": "no answer within 30 s",
            "request_id": row_id("request", number),
            "photo_sha256": photo_id("search", number),
            "attempts": 3,
            "created_at": made_at,
            "last_attempt_at": made_at,
            "resolved_at": resolved,
            "outcome": "done" if resolved else None,
        }

    def _lead(self, number: int, best: Values, made_at: datetime) -> Values:
        status = self._random.choice(("open", "open", "open", "different"))
        return {
            "photo_sha256": photo_id("search", number),
            "face": 0,
            "person_id": best["person_id"],
            "search_id": row_id("search", number),
            "status": status,
            "waits": status == "open",
            "unsure": 0,
            "doubt": 1 - best["confidence"],
            "created_at": made_at,
            "changed_at": None if status == "open" else made_at,
        }

    def _access(self, number: int) -> Values:
        """Its seals are made up: nobody verifies them here."""
        seq = self._accesses + number + 1
        return {
            "seq": seq,
            "at": NOW - timedelta(days=365) + timedelta(minutes=50 * number),
            "key_id": self._key_id,
            "role": "operator",
            "action": self._random.choice(("search", "read", "photo", "judge")),
            "search_id": row_id("search", number),
            "request_id": row_id("request", number),
            "outcome": "allowed",
            "previous_sha256": f"{seq - 1:064x}",
            "sha256": f"{seq:064x}",
        }

    def _moment(self) -> datetime:
        return NOW - timedelta(seconds=self._random.uniform(0, 365 * 86_400))


FACE: Final[Mapping[str, Any]] = {
    "index": 0,
    "box": [412.0, 230.5, 310.2, 388.0],
    "landmarks": [[486, 380], [634, 378], [560, 470], [500, 548], [622, 546]],
    "warnings": [],
}


def fill(database: Path, people: int, searches: int, key_id: str) -> None:
    """`database`: a gateway's SQLite file, whose schema is there; `key_id`: whose searches."""
    engine = create_engine(f"sqlite:///{database}", connect_args={"timeout": 60})
    with Session(engine) as session, session.begin():
        accesses = session.scalar(select(func.max(tables.Audit.seq))) or 0
        year = Year(people, searches, key_id, accesses)
        kept: dict[type[Row], list[Values]] = {}
        for kind, values in year.rows():
            kept.setdefault(kind, []).append(values)
            if len(kept[kind]) == AT_A_TIME:
                _write(session, kept)
        _write(session, kept)
    engine.dispose()


def _write(session: Session, kept: dict[type[Row], list[Values]]) -> None:
    """What others refer to comes first, as it was met first."""
    for kind, rows in kept.items():
        session.execute(insert(kind), rows)
    kept.clear()


def row_id(kind: str, number: int) -> str:
    return str(UUID(bytes=hashlib.sha256(f"{kind} {number}".encode()).digest()[:16], version=4))


def photo_id(kind: str, number: int) -> str:
    return hashlib.sha256(f"{kind} photo {number}".encode()).hexdigest()


def photo_row(kind: str, number: int, made_at: datetime) -> Values:
    return {
        "sha256": photo_id(kind, number),
        "media_type": "image/jpeg",
        "bytes": 250_000,
        "width": 1200,
        "height": 1600,
        "created_at": made_at,
    }
