"""aiosqlite with one trip to the connection's thread for each statement, its rows included.

By itself it makes four, to open a cursor, execute, fetch and close; each wakes two threads, which
costs more than most statements. A BEGIN that locks nothing yet travels with the statement after it.
"""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import aiosqlite

_LAZY_BEGIN = "BEGIN"
_CHUNK_ROWS = 64  # aiosqlite's own default


class Connection(aiosqlite.Connection):
    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, _CHUNK_ROWS)
        self._thread.daemon = True  # as SQLAlchemy has it: nobody waits for it at the end
        self._begins = False

    def cursor(self) -> "Cursor":  # type: ignore[override] # SQLAlchemy enters it at once
        return Cursor(self)

    async def run(self, work: Callable[[sqlite3.Connection], "Result"]) -> "Result":
        """In the connection's thread, within the transaction that was to begin."""
        begins, self._begins = self._begins, False
        deed = _begin_and_run if begins else _run
        result: Result = await self._execute(deed, self._conn, work)  # type: ignore[no-untyped-call]
        return result

    def begin_lazily(self) -> None:
        self._begins = True

    async def commit(self) -> None:
        if not self._forget_begin():
            await super().commit()

    async def rollback(self) -> None:
        if not self._forget_begin() and self.in_transaction:
            await super().rollback()

    def _forget_begin(self) -> bool:
        """Whether the transaction was never begun, as nothing was to be done in it."""
        begins, self._begins = self._begins, False
        return begins


class Result:
    """What a statement came to, fetched as long as the thread was at it."""

    def __init__(self, cursor: sqlite3.Cursor | None = None) -> None:
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.rows: Sequence[Any] = ()
        if cursor is not None:
            self.description, self.lastrowid = cursor.description, cursor.lastrowid
            self.rows = cursor.fetchall() if cursor.description else ()
            self.rowcount = cursor.rowcount
            cursor.close()


class Cursor:
    """As much of one as SQLAlchemy's adapter asks for."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._result = Result()

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Self:
        if statement == _LAZY_BEGIN:
            self._connection.begin_lazily()
            self._result = Result()
        else:
            self._result = await self._connection.run(partial(_execute, statement, parameters))
        return self

    async def executemany(self, statement: str, parameters: Sequence[Any]) -> Self:
        self._result = await self._connection.run(partial(_executemany, statement, parameters))
        return self

    async def fetchall(self) -> Sequence[Any]:
        return self._result.rows

    async def close(self) -> None:
        """There is nothing left open."""

    @property
    def description(self) -> Any:  # noqa: ANN401 - the DB-API's
        return self._result.description

    @property
    def rowcount(self) -> int:
        return self._result.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._result.lastrowid


def connect(database: str, **options: Any) -> Connection:
    """To be awaited; what SQLAlchemy's `async_creator_fn` wants."""
    return Connection(partial(sqlite3.connect, database, **options))


def _run(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Result]) -> Result:
    return work(connection)


def _begin_and_run(
    connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Result]
) -> Result:
    connection.execute(_LAZY_BEGIN)
    return work(connection)


def _execute(statement: str, parameters: Sequence[Any], connection: sqlite3.Connection) -> Result:
    return Result(connection.execute(statement, parameters))


def _executemany(
    statement: str, parameters: Sequence[Any], connection: sqlite3.Connection
) -> Result:
    return Result(connection.executemany(statement, parameters))
