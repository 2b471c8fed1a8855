"""The JSON of the public contract, v1."""

from datetime import date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.config import JsonDict

from gateway_server.auth import KeyStatus, Role, status_of
from gateway_server.inference_answers import FoundCandidate, ModelName, Quality, Verdict
from gateway_server.problems import Problem
from gateway_server.review.desk import LeadSeen
from gateway_server.review.ruled_out import RuledOut
from gateway_server.tables import (
    ApiKey,
    Face,
    Failure,
    ImportRow,
    ImportRun,
    Person,
    RefusedPhoto,
    Removal,
    Search,
)
from gateway_server.texts import DAY, LINE, NAME, NOTES

MAX_KEY_DAYS = 3650
MAX_GRACE_S = 7 * 86_400
Judgement = Literal["same", "different", "unsure"]
PersonStatus = Literal["missing", "found"]
Status = Literal["queued", "running", "done", "failed"]


class Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


def _whole(number: object) -> object:
    """JSON knows no integers: 5.0 is 5."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


Days = Annotated[int, Field(ge=1, le=MAX_KEY_DAYS), BeforeValidator(_whole)]
Grace = Annotated[int, Field(ge=0, le=MAX_GRACE_S), BeforeValidator(_whole)]
# Of texts the schema says what it can; `TextRule.check` and `parse_day` have the last word.
Name = Annotated[str, WithJsonSchema(NAME)]
Line = Annotated[str, WithJsonSchema(LINE.schema())]
Notes = Annotated[str, WithJsonSchema(NOTES.schema())]
Day = Annotated[str, WithJsonSchema(DAY)]


class Document(Shape):
    """What a client sends: unknown members are refused, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ProblemOut(BaseModel):
    """RFC 9457. Some types have further members, for example `search_id`."""

    model_config = ConfigDict(extra="allow")
    type: str = Field(examples=["urn:reunite:problem:no-face"])
    title: str = Field(examples=["No face was found in the photo"])
    status: int = Field(examples=[422])
    detail: str
    request_id: str


class ProblemSummary(Shape):
    type: str = Field(examples=["urn:reunite:problem:no-face"])
    title: str
    status: int
    detail: str


class ModelOut(Shape):
    name: ModelName
    sha256: str


class GalleryOut(Shape):
    persons: int = Field(examples=[1680])
    faces: int = Field(examples=[4021])


class FaceFound(Shape):
    index: int
    box: list[float] = Field(description="x, y, width, height in pixels of the upright photo")
    landmarks: list[list[float]] = Field(
        description="the person's right eye, left eye, nose, right and left mouth corner"
    )
    quality: Quality
    warnings: list[str]


class CandidateOut(Shape):
    rank: int
    person_id: str
    name: str | None = Field(description="null when the person has been deleted since")
    face_id: str
    similarity: float = Field(examples=[0.71], description="cosine, -1 to 1")
    confidence: float = Field(examples=[0.998], description="0 to 1")
    expected_false_matches: float = Field(
        examples=[0.004], description="strangers of this gallery expected at least this similar"
    )
    ruled_out: bool = Field(description="reviewers have judged: somebody else; no lead rests on it")


SEARCH_EXAMPLE: JsonDict = {
    "id": "0d9b1b1c-5f9e-4c53-9a39-6a4b1d7f2c11",
    "status": "done",
    "cached": False,
    "request_id": "4f1c2a3b5d6e7f8091a2b3c4d5e6f708",
    "created_at": "2026-01-15T09:30:00.000000Z",
    "model": {"name": "heatmap", "sha256": "5f70bf18a086007016e948b04aed3b82103a36be…"},
    "gallery": {"persons": 1680, "faces": 4021},
    "faces": [
        {
            "index": 0,
            "box": [412.0, 230.5, 310.2, 388.0],
            "landmarks": [[486, 380], [634, 378], [560, 470], [500, 548], [622, 546]],
            "quality": 78,
            "warnings": [],
        }
    ],
    "face": 0,
    "warnings": [],
    "verdict": "lead",
    "candidates": [
        {
            "rank": 1,
            "person_id": "9f2d7a52-3a0e-4c67-8b1e-5d3f0c6f1a20",
            "name": "Ada",
            "face_id": "c1e0b7de-7d0e-4d25-b7f5-3f8f0c0d9a51",
            "similarity": 0.71,
            "confidence": 0.998,
            "expected_false_matches": 0.004,
            "ruled_out": False,
        }
    ],
    "timings_ms": {"decode": 9.1, "detect": 11.8, "embed": 24.0, "search": 0.4, "total": 61.7},
}


