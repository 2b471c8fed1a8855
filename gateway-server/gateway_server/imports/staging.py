"""The source's rows become rows of the database: refused at once, or waiting for their turn.

A run that is broken off here goes on after the last row that it has.
"""

import asyncio
import uuid
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database, on_postgresql
from gateway_server.imports.import_folder import unavailable
from gateway_server.imports.sources import MAX_PATH_CHARACTERS, Source, SourceRow
from gateway_server.jobs import Claim, JobQueue
from gateway_server.person_service import DETAIL_RULES, read_details
from gateway_server.problems import Problem
from gateway_server.tables import ImportRow, ImportRun, now

AT_A_TIME: Final = 500
SHOWN_CHARACTERS: Final = 200


class Staging:
    def __init__(self, database: Database, queue: JobQueue) -> None:
        self._database = database
        self._queue = queue

    async def stage(self, run: ImportRun, source: Source, claim: Claim | None) -> None:
        """All of the source's rows; `claim`: None where no job is behind it."""
        after = await self._last_number(run.id)
        with closing(_some_at_a_time(source, after)) as chunks:
            while chunk := await _next_of(chunks):
                async with self._database.write() as session:
                    await _insert(session, [_columns(run.id, row) for row in chunk])
                    await self._hold(session, claim)
        async with self._database.write() as session:
            await session.execute(
                update(ImportRun).where(ImportRun.id == run.id).values(staged_at=now())
            )
            await self._hold(session, claim)

    async def _hold(self, session: AsyncSession, claim: Claim | None) -> None:
        if claim is not None:
            await self._queue.extend(session, claim)

    async def _last_number(self, run_id: str) -> int:
        async with self._database.read() as session:
            theirs = select(func.max(ImportRow.number)).where(ImportRow.import_id == run_id)
            return await session.scalar(theirs) or 0


def _some_at_a_time(source: Source, after: int) -> Generator[list[SourceRow]]:
    rows = (row for row in source.rows() if row.record.number > after)
    while chunk := list(islice(rows, AT_A_TIME)):
        yield chunk


async def _next_of(chunks: Iterator[list[SourceRow]]) -> list[SourceRow] | None:
    """Read and parsed in a thread, for the loop has others to serve."""
    try:
        return await asyncio.to_thread(next, chunks, None)
    except OSError as error:
        raise unavailable(error) from error


async def _insert(session: AsyncSession, values: list[dict[str, Any]]) -> None:
    insert = postgresql.insert if on_postgresql(session) else sqlite.insert
    await session.execute(insert(ImportRow).on_conflict_do_nothing(), values)


def _columns(run_id: str, row: SourceRow) -> dict[str, Any]:
    texts = row.record.texts
    shown = {
        "import_id": run_id,
        "number": row.record.number,
        "reference": _shown(texts.get("reference", ""), SHOWN_CHARACTERS),
        "file": _shown(texts.get("photo", ""), MAX_PATH_CHARACTERS),
    }
    try:
        if row.problem is not None:
            raise row.problem
        said = {name: text for name in DETAIL_RULES if (text := texts.get(name, "").strip())}
        person_id = _person_id(run_id, read_details({"name": "", **said}))
    except Problem as problem:
        nothing = {"person_id": None, "details": None, "place": None}
        return {**shown, **nothing, "outcome": "refused", "problem": problem.summary()}
    place = dict(row.place) if row.place is not None else None
    todo = {"person_id": person_id, "details": said, "place": place}
    return {**shown, **todo, "outcome": "waiting", "problem": None}


def _person_id(run_id: str, details: Mapping[str, Any]) -> str:
    """The same for all rows of a person, whoever reads them, whenever."""
    reference = details.get("reference")
    whose = f"reference {reference}" if reference else f"name {details['name']}"
    return str(uuid.uuid5(uuid.UUID(run_id), whose))


def _shown(text: str, most_characters: int) -> str:
    """What every database can keep of a text that may hold anything."""
    kept = text.strip()[:most_characters].replace("\0", "\ufffd")
    return kept.encode("utf-8", "replace").decode("utf-8")
