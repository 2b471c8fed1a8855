"""The gateway's rows: keys, photos, searches, people, verdicts, failures, work, accesses.

PostgreSQL locks row by row. Every transaction takes its locks in this order, several of one table
by their primary key, so that no two wait for each other:

    import_run · person · photo · search, face, removal · lead · import_row · failure · job ·
    audit's end

What is done for many things has a transaction for each; renewals and claims skip what is locked. A
row that comes, or is changed twice, also locks the rows that it refers to, against their deletion.
"""

import re
import uuid
from datetime import UTC, date, datetime
from typing import Any, Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FailureKind = Literal["search", "enrolment", "deletion"]
LeadStatus = Literal["open", "awaiting", "disputed", "confirmed", "different"]
JobKind = Literal["search", "enrolment", "deletion", "import"]


def new_id() -> str:
    return str(uuid.uuid4())


def is_id(text: str) -> bool:
    """Whether a row could have this id."""
    return _ID.fullmatch(text) is not None


def now() -> datetime:
    return datetime.now(UTC)


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite would otherwise forget the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return value and value.replace(tzinfo=value.tzinfo or UTC)


class Row(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own way to say it
        datetime: UtcTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
    }


class ApiKey(Row):
    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    previous_sha256: Mapped[str | None] = mapped_column(String(64))
    """The secret before the last rotation, good until `previous_until`."""
    previous_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """To the minute: not every request writes it."""
    revoked_at: Mapped[datetime | None]


class BrowserSession(Row):
    """A browser that has shown a key; it ends with that key, and with the secret that was shown."""

    __tablename__ = "browser_session"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of the cookie's 256 random bits."""
    key_id: Mapped[str] = mapped_column(ForeignKey(ApiKey.id), index=True)
    secret_sha256: Mapped[str] = mapped_column(String(64))
    csrf_token: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
    seen_at: Mapped[datetime] = mapped_column(default=now)
    """Nearly: not every request writes it."""


class Photo(Row):
    """One stored file, however many searches and faces were made from it."""

    __tablename__ = "photo"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    media_type: Mapped[str] = mapped_column(String(32))
    bytes: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Thumbnail(Row):
    """A stored photo made small, when somebody first wants to look at it; it goes with that."""

    __tablename__ = "thumbnail"

    photo_sha256: Mapped[str] = mapped_column(
        ForeignKey(Photo.sha256, ondelete="CASCADE"), primary_key=True
    )
    face_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """-1: the best face, or the whole photo where there is none."""
    webp: Mapped[bytes] = mapped_column(LargeBinary)