class SearchOut(Shape):
    """Members that a search does not have yet are absent."""

    model_config = ConfigDict(json_schema_extra={"examples": [SEARCH_EXAMPLE]})

    id: str
    status: Status
    cached: bool
    request_id: str
    created_at: datetime
    model: ModelOut | None = None
    gallery: GalleryOut | None = None
    faces: list[FaceFound] | None = None
    face: int | None = Field(None, description="index of the face that was searched for")
    warnings: list[str] | None = None
    verdict: Verdict | None = None
    candidates: list[CandidateOut] | None = None
    timings_ms: dict[str, float] | None = None
    problem: ProblemSummary | None = Field(None, description="why a failed search failed")

    @classmethod
    def from_row(
        cls, row: Search, names: dict[str, str], ruled_out: RuledOut, *, is_running: bool = False
    ) -> "SearchOut":
        """`names` by person id, `ruled_out`: as of today, not of the day of the search."""
        known: dict[str, Any] = {
            name: getattr(row, name)
            for name in ("id", "status", "cached", "request_id", "created_at")
        }
        if row.status == "queued" and is_running:
            known["status"] = "running"
        if row.status == "failed":
            return cls(**known, problem=ProblemSummary.model_validate(row.problem))
        if row.answer is None:
            return cls(**known)
        told = ruled_out.told(row.photo_sha256, row.answer)
        found = [{**one, "name": names.get(one["person_id"])} for one in told["candidates"]]
        answer = {**told, "candidates": found, "timings_ms": row.timings_ms}
        return cls.model_validate({**known, **answer})


class VoiceOut(Shape):
    key_id: str
    reviewer: str = Field(description="the name of their key")
    verdict: Judgement
    given_at: datetime


class LeadOut(Shape):
    """A face of a searched photo and a person: the same pair, whichever search shows it."""

    search_id: str | None = Field(
        description="the newest that showed the pair while it waited; null when kept no longer"
    )
    face: int
    person_id: str
    name: str
    reference: str | None
    face_id: str | None
    similarity: float | None
    confidence: float
    expected_false_matches: float | None
    status: Literal["waiting", "confirmed", "different", "disputed"] = Field(
        description="`waiting`: for the caller; whether others have judged it is not told"
    )
    voices: list[VoiceOut]

    @classmethod
    def from_seen(cls, seen: LeadSeen, status: str) -> Self:
        candidate = seen.candidate or {}
        found = ("face_id", "similarity", "expected_false_matches")
        return cls.model_validate(
            {
                "search_id": seen.lead.search_id,
                "face": seen.lead.face,
                "person_id": seen.lead.person_id,
                "name": seen.name,
                "reference": seen.reference,
                "confidence": 1 - seen.lead.doubt,
                "status": status,
                "voices": [vars(one) for one in seen.voices],
                **{name: candidate.get(name) for name in found},
            }
        )


class LeadsOut(Shape):
    leads: list[LeadOut]
    next_cursor: str | None


class SearchSummary(Shape):
    """As much of a search as a list shows."""

    id: str
    status: Status
    created_at: datetime
    finished_at: datetime | None
    key_id: str = Field(description="whose search it is")
    model: ModelName
    face: int | None = Field(description="the face that was asked for; null for the best")
    case_reference: str | None
    purpose: str | None
    cached: bool
    verdict: Verdict | None
    candidates: int = Field(description="how many there are")
    best: CandidateOut | None
    problem: ProblemSummary | None = Field(description="why a failed search failed")

    @classmethod
    def from_row(
        cls, row: Search, names: dict[str, str], ruled_out: RuledOut, *, is_running: bool = False
    ) -> "SearchSummary":
        """`names` by person id, `ruled_out`: as of today."""
        told = ruled_out.told(row.photo_sha256, row.answer) if row.answer else None
        found = told["candidates"] if told else []
        best = {**found[0], "name": names.get(found[0]["person_id"])} if found else None
        derived = {"status", "verdict", "candidates", "best"}
        own = {name: getattr(row, name) for name in cls.model_fields if name not in derived}
        status = "running" if row.status == "queued" and is_running else row.status
        verdict = told["verdict"] if told else None
        seen = {"status": status, "verdict": verdict, "candidates": len(found), "best": best}
        return cls.model_validate({**own, **seen})


