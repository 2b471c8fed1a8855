"""The one door to the gateway's rows: the same on SQLite (WAL) and PostgreSQL."""

import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import event
from sqlalchemy import text as sql
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from gateway_server.migrations import upgrade
from gateway_server.problems import DatabaseUnavailable
from gateway_server.sqlite_driver import connect as connect_sqlite
from gateway_server.writers_turn import WritersTurn

SQLITE_LOCK_WAIT_S = 10
SQLITE_TURN_WAIT_S = 30  # behind other writers
SQLITE_CONNECTIONS = 15
WAL_WAITS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
POSTGRES_CONNECT_TIMEOUT_S = 5
POSTGRES_COMMAND_TIMEOUT_S = 30
POSTGRES_CONNECTIONS = 10
DEADLOCK = "40P01"  # SQLSTATE
_SCHEMA_LOCK = 0x7265756E697465  # "reunite": one process at a time makes the tables
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


class Database:
    """Opens short transactions and translates what the driver raises when the database is away."""

    def __init__(self, url: str) -> None:
        self._url = _with_async_driver(make_url(url))
        self._engine = _make_engine(self._url)
        self._turn = _writers_turn(self._url)

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
            async with (
                self._turn.taken() if self._turn else nullcontext(),
                AsyncSession(writing, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session

    async def prepare(self) -> None:
        """Bring the tables to the newest version, one process at a time."""
        if self._url.get_backend_name() == "sqlite" and self._url.database:
            with _outage_translated():
                Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        async with self.write() as session:
            connection = await session.connection()
            if connection.dialect.name == "postgresql":
                await connection.execute(sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))
            await connection.run_sync(upgrade)

    async def ping(self) -> None:
        async with self.read() as session:
            await session.execute(sql("SELECT 1 FROM api_key LIMIT 1"))

    async def close(self) -> None:
        await self._engine.dispose()
        if self._turn:
            self._turn.close()


def on_postgresql(session: AsyncSession) -> bool:
    return session.get_bind().dialect.name == "postgresql"


@contextmanager
def _outage_translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout, OSError) as error:
        raise DatabaseUnavailable(type(error).__name__) from error
    except DBAPIError as error:
        if not error.connection_invalidated and not _is_deadlock(error):
            raise
        raise DatabaseUnavailable(type(error).__name__) from error


def _is_deadlock(error: DBAPIError) -> bool:
    """PostgreSQL has broken off one of two that waited for each other: it may simply come again."""
    return getattr(error.orig, "sqlstate", None) == DEADLOCK


def _with_async_driver(url: URL) -> URL:
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


def _writers_turn(url: URL) -> WritersTurn | None:
    """None for PostgreSQL, whose writers wait for single rows."""
    if url.get_backend_name() != "sqlite":
        return None
    file = Path(url.database) if url.database and url.database != ":memory:" else None
    return WritersTurn(file, SQLITE_TURN_WAIT_S)


def _make_engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(
            url,
            hide_parameters=True,
            pool_size=SQLITE_CONNECTIONS,
            max_overflow=0,  # each that comes and goes is a thread, a file and four pragmas
            connect_args={"timeout": SQLITE_LOCK_WAIT_S, "async_creator_fn": connect_sqlite},
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
    _enter_wal(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _enter_wal(cursor: DBAPICursor) -> None:
    """SQLite does not wait here: while another connection turns a new file to WAL, it is locked."""
    for wait_s in WAL_WAITS_S:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            time.sleep(wait_s)
        else:
            return
    cursor.execute("PRAGMA journal_mode=WAL")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))
