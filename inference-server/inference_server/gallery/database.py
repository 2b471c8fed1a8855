"""A database URL -> engines whose transactions mean the same on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Final

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    PoolProxiedConnection,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from inference_server.gallery import StoreUnavailable

CONNECT_TIMEOUT_S: Final = 3
LOCK_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_S: Final = 60  # the first load of a large gallery is one statement
POOL_TIMEOUT_S: Final = 5

_BEGIN: Final = "sqlite_begin"


@dataclass(frozen=True, slots=True)
class Database:
    """Two ways to begin a transaction.

    `reading`: it sees the state of one moment. `writing`: on SQLite it is the only writer from its
    first statement on; on PostgreSQL it becomes that by locking a row.
    """

    reading: Engine
    writing: Engine


def open_database(url: str) -> Database:
    """Nothing is connected yet, so a server can start before its database does.

    Raises:
        ValueError: not the URL of an SQLite or PostgreSQL database, or its driver is missing.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError(str(error)) from error
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _open_sqlite(parsed)
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return _open_postgresql(parsed.set(drivername="postgresql+psycopg"))
    raise ValueError(f"{parsed.drivername!r} is neither sqlite nor postgresql+psycopg")


def folder_beside(url: str) -> Path | None:
    """Where files that are derived from a database lie; None beside PostgreSQL or memory."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(f"{parsed.database}.index")


@contextmanager
def outages_translated() -> Iterator[None]:
    """Whatever the database or the pool of connections raises becomes StoreUnavailable."""
    try:
        yield
    except (DBAPIError, PoolTimeout, OSError) as error:
        raise StoreUnavailable("The gallery's database does not answer.") from error


def _open_sqlite(url: URL) -> Database:
    engine = create_engine(
        url, pool_timeout=POOL_TIMEOUT_S, connect_args={"timeout": LOCK_TIMEOUT_S}
    )

    @event.listens_for(engine, "do_connect")
    def make_folder(*_: object) -> None:
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: SqliteConnection, _: object) -> None:
        connection.isolation_level = None  # transactions begin where `begin` below says so
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # what was answered survives a power cut
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "connect")
    def note_file(_: SqliteConnection, record: ConnectionPoolEntry) -> None:
        record.info["file"] = _file_number(url)

    @event.listens_for(engine, "checkout")
    def demand_file(
        _: SqliteConnection, record: ConnectionPoolEntry, __: PoolProxiedConnection
    ) -> None:
        """A file that was moved into the place of ours would otherwise never be read."""
        if record.info["file"] != _file_number(url):
            raise DisconnectionError("Another file took the database's place.")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))

    return Database(engine, engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}))


def _file_number(url: URL) -> int | None:
    """The inode behind the database's name; None where there is no file."""
    try:
        return Path(url.database).stat().st_ino if url.database else None
    except OSError:
        return None


def _open_postgresql(url: URL) -> Database:
    limits_s = {"statement_timeout": STATEMENT_TIMEOUT_S, "lock_timeout": LOCK_TIMEOUT_S}
    limits = [f"-c {name}={seconds}s" for name, seconds in limits_s.items()]
    if find_spec("psycopg") is None:
        raise ValueError("PostgreSQL needs psycopg, the extra `postgres` of this distribution")
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_timeout=POOL_TIMEOUT_S,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": " ".join([*limits, *url.normalized_query.get("options", ())]),
        },
    )
    return Database(engine.execution_options(isolation_level="REPEATABLE READ"), engine)
