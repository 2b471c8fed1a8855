"""The ledger of calls to the inference tier without an answer, each to be made good later."""

from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database
from gateway_server.journal import current_request_id
from gateway_server.paging import Page, read_page
from gateway_server.problems import FailureNotFound, Outage
from gateway_server.tables import Failure, FailureKind, now


@dataclass(frozen=True)
class Undone:
    """What the missing answer has left undone."""

    kind: FailureKind
    search_id: str | None = None
    person_id: str | None = None
    face_id: str | None = None


class FailureLedger:
    """One open row for each thing undone: failing again counts its attempts, success closes it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self,
        session: AsyncSession,
        undone: Undone,
        outage: Outage,
        photo_sha256: str | None = None,
    ) -> str:
        """The failure's id; within the transaction that records what else came of it."""
        failure = await _find_open(session, undone)
        if failure is None:
            failure = Failure(**asdict(undone), photo_sha256=photo_sha256, attempts=0)
            session.add(failure)
        failure.reason, failure.detail = outage.reason, outage.detail
        failure.request_id = current_request_id()
        failure.attempts += 1
        failure.last_attempt_at = now()
        await session.flush()
        return failure.id

    async def begin_attempt(self, session: AsyncSession, undone: Undone) -> None:
        """From now on it is somebody's living work again; see leftovers.py."""
        failure = await _find_open(session, undone)
        if failure is not None:
            failure.last_attempt_at = now()

    async def resolve(self, session: AsyncSession, undone: Undone, outcome: str) -> None:
        """Within the transaction that records the success."""
        failure = await _find_open(session, undone)
        if failure is not None:
            failure.resolved_at, failure.outcome = now(), outcome

    async def get(self, failure_id: str) -> Failure:
        async with self._database.read() as session:
            failure = await session.get(Failure, failure_id)
        if failure is None:
            raise FailureNotFound
        return failure

    async def list(self, *, only_open: bool, cursor: str | None, limit: int) -> Page[Failure]:
        wanted = [Failure.resolved_at.is_(None)] if only_open else []
        async with self._database.read() as session:
            return await read_page(session, Failure, wanted, cursor, limit)


async def _find_open(session: AsyncSession, undone: Undone) -> Failure | None:
    same = [
        getattr(Failure, name).is_not_distinct_from(value) for name, value in asdict(undone).items()
    ]
    query = select(Failure).where(Failure.resolved_at.is_(None), *same).with_for_update()
    return (await session.scalars(query)).first()