class SearchPage(Shape):
    searches: list[SearchSummary]
    next_cursor: str | None


class FeedbackIn(Document):
    person_id: str = Field(max_length=64)
    verdict: Judgement


class FeedbackOut(Shape):
    search_id: str
    person_id: str
    verdict: Judgement


class FaceOut(Shape):
    face_id: str
    status: Literal["pending", "enrolled", "withdrawn"] = Field(
        description="pending: stored here, and not yet confirmed by the inference tier; "
        "withdrawn: out of the search, as the person is found"
    )
    quality: int | None
    warnings: list[str] | None
    box: list[float] | None
    created_at: datetime

    @classmethod
    def from_row(cls, row: Face) -> "FaceOut":
        names = ("status", "quality", "warnings", "box", "created_at")
        return cls.model_validate(
            {"face_id": row.id} | {name: getattr(row, name) for name in names}
        )


class RefusedPhotoOut(Shape):
    face_id: str = Field(description="as it was while the photo was pending; there is no such face")
    refused_at: datetime
    problem: ProblemSummary

    @classmethod
    def from_row(cls, row: RefusedPhoto) -> "RefusedPhotoOut":
        return cls.model_validate({name: getattr(row, name) for name in cls.model_fields})


class PersonOut(Shape):
    id: str
    status: PersonStatus
    name: str
    reference: str | None
    birth_date: date | None
    missing_since: date | None
    notes: str | None
    found_at: datetime | None
    created_at: datetime
    updated_at: datetime
    faces: list[FaceOut]
    refused_photos: list[RefusedPhotoOut] = Field(
        description="handed in for them, and refused by the inference tier; not kept"
    )

    @classmethod
    def from_row(cls, row: Person) -> "PersonOut":
        derived = {"status", "faces", "refused_photos"}
        own = {name: getattr(row, name) for name in cls.model_fields if name not in derived}
        status: PersonStatus = "found" if row.found_at else "missing"
        refused = {one.face_id: RefusedPhotoOut.from_row(one) for one in row.refused_photos}
        faces = [  # read a moment before the refusals: one may have become the other meanwhile
            FaceOut.from_row(face)
            for face in row.faces
            if not (face.status == "pending" and face.id in refused)
        ]
        return cls(**own, status=status, faces=faces, refused_photos=list(refused.values()))


class PhotoOutcome(Shape):
    """What became of one photo of an enrolment, in the order they came."""

    index: int
    status: Literal["enrolled", "pending", "refused"]
    face_id: str | None = None
    quality: int | None = None
    warnings: list[str] = []
    problem: ProblemSummary | None = None

    @classmethod
    def kept(cls, index: int, row: Face, problem: Problem | None) -> "PhotoOutcome":
        """`problem`: why a pending one has not been enrolled yet, where that is known."""
        if row.status == "enrolled":
            face = FaceOut.from_row(row)
            found = face.model_dump(include={"face_id", "quality", "warnings"})
            return cls(index=index, status="enrolled", **found)
        why = ProblemSummary.model_validate(problem.summary()) if problem else None
        return cls(index=index, status="pending", face_id=row.id, problem=why)

    @classmethod
    def refused(cls, index: int, problem: Problem) -> "PhotoOutcome":
        why = ProblemSummary.model_validate(problem.summary())
        return cls(index=index, status="refused", problem=why)


class PersonEnrolled(PersonOut):
    photos: list[PhotoOutcome]


class PersonPage(Shape):
    persons: list[PersonOut]
    next_cursor: str | None


