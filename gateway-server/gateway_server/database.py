"""The gateway's rows, and the one door to them: the same on SQLite (WAL) and PostgreSQL."""

import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, Index, String, UniqueConstraint, event
from sqlalchemy import text as sql
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from gateway_server.problems import DatabaseUnavailable

SQLITE_LOCK_WAIT_S = 10
POSTGRES_CONNECT_TIMEOUT_S = 5
POSTGRES_COMMAND_TIMEOUT_S = 30
POSTGRES_CONNECTIONS = 10
_SCHEMA_LOCK = 0x7265756E697465  # "reunite": one process at a time makes the tables
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


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


class Database:
    """Opens short transactions and translates what the driver raises when the database is away."""

    def __init__(self, url: str) -> None:
        self._url = _with_async_driver(make_url(url))
        self._engine = _make_engine(self._url)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A transaction that changes nothing."""
        with _outage_translated():
            async with AsyncSession(self._engine, expire_on_commit=False) as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction that is committed at its end; on SQLite it locks at its start."""
        writing = self._engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        with _outage_translated():
            async with AsyncSession(writing, expire_on_commit=False) as session, session.begin():
                yield session

    async def prepare(self) -> None:
        """Make the tables that are not there yet, one process at a time.

        Changes of existing tables will need migrations (Alembic); there are none yet.
        """
        if self._url.get_backend_name() == "sqlite" and self._url.database:
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        async with self.write() as session:
            connection = await session.connection()
            if connection.dialect.name == "postgresql":
                await connection.execute(sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))
            await connection.run_sync(Row.metadata.create_all)

    async def ping(self) -> None:
        async with self.read() as session:
            await session.execute(sql("SELECT 1 FROM api_key LIMIT 1"))

    async def close(self) -> None:
        await self._engine.dispose()


@contextmanager
def _outage_translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout, OSError) as error:
        raise DatabaseUnavailable(type(error).__name__) from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise DatabaseUnavailable(type(error).__name__) from error


def _with_async_driver(url: URL) -> URL:
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


def _make_engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(
            url, hide_parameters=True, connect_args={"timeout": SQLITE_LOCK_WAIT_S}
        )
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    return create_async_engine(
        url,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=POSTGRES_CONNECTIONS,
        connect_args={
            "timeout": POSTGRES_CONNECT_TIMEOUT_S,
            "command_timeout": POSTGRES_COMMAND_TIMEOUT_S,
        },
    )


def _set_up_sqlite(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; _begin_sqlite does
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))
