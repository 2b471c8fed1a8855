"""Imports as they stand. What became of a face is asked of the face, not written down again.

waiting     its turn has not come
pending     stored, with a job
failed      stored, and given up until somebody retries its failure, which says why
enrolled    in the gallery, or withdrawn as its person is found
duplicate   the person has this photo already: nothing was to be done
refused     the row's problem says why, the inference tier's reasons among them
deleted     the face, or its person, was deleted since
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, case, exists, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database
from gateway_server.failures import IS_GIVEN_UP, problems_of_given_up
from gateway_server.paging import Page, decode_place, encode_place, read_page
from gateway_server.problems import ImportNotFound, InvalidCursor, PersonNotFound, Problem
from gateway_server.schemas import ImportCounts, ImportOut, ImportRowOut, ImportRowPage
from gateway_server.tables import Face, Failure, ImportRow, ImportRun, Job

ALSO_OF = "also_of"
DELETED_MEANWHILE = "The person was deleted while the import was under way"
MAX_ROW_NUMBER = 2**31 - 1


@dataclass(frozen=True)
class RowsWanted:
    outcome: str | None
    cursor: str | None
    limit: int


class ImportLedger:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, run_id: str) -> ImportOut:
        async with self._database.read() as session:
            run = await session.get(ImportRun, run_id)
            if run is None:
                raise ImportNotFound
            return await _describe(session, run)

    async def list(self, cursor: str | None, limit: int) -> tuple[Sequence[ImportOut], str | None]:
        async with self._database.read() as session:
            page: Page[ImportRun] = await read_page(session, ImportRun, [], cursor, limit)
            return [await _describe(session, run) for run in page.rows], page.next_cursor

    async def rows(self, run_id: str, wanted: RowsWanted) -> ImportRowPage:
        async with self._database.read() as session:
            if await session.get(ImportRun, run_id) is None:
                raise ImportNotFound
            query = select(ImportRow, _OUTCOME).outerjoin(Face, Face.id == ImportRow.face_id)
            query = query.where(ImportRow.import_id == run_id, *_conditions(wanted))
            some = query.order_by(ImportRow.number).limit(wanted.limit + 1)
            found = (await session.execute(some)).all()
            failed = [str(row.face_id) for row, outcome in found if outcome == "failed"]
            problems = await problems_of_given_up(session, failed)
        rows = [
            ImportRowOut.from_row(row, outcome, problems.get(row.face_id or ""))
            for row, outcome in found[: wanted.limit]
        ]
        more = encode_place([rows[-1].row]) if len(found) > wanted.limit else None
        return ImportRowPage(rows=rows, next_cursor=more)


_OUTCOME: ColumnElement[str] = case(
    (ImportRow.outcome != "kept", ImportRow.outcome),
    (Face.id.is_(None), "deleted"),
    (
        (Face.status == "pending") & exists().where(Failure.face_id == Face.id, *IS_GIVEN_UP),
        "failed",
    ),
    (Face.status == "pending", "pending"),
    else_="enrolled",
)


def _conditions(wanted: RowsWanted) -> Sequence[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.outcome == ALSO_OF:
        conditions.append(ImportRow.also_of.is_not(None))
    elif wanted.outcome is not None:
        conditions.append(literal(wanted.outcome) == _OUTCOME)
    if wanted.cursor is not None:
        conditions.append(ImportRow.number > _decode(wanted.cursor))
    return conditions


def _decode(cursor: str) -> int:
    match decode_place(cursor):
        case [int(number)] if 0 <= number <= MAX_ROW_NUMBER:
            return number
    raise InvalidCursor(f"The cursor is {cursor!r}")


async def _describe(session: AsyncSession, run: ImportRun) -> ImportOut:
    """Jobs before rows: a job ends with its row's outcome, so no row is left pending without one.

    The other way round, PostgreSQL could tell of a done import whose last rows were pending.
    """
    has_jobs = run.finished_at is not None and await is_under_way(session, run.id)
    of_run = ImportRow.import_id == run.id
    grouped = (
        select(_OUTCOME, func.count(), func.count(ImportRow.also_of))
        .outerjoin(Face, Face.id == ImportRow.face_id)
        .where(of_run)
        .group_by(_OUTCOME)
    )
    counted = {outcome: (rows, also) for outcome, rows, also in await session.execute(grouped)}
    counts: dict[str, Any] = {outcome: rows for outcome, (rows, _) in counted.items()}
    counts[ALSO_OF] = sum(also for _, also in counted.values())
    under_way = counts.get("pending", 0) > 0 and has_jobs
    return ImportOut.from_row(run, ImportCounts(**counts), under_way=under_way)


async def lock_run(session: AsyncSession, run_id: str) -> ImportRun | None:
    """Its key is left unlocked: a row that refers to it may be changed meanwhile."""
    return await session.get(ImportRun, run_id, with_for_update={"key_share": True})


async def is_under_way(session: AsyncSession, run_id: str) -> bool:
    """Whether a face of it has a job."""
    theirs = select(ImportRow.face_id).where(ImportRow.import_id == run_id)
    jobs = select(Job.id).where(Job.kind == "enrolment", Job.subject_id.in_(theirs)).limit(1)
    return await session.scalar(jobs) is not None


async def note_refusal(session: AsyncSession, face_id: str, refusal: Problem) -> None:
    """Within the transaction that deletes the refused face: its row alone can tell why."""
    theirs = update(ImportRow).where(ImportRow.face_id == face_id)
    await session.execute(theirs.values(outcome="refused", problem=refusal.summary()))


async def forget_person(session: AsyncSession, person_id: str) -> None:
    """Within the transaction that deletes the person: what the rows say of them goes along.

    Rows that still wait would bring the person back: their turn does not come.
    """
    theirs = select(ImportRow).where(ImportRow.person_id == person_id)
    ordered = theirs.order_by(ImportRow.import_id, ImportRow.number).with_for_update()
    for row in await session.scalars(ordered):
        row.reference, row.file, row.details, row.place = None, None, None, None
        if row.outcome == "waiting":
            row.outcome, row.problem = "refused", PersonNotFound(DELETED_MEANWHILE).summary()
    await session.flush()