class PersonChange(Document):
    """Members that are absent stay as they are; null clears."""

    name: Annotated[str | None, WithJsonSchema(NAME)] = None
    reference: Line | None = None
    birth_date: Day | None = Field(None, examples=["1990-05-17"])
    missing_since: Day | None = Field(None, examples=["2024-02-29"])
    notes: Notes | None = None
    status: PersonStatus | None = Field(
        None, description="found: out of every search from now on; missing: back in it"
    )


class RemovalOut(Shape):
    """The receipt of a deletion; a time that is missing has not come yet."""

    id: str
    status: Literal["deleting", "deleted"]
    person_id: str
    face_id: str | None
    photos: int = Field(description="stored photos that were to be deleted")
    requested_at: datetime
    vectors_deleted_at: datetime | None
    photos_deleted_at: datetime | None
    answers_deleted_at: datetime | None = Field(description="cached answers")
    done_at: datetime | None

    @classmethod
    def from_row(cls, row: Removal) -> "RemovalOut":
        derived = {"status", "photos"}
        own = {name: getattr(row, name) for name in cls.model_fields if name not in derived}
        done: Literal["deleting", "deleted"] = "deleted" if row.done_at else "deleting"
        return cls(**own, status=done, photos=len(row.photo_sha256s))


class MergeIn(Document):
    other: str = Field(
        alias="from", max_length=64, description="the person whose record goes; see the receipt"
    )


class PersonMerged(Shape):
    person: PersonOut
    removal: RemovalOut | None = Field(
        description="the receipt of the other's record; null if it is no longer kept"
    )


class KnownPerson(Shape):
    person_id: str
    name: str
    reference: str | None
    status: PersonStatus

    @classmethod
    def from_row(cls, row: Person) -> "KnownPerson":
        status: PersonStatus = "found" if row.found_at else "missing"
        return cls(person_id=row.id, name=row.name, reference=row.reference, status=status)


class ResemblingPerson(KnownPerson):
    face_id: str
    similarity: float
    confidence: float
    expected_false_matches: float

    @classmethod
    def of(cls, person: KnownPerson, found: FoundCandidate) -> "ResemblingPerson":
        names = {"face_id", "similarity", "confidence", "expected_false_matches"}
        return cls(**dict(person), **found.model_dump(include=names))


class PhotoChecked(Shape):
    """What an enrolment of this photo would meet; nothing of it is kept."""

    faces: list[FaceFound]
    face: int | None = Field(description="index of the face that would be enrolled")
    warnings: list[str]
    problem: ProblemSummary | None = Field(description="why it would be refused")
    resembling: list[ResemblingPerson] = Field(
        description="missing persons whom a search with this photo would call a lead"
    )
    same_photo: list[KnownPerson] = Field(description="whose photo this very file is already")


class FailureOut(Shape):
    id: str
    kind: Literal["search", "enrolment", "deletion"]
    reason: str = Field(examples=["inference-timeout"])
    detail: str
    request_id: str
    photo_sha256: str | None
    search_id: str | None
    person_id: str | None
    face_id: str | None
    removal_id: str | None
    attempts: int
    created_at: datetime
    last_attempt_at: datetime
    next_attempt_at: datetime | None = Field(
        description="null when it is resolved, or given up until an operator retries it"
    )
    resolved_at: datetime | None
    outcome: str | None = Field(
        description="how it was resolved: done, enrolled, deleted, or a refusal"
    )

    @classmethod
    def from_row(cls, row: Failure) -> "FailureOut":
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class FailurePage(Shape):
    failures: list[FailureOut]
    next_cursor: str | None


class RetriedOut(Shape):
    retried: int = Field(description="open failures that got another attempt")


class KeyIn(Document):
    name: Name = Field(description="whose it is, for the list")
    role: Role
    expires_days: Days | None = Field(None, description="null: never")


class KeyRotation(Document):
    grace_s: Grace = Field(0, description="for so long the secret before is good as well")
    expires_days: Days | None = Field(None, description="from now; null: when it would have anyway")


class KeyOut(Shape):
    id: str
    name: str
    role: Role
    status: KeyStatus
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="to the minute")
    previous_until: datetime | None = Field(
        description="until when the secret before the last rotation is good"
    )
    revoked_at: datetime | None

    @classmethod
    def from_row(cls, row: ApiKey) -> "KeyOut":
        own = {name: getattr(row, name) for name in cls.model_fields if name != "status"}
        return cls(**own, status=status_of(row))


