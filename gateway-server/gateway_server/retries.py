"""Making good what was given up, or waits for its next attempt, when an operator asks for it."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database
from gateway_server.enrolment import Enrolment
from gateway_server.failures import FailureLedger, Undone
from gateway_server.jobs import Claim
from gateway_server.problems import FailureResolved, NotFound
from gateway_server.removals import Removals
from gateway_server.search_service import SearchService
from gateway_server.tables import Failure
from gateway_server.workers import Workers

MOST_AT_ONCE = 500


class Retries:
    def __init__(
        self,
        database: Database,
        failures: FailureLedger,
        searches: SearchService,
        enrolment: Enrolment,
        removals: Removals,
        workers: Workers,
        wait_s: float,
    ) -> None:
        self._database = database
        self._failures = failures
        self._searches = searches
        self._enrolment = enrolment
        self._removals = removals
        self._workers = workers
        self._wait_s = wait_s

    async def retry(self, failure_id: str) -> Failure:
        """The failure as it stands after a short while: resolved, or with another attempt."""
        failure = await self._failures.get(failure_id)
        if failure.resolved_at is not None:
            raise FailureResolved(f"It ended as {failure.outcome}")
        with self._workers.room_for(1) as held:
            async with self._database.write() as session:
                claim = await self._queue(session, failure, held=held)
            begun = self._workers.begin([claim] if claim else [])
        await self._workers.wait(begun, self._wait_s)
        return await self._failures.get(failure_id)

    async def retry_all(self) -> int:
        """How many open failures were queued anew, or closed as there is nothing to do any more."""
        done, last = 0, ""
        while failures := await self._open_after(last):
            for failure in failures:  # one by one: each locks what it is about
                async with self._database.write() as session:
                    await self._queue(session, failure, held=False)
            done, last = done + len(failures), failures[-1].id
        self._workers.begin([])
        return done

    async def _open_after(self, last: str) -> Sequence[Failure]:
        found = select(Failure).where(Failure.resolved_at.is_(None), Failure.id > last)
        async with self._database.read() as session:
            ordered = found.order_by(Failure.id).limit(MOST_AT_ONCE)
            return (await session.scalars(ordered)).all()

    async def _queue(self, session: AsyncSession, failure: Failure, *, held: bool) -> Claim | None:
        undone = Undone(
            failure.kind,
            failure.search_id,
            failure.person_id,
            failure.face_id,
            failure.removal_id,
        )
        try:
            return await self._again(session, undone, held=held)
        except NotFound:
            await self._failures.resolve(session, undone, "deleted")
            return None

    async def _again(self, session: AsyncSession, undone: Undone, *, held: bool) -> Claim:
        match undone:
            case Undone(kind="search", search_id=str(search_id)):
                return await self._searches.again(session, search_id, held=held)
            case Undone(kind="enrolment", face_id=str(face_id)):
                return await self._enrolment.again(session, face_id, held=held)
            case Undone(kind="deletion", removal_id=str(removal_id)):
                return await self._removals.again(session, removal_id, held=held)
        raise NotFound("There is nothing to do again")