class Search(Row):
    __tablename__ = "search"
    __table_args__ = (
        Index("search_by_age", "created_at", "id"),
        Index("search_by_status", "status", "created_at", "id"),
        Index("search_by_verdict", "verdict", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    status: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    key_id: Mapped[str] = mapped_column(ForeignKey(ApiKey.id), index=True)
    request_id: Mapped[str] = mapped_column(String(64))
    photo_sha256: Mapped[str] = mapped_column(ForeignKey(Photo.sha256), index=True)
    top_k: Mapped[int]
    model: Mapped[str] = mapped_column(String(16))
    face: Mapped[int | None]
    case_reference: Mapped[str | None]
    case_text: Mapped[str | None]
    """The case reference, case-folded here, to be found by a part of it."""
    verdict: Mapped[str | None] = mapped_column(String(16))
    """The answer's, for lists."""
    purpose: Mapped[str | None]
    cached: Mapped[bool] = mapped_column(default=False)
    answer: Mapped[dict[str, Any] | None]
    """What the inference tier found; names are joined when it is read, so they are today's."""
    timings_ms: Mapped[dict[str, Any] | None]
    problem: Mapped[dict[str, Any] | None]


class Person(Row):
    __tablename__ = "person"
    __table_args__ = (
        Index("person_by_age", "created_at", "id"),
        Index("person_by_reference", "reference"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    name: Mapped[str]
    reference: Mapped[str | None]
    birth_date: Mapped[date | None]
    missing_since: Mapped[date | None]
    notes: Mapped[str | None]
    found_at: Mapped[datetime | None]
    """Since when nobody looks for them any more: their faces are out of the search."""
    search_text: Mapped[str]
    """Name and reference, case-folded here: databases differ in what they fold."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
    faces: Mapped[list["Face"]] = relationship(
        lazy="selectin", order_by="Face.created_at, Face.id", viewonly=True
    )
    refused_photos: Mapped[list["RefusedPhoto"]] = relationship(
        lazy="selectin", order_by="RefusedPhoto.refused_at, RefusedPhoto.face_id", viewonly=True
    )


class Merge(Row):
    """Who a person is now, whose record turned out to be a second one of somebody else.

    Until the inference tier knows the faces under the kept person, it goes on to find the other.
    """

    __tablename__ = "merge"

    person_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    into_id: Mapped[str] = mapped_column(ForeignKey(Person.id, ondelete="CASCADE"), index=True)
    faces: Mapped[dict[str, Any]]
    """The id that each face has now, by the one that it had."""
    key_id: Mapped[str] = mapped_column(String(16))
    merged_at: Mapped[datetime] = mapped_column(default=now)


class Face(Row):
    """One photo of a person; `pending` until the inference tier has confirmed it.

    `withdrawn` while the person is found: kept here, and not in the inference tier.
    """

    __tablename__ = "face"
    __table_args__ = (UniqueConstraint("person_id", "photo_sha256"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    person_id: Mapped[str] = mapped_column(ForeignKey(Person.id, ondelete="CASCADE"), index=True)
    photo_sha256: Mapped[str] = mapped_column(ForeignKey(Photo.sha256), index=True)
    face_index: Mapped[int | None]
    status: Mapped[str] = mapped_column(String(16), default="pending")
    quality: Mapped[int | None]
    warnings: Mapped[list[Any] | None]
    box: Mapped[list[Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class RefusedPhoto(Row):
    """What is left of a face whose photo the inference tier refused: neither face nor photo."""

    __tablename__ = "refused_photo"

    face_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    """As it was told while the photo was pending."""
    person_id: Mapped[str] = mapped_column(ForeignKey(Person.id, ondelete="CASCADE"), index=True)
    problem: Mapped[dict[str, Any]]
    refused_at: Mapped[datetime] = mapped_column(default=now)


class Feedback(Row):
    __tablename__ = "feedback"
    __table_args__ = (UniqueConstraint("search_id", "person_id", "key_id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    search_id: Mapped[str] = mapped_column(ForeignKey(Search.id, ondelete="CASCADE"), index=True)
    person_id: Mapped[str] = mapped_column(String(64))
    key_id: Mapped[str] = mapped_column(ForeignKey(ApiKey.id))
    verdict: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Lead(Row):
    """A face of a searched photo and a person whom reviewers are to compare, or have compared.

    It is about the photo, whichever search showed it; what was decided outlives them.
    """

    __tablename__ = "lead"
    __table_args__ = (
        Index("lead_by_turn", "waits", "unsure", "doubt", "photo_sha256", "face", "person_id"),
        Index("lead_by_status", "status", "changed_at"),
    )

    photo_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    face: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    person_id: Mapped[str] = mapped_column(String(36), primary_key=True, index=True)
    search_id: Mapped[str | None] = mapped_column(
        ForeignKey(Search.id, ondelete="SET NULL"), index=True
    )
    """The newest that showed the pair while it waited, or the one in which it came to do so."""
    status: Mapped[LeadStatus] = mapped_column(String(16), default="open")
    waits: Mapped[bool] = mapped_column(default=True)
    """For a reviewer; the status says so, too, but not in one order of turns."""
    unsure: Mapped[int] = mapped_column(default=0)
    """How many reviewers were: the more, the later its turn."""
    doubt: Mapped[float]
    """1 - the candidate's confidence: what is left of it comes first."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    changed_at: Mapped[datetime | None]
    """When somebody last had their say."""


class LeadVoice(Row):
    """What the holder of a key has said last of a lead."""

    __tablename__ = "lead_voice"
    __table_args__ = (
        ForeignKeyConstraint(
            ["photo_sha256", "face", "person_id"],
            ["lead.photo_sha256", "lead.face", "lead.person_id"],
            ondelete="CASCADE",
        ),
    )

    photo_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    face: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    person_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey(ApiKey.id), primary_key=True)
    verdict: Mapped[str] = mapped_column(String(16))
    given_at: Mapped[datetime] = mapped_column(default=now)
    """Since when they have been saying so."""
    same_at: Mapped[datetime | None]
    """When they first said same, whatever they have said since."""
    different_at: Mapped[datetime | None]


class Failure(Row):
    """A call to the inference tier without an answer. It outlives what it was about: no keys."""

    __tablename__ = "failure"
    __table_args__ = (Index("failure_by_age", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    kind: Mapped[FailureKind] = mapped_column(String(16))
    """search, enrolment or deletion: it says which of the next four are set."""
    search_id: Mapped[str | None] = mapped_column(String(36), index=True)
    person_id: Mapped[str | None] = mapped_column(String(36), index=True)
    face_id: Mapped[str | None] = mapped_column(String(36), index=True)
    removal_id: Mapped[str | None] = mapped_column(String(36))
    reason: Mapped[str] = mapped_column(String(64))
    detail: Mapped[str]
    request_id: Mapped[str] = mapped_column(String(64))
    photo_sha256: Mapped[str | None] = mapped_column(String(64))
    attempts: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_attempt_at: Mapped[datetime] = mapped_column(default=now)
    next_attempt_at: Mapped[datetime | None]
    """None once it is given up, resolved, or waits for an operator."""
    resolved_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(64))


class Job(Row):
    """Work that must come to its end, whoever does it; the row goes when it has.

    Whoever claims it holds it until `leased_until`; a killed holder's lease runs out.
    """

    __tablename__ = "job"
    __table_args__ = (
        UniqueConstraint("kind", "subject_id", name="job_of_subject"),
        Index("job_by_turn", "run_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    kind: Mapped[JobKind] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(String(36))
    request_id: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
    run_at: Mapped[datetime] = mapped_column(default=now)
    attempts: Mapped[int] = mapped_column(default=0)
    holder: Mapped[str | None] = mapped_column(String(36))
    """Of one claim, not of a process: a lost lease cannot be mistaken for a living one."""
    leased_until: Mapped[datetime | None]


class Removal(Row):
    """A person, or one face, on the way out: what is left to delete, and when each part was."""

    __tablename__ = "removal"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    person_id: Mapped[str] = mapped_column(String(36), index=True)
    face_id: Mapped[str | None] = mapped_column(String(36))
    key_id: Mapped[str] = mapped_column(String(16))
    photo_sha256s: Mapped[list[Any]]
    requested_at: Mapped[datetime] = mapped_column(default=now)
    settles_at: Mapped[datetime | None]
    """Until then an enrolment that was under way may still arrive there: deleted once more."""
    vectors_deleted_at: Mapped[datetime | None]
    photos_deleted_at: Mapped[datetime | None]
    answers_deleted_at: Mapped[datetime | None]
    """Cached answers that may name the person."""
    done_at: Mapped[datetime | None]


class ImportRun(Row):
    """Many people from one table: an upload that waits on the disk, or a folder of the host."""

    __tablename__ = "import_run"
    __table_args__ = (Index("import_run_by_age", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    key_id: Mapped[str | None] = mapped_column(String(16))
    """None: a command on the host."""
    folder: Mapped[str | None]
    table_file: Mapped[str | None]
    total: Mapped[int | None]
    """Rows; None while a folder is still being read."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    staged_at: Mapped[datetime | None]
    """Since when every row of the table is a row here."""
    finished_at: Mapped[datetime | None]
    """Since when none of them waits; their faces may still be on their way."""
    problem: Mapped[dict[str, Any] | None]


class ImportRow(Row):
    """One row of an import's table; what it says of a person goes when its turn is over."""

    __tablename__ = "import_row"
    __table_args__ = (Index("import_row_by_outcome", "import_id", "outcome", "number"),)

    import_id: Mapped[str] = mapped_column(
        ForeignKey(ImportRun.id, ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """As a spreadsheet counts: the header is 1."""
    outcome: Mapped[str] = mapped_column(String(16))
    """waiting, kept, duplicate or refused; of a kept one, the face's row knows the rest."""
    reference: Mapped[str | None]
    file: Mapped[str | None]
    details: Mapped[dict[str, Any] | None]
    place: Mapped[dict[str, Any] | None]
    """Where the photo lies in the archive."""
    person_id: Mapped[str | None] = mapped_column(String(36), index=True)
    face_id: Mapped[str | None] = mapped_column(String(36), index=True)
    also_of: Mapped[str | None] = mapped_column(String(36), index=True)
    """Another person who has the same photo."""
    problem: Mapped[dict[str, Any] | None]


class OneTime(Row):
    """A POST that came with an Idempotency-Key, and what it was answered."""

    __tablename__ = "one_time"

    key_id: Mapped[str] = mapped_column(ForeignKey(ApiKey.id), primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """sha256 of the method, the address and everything that the body said."""
    subject_id: Mapped[str] = mapped_column(String(36), default=new_id)
    """The id of what it makes: whoever repeats it after a crash finds what was made already."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    holder: Mapped[str | None] = mapped_column(String(36))
    leased_until: Mapped[datetime | None]
    status: Mapped[int | None]
    """HTTP status of the answer; None while there is none."""
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[str | None]


class Audit(Row):
    """One access to people, searches or photos; each row seals the one before it. Never changed.

    It outlives what it is about: no keys, and no names, notes or pictures.
    """

    __tablename__ = "audit"
    __table_args__ = (Index("audit_by_moment", "at"),)

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """1, 2, 3 … without a gap."""
    at: Mapped[datetime]
    key_id: Mapped[str | None] = mapped_column(String(16))
    """None: the gateway by itself, or a command on its host."""
    role: Mapped[str] = mapped_column(String(16))
    action: Mapped[str] = mapped_column(String(32))
    person_id: Mapped[str | None] = mapped_column(String(36), index=True)
    search_id: Mapped[str | None] = mapped_column(String(36), index=True)
    subject_id: Mapped[str | None] = mapped_column(String(36))
    """What else it was about: a face, a key, a failure, a removal."""
    photo_sha256: Mapped[str | None] = mapped_column(String(64))
    purpose: Mapped[str | None]
    request_id: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(8))
    reason: Mapped[str | None] = mapped_column(String(64))
    """The problem's slug, unless the outcome is `allowed`."""
    previous_sha256: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))


class Chore(Row):
    """Something that is due once in a while, whichever gateway does it."""

    __tablename__ = "chore"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    done_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
