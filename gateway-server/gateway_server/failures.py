"""The ledger of calls to the inference tier without an answer, each to be made good later."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database
from gateway_server.journal import current_request_id
from gateway_server.metrics import Metrics
from gateway_server.paging import Page, read_page
from gateway_server.problems import (
    FailureNotFound,
    InferenceUnavailable,
    Outage,
    Problem,
    named_problems,
)
from gateway_server.tables import Failure, FailureKind, now

IS_GIVEN_UP = (  # an enrolment of which no further attempt is made by itself
    Failure.kind == "enrolment",
    Failure.resolved_at.is_(None),
    Failure.next_attempt_at.is_(None),
)


@dataclass(frozen=True)
class Undone:
    """What the missing answer has left undone."""

    kind: FailureKind
    search_id: str | None = None
    person_id: str | None = None
    face_id: str | None = None
    removal_id: str | None = None


@dataclass(frozen=True)
class FailuresWanted:
    """All of them, if nothing is said; `given_up`: without a further attempt by itself."""

    only_open: bool = False
    given_up: bool = False
    reason: str | None = None

    def conditions(self) -> Sequence[ColumnElement[bool]]:
        wanted: list[ColumnElement[bool]] = []
        if self.only_open or self.given_up:
            wanted.append(Failure.resolved_at.is_(None))
        if self.given_up:
            wanted.append(Failure.next_attempt_at.is_(None))
        if self.reason is not None:
            wanted.append(Failure.reason == self.reason)
        return wanted


@dataclass(frozen=True)
class OpenFailures:
    """How many of one kind and reason are open, and since when the oldest is."""

    kind: str
    reason: str
    count: int
    given_up: int
    oldest_at: datetime


class FailureLedger:
    """One open row for each thing undone: failing again counts its attempts, success closes it."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics

    async def record(
        self,
        session: AsyncSession,
        undone: Undone,
        outage: Outage,
        photo_sha256: str | None = None,
        next_attempt_at: datetime | None = None,
    ) -> str:
        """The failure's id; within the transaction that records what else came of it.

        `next_attempt_at`: None when only an operator's retry makes another attempt.
        """
        self._metrics.attempt_failed(undone.kind, outage.reason)
        failure = await _find_open(session, undone)
        if failure is None:
            failure = Failure(**asdict(undone), photo_sha256=photo_sha256, attempts=0)
            session.add(failure)
        if not (outage.is_unasked and failure.reason):  # what was met before tells more
            failure.reason, failure.detail = outage.reason, outage.detail
        failure.request_id = current_request_id()
        failure.attempts += 1
        failure.last_attempt_at, failure.next_attempt_at = now(), next_attempt_at
        await session.flush()
        return failure.id

    async def resolve(self, session: AsyncSession, undone: Undone, outcome: str) -> None:
        """Within the transaction that records the success."""
        failure = await _find_open(session, undone)
        if failure is not None:
            failure.resolved_at, failure.outcome = now(), outcome
            failure.next_attempt_at = None

    async def resolve_faces(
        self, session: AsyncSession, face_ids: Collection[str], outcome: str
    ) -> None:
        """Whatever of these faces was undone need not be done any more."""
        theirs = update(Failure).where(
            Failure.face_id.in_(face_ids),
            Failure.kind == "enrolment",
            Failure.resolved_at.is_(None),
        )
        ended = {"resolved_at": now(), "outcome": outcome, "next_attempt_at": None}
        await session.execute(theirs.values(ended))

    async def get(self, failure_id: str) -> Failure:
        async with self._database.read() as session:
            failure = await session.get(Failure, failure_id)
        if failure is None:
            raise FailureNotFound
        return failure

    async def list(self, wanted: FailuresWanted, cursor: str | None, limit: int) -> Page[Failure]:
        async with self._database.read() as session:
            return await read_page(session, Failure, wanted.conditions(), cursor, limit)

    async def count_open(self) -> Sequence[OpenFailures]:
        """The most frequent first."""
        given_up = func.count().filter(Failure.next_attempt_at.is_(None))
        told = func.count(), given_up, func.min(Failure.created_at)
        counted = select(Failure.kind, Failure.reason, *told).where(Failure.resolved_at.is_(None))
        grouped = counted.group_by(Failure.kind, Failure.reason)
        async with self._database.read() as session:
            rows = (await session.execute(grouped.order_by(func.count().desc()))).all()
        return [OpenFailures(*row) for row in rows]


async def _find_open(session: AsyncSession, undone: Undone) -> Failure | None:
    same = [
        getattr(Failure, name).is_not_distinct_from(value) for name, value in asdict(undone).items()
    ]
    query = select(Failure).where(Failure.resolved_at.is_(None), *same).with_for_update()
    return (await session.scalars(query)).first()


async def problems_of_given_up(
    session: AsyncSession, face_ids: Collection[str]
) -> Mapping[str, Problem]:
    """Why each of the faces was given up that was."""
    theirs = select(Failure).where(Failure.face_id.in_(face_ids), *IS_GIVEN_UP)
    return {str(one.face_id): _problem(one) for one in await session.scalars(theirs)}


def _problem(failure: Failure) -> Problem:
    return named_problems(Outage).get(failure.reason, InferenceUnavailable)(failure.detail)