class KeyShown(KeyOut):
    key: str = Field(description="shown this once, and kept nowhere")


class KeyPage(Shape):
    keys: list[KeyOut]
    next_cursor: str | None


class AuditOut(Shape):
    """One access, and its place in the chain: `sha256` seals the row and the one before it."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    seq: int
    at: datetime
    key_id: str | None = Field(description="null: the gateway by itself, or a command on its host")
    role: str
    action: str
    outcome: Literal["allowed", "refused", "failed"]
    reason: str | None = Field(examples=["search-not-found"])
    person_id: str | None
    search_id: str | None
    subject_id: str | None = Field(description="a face, a key, a failure or a removal")
    photo_sha256: str | None
    purpose: str | None
    request_id: str
    previous_sha256: str
    sha256: str


class AuditPage(Shape):
    rows: list[AuditOut]
    next_cursor: str | None


RowOutcome = Literal["waiting", "pending", "failed", "enrolled", "duplicate", "refused", "deleted"]


class ImportCounts(Shape):
    """Rows by what became of them."""

    waiting: int = 0
    pending: int = Field(0, description="stored, and not yet confirmed by the inference tier")
    failed: int = Field(0, description="stored, and given up until an operator retries its failure")
    enrolled: int = 0
    duplicate: int = Field(0, description="the person had the photo already")
    refused: int = 0
    deleted: int = Field(0, description="face or person were deleted since")
    also_of: int = Field(0, description="among the others: the photo is another person's, too")


class ImportOut(Shape):
    id: str
    status: Literal["queued", "running", "done", "failed"] = Field(
        description="done: no row waits, and no enrolment is under way"
    )
    total: int | None = Field(description="rows; null while they are still counted")
    progress: float = Field(description="share of the rows that have ended, 0 to 1")
    rows: ImportCounts
    created_at: datetime
    finished_at: datetime | None = Field(description="since when no row waits")
    problem: ProblemSummary | None = Field(description="why the import as a whole has failed")

    @classmethod
    def from_row(cls, row: ImportRun, rows: ImportCounts, *, under_way: bool) -> "ImportOut":
        counts = rows.model_dump(exclude={"also_of"})
        total = row.total if row.total is not None else row.staged_at and sum(counts.values())
        ended = sum(counts.values()) - rows.waiting - rows.pending
        return cls.model_validate(
            {
                "id": row.id,
                "status": _import_status(row, rows, under_way=under_way),
                "total": total,
                "progress": round(ended / total, 4) if total else 0.0,
                "rows": rows,
                "created_at": row.created_at,
                "finished_at": row.finished_at,
                "problem": row.problem,
            }
        )


def _import_status(row: ImportRun, rows: ImportCounts, *, under_way: bool) -> str:
    if row.problem is not None:
        return "failed"
    if row.finished_at is not None and not under_way:
        return "done"
    ended = sum(rows.model_dump(exclude={"waiting", "also_of"}).values())
    return "running" if row.finished_at is not None or ended else "queued"


class ImportPage(Shape):
    imports: list[ImportOut]
    next_cursor: str | None


class ImportRowOut(Shape):
    row: int = Field(description="as a spreadsheet counts: the header is 1")
    reference: str | None
    file: str | None
    outcome: RowOutcome
    person_id: str | None
    also_of: str | None = Field(description="another person with the same photo: a warning")
    problem: ProblemSummary | None = Field(description="of a refused or a failed row")

    @classmethod
    def from_row(cls, row: ImportRow, outcome: str, failed: Problem | None) -> "ImportRowOut":
        """`failed`: why its face was given up."""
        names = ("reference", "file", "person_id", "also_of")
        own = {name: getattr(row, name) for name in names}
        problem = failed.summary() if failed else row.problem
        said = {"row": row.number, "outcome": outcome, "problem": problem}
        return cls.model_validate({**said, **own})


class ImportRowPage(Shape):
    rows: list[ImportRowOut]
    next_cursor: str | None


class HealthOut(Shape):
    status: Literal["ok"] = "ok"


class ReadinessOut(Shape):
    status: Literal["ready"] = "ready"
    checks: dict[str, str]
