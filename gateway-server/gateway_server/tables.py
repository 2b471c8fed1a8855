"""The gateway's rows: keys, photos, searches, people, faces, verdicts and failures."""

import re
import uuid
from datetime import UTC, date, datetime
from typing import Any, Literal

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FailureKind = Literal["search", "enrolment", "deletion"]


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
    created_at: Mapped[datetime] = mapped_column(default=now)
    revoked_at: Mapped[datetime | None]


class Photo(Row):
    """One stored file, however many searches and faces were made from it."""

    __tablename__ = "photo"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    media_type: Mapped[str] = mapped_column(String(32))
    bytes: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Search(Row):
    __tablename__ = "search"

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
    purpose: Mapped[str | None]
    cached: Mapped[bool] = mapped_column(default=False)
    answer: Mapped[dict[str, Any] | None]
    """What the inference tier found; names are joined when it is read, so they are today's."""
    timings_ms: Mapped[dict[str, Any] | None]
    problem: Mapped[dict[str, Any] | None]


class Person(Row):
    __tablename__ = "person"
    __table_args__ = (Index("person_by_age", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    name: Mapped[str]
    reference: Mapped[str | None]
    birth_date: Mapped[date | None]
    missing_since: Mapped[date | None]
    notes: Mapped[str | None]
    search_text: Mapped[str]
    """Name and reference, case-folded here: databases differ in what they fold."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
    faces: Mapped[list["Face"]] = relationship(
        lazy="selectin", order_by="Face.created_at, Face.id", viewonly=True
    )


class Face(Row):
    """One photo of a person; `pending` until the inference tier has confirmed it."""

    __tablename__ = "face"
    __table_args__ = (UniqueConstraint("person_id", "photo_sha256"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    person_id: Mapped[str] = mapped_column(ForeignKey(Person.id, ondelete="CASCADE"), index=True)
    photo_sha256: Mapped[str] = mapped_column(ForeignKey(Photo.sha256), index=True)
    face_index: Mapped[int | None]
    status: Mapped[str] = mapped_column(String(8), default="pending")
    quality: Mapped[int | None]
    warnings: Mapped[list[Any] | None]
    box: Mapped[list[Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Feedback(Row):
    __tablename__ = "feedback"
    __table_args__ = (UniqueConstraint("search_id", "person_id", "key_id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    search_id: Mapped[str] = mapped_column(ForeignKey(Search.id, ondelete="CASCADE"), index=True)
    person_id: Mapped[str] = mapped_column(String(64))
    key_id: Mapped[str] = mapped_column(ForeignKey(ApiKey.id))
    verdict: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Failure(Row):
    """A call to the inference tier without an answer. It outlives what it was about: no keys."""

    __tablename__ = "failure"
    __table_args__ = (Index("failure_by_age", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    kind: Mapped[FailureKind] = mapped_column(String(16))
    """search, enrolment or deletion: it says which of the next three are set."""
    search_id: Mapped[str | None] = mapped_column(String(36), index=True)
    person_id: Mapped[str | None] = mapped_column(String(36), index=True)
    face_id: Mapped[str | None] = mapped_column(String(36), index=True)
    reason: Mapped[str] = mapped_column(String(64))
    detail: Mapped[str]
    request_id: Mapped[str] = mapped_column(String(64))
    photo_sha256: Mapped[str | None] = mapped_column(String(64))
    attempts: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_attempt_at: Mapped[datetime] = mapped_column(default=now)
    resolved_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(64))
