"""What the gateway answers, as far as the phone uses it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from mobile_client_mock.errors import NotUnderstood, Refused

UNFINISHED = ("queued", "running")


@dataclass(frozen=True)
class Answer:
    """A JSON object from the gateway."""

    status: int
    document: Mapping[str, Any]
    request_id: str
    retry_after_s: float | None = None

    @property
    def problem(self) -> str | None:
        """`no-face` of `urn:reunite:problem:no-face`; None for an answer that is none."""
        kind = self.document.get("type")
        return str(kind).rpartition(":")[2] if kind else None

    @property
    def state(self) -> str | None:
        """`queued`, `done` or `deleting`; None for what has no state, such as a problem."""
        state = self.document.get("status")
        return state if isinstance(state, str) else None


@dataclass(frozen=True)
class Candidate:
    rank: int
    person_id: str
    name: str | None  # None: deleted since
    similarity: float  # cosine, -1..1
    confidence: float  # 0..1
    expected_false_matches: float  # strangers of this gallery at least this similar


@dataclass(frozen=True)
class Search:
    id: str
    status: str  # queued, running, done or failed
    cached: bool
    verdict: str | None
    candidates: tuple[Candidate, ...]
    persons: int  # in the gallery
    faces_in_photo: int
    face: int | None  # the one that was searched for
    warnings: tuple[str, ...]
    total_ms: float
    answer: Answer = field(repr=False)

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """Raises NotUnderstood when a member of the contract is missing or of another kind."""
        try:
            return cls._parse(answer, answer.document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NotUnderstood(f"The gateway's answer lacks or garbles {error}") from error

    @classmethod
    def _parse(cls, answer: Answer, document: Mapping[str, Any]) -> Self:
        return cls(
            id=str(document["id"]),
            status=str(document["status"]),
            cached=bool(document["cached"]),
            verdict=document.get("verdict"),
            candidates=tuple(map(_candidate, document.get("candidates") or ())),
            persons=int((document.get("gallery") or {}).get("persons", 0)),
            faces_in_photo=len(document.get("faces") or ()),
            face=document.get("face"),
            warnings=tuple(document.get("warnings") or ()),
            total_ms=float((document.get("timings_ms") or {}).get("total", 0)),
            answer=answer,
        )

    @property
    def is_unfinished(self) -> bool:
        return self.status in UNFINISHED

    @property
    def refusal(self) -> Refused | None:
        """Why it failed."""
        if self.status != "failed":
            return None
        problem: Mapping[str, Any] = self.answer.document.get("problem") or {}
        status = int(problem.get("status", self.answer.status))
        return Refused(status, problem, self.answer.request_id)

    def candidate(self, person_id: str) -> Candidate | None:
        return next((one for one in self.candidates if one.person_id == person_id), None)


def _candidate(document: Mapping[str, Any]) -> Candidate:
    return Candidate(
        rank=int(document["rank"]),
        person_id=str(document["person_id"]),
        name=document["name"],
        similarity=float(document["similarity"]),
        confidence=float(document["confidence"]),
        expected_false_matches=float(document["expected_false_matches"]),
    )


@dataclass(frozen=True)
class RefusedPhoto:
    index: int | None  # among the photos of the enrolment, from 0; None: refused later
    reason: str


@dataclass(frozen=True)
class Person:
    id: str
    name: str
    faces: int
    refused: tuple[RefusedPhoto, ...]
    pending: int  # photos that are stored and wait for the inference tier
    answer: Answer = field(repr=False)

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """Raises NotUnderstood, as Search.of does."""
        document = answer.document
        try:
            photos = tuple(document["photos"] if "photos" in document else _as_it_is(document))
            return cls(
                id=str(document["id"]),
                name=str(document["name"]),
                faces=sum(one["status"] == "enrolled" for one in photos),
                refused=tuple(_refused(one) for one in photos if one["status"] == "refused"),
                pending=sum(one["status"] == "pending" for one in photos),
                answer=answer,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NotUnderstood(f"The gateway's answer lacks or garbles {error}") from error


def _as_it_is(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Outcomes of a person who is read again: what is kept, and what was refused since."""
    yield from document["faces"]
    yield from ({**one, "status": "refused"} for one in document["refused_photos"])


def _refused(outcome: Mapping[str, Any]) -> RefusedPhoto:
    problem, index = outcome["problem"], outcome.get("index")
    reason = str(problem["detail"] or problem["title"])
    return RefusedPhoto(None if index is None else int(index), reason)
