"""How a search's end is written down, with the job, the failure and the leads that hang on it."""

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database
from gateway_server.failures import FailureLedger, Undone
from gateway_server.inference_answers import Match
from gateway_server.jobs import Claim, JobQueue
from gateway_server.people import read_people
from gateway_server.problems import Outage, Refusal
from gateway_server.review.leads import leads_in, record
from gateway_server.tables import Search, now


class SearchLedger:
    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        failures: FailureLedger,
        least_confidence: float,
    ) -> None:
        """`least_confidence`: of candidates who are put to reviewers."""
        self._database = database
        self._queue = queue
        self._failures = failures
        self._least_confidence = least_confidence

    async def match(
        self, claim: Claim, match: Match, timings_ms: dict[str, float], *, cached: bool
    ) -> None:
        answer = match.model_dump(mode="json", exclude={"timings_ms"})
        async with self._database.write() as session:
            people = await read_people(session, {one.person_id for one in match.candidates})
            left = people.left_of(answer)
            found = {"answer": left, "verdict": left["verdict"], "cached": cached}
            ended = {"status": "done", "problem": None, "timings_ms": timings_ms}
            photo = await _end(session, claim, **ended, **found)
            if photo is not None:
                leads = leads_in(claim.subject_id, photo, left, self._least_confidence)
                await record(session, leads)
            await self._failures.resolve(session, _undone(claim), "done")
            await self._queue.finish(session, claim)

    async def refusal(self, claim: Claim, refusal: Refusal) -> None:
        async with self._database.write() as session:
            await _end(session, claim, status="failed", problem=refusal.summary())
            await self._failures.resolve(session, _undone(claim), refusal.slug)
            await self._queue.finish(session, claim)

    async def outage(
        self, session: AsyncSession, claim: Claim, outage: Outage, next_attempt_at: datetime | None
    ) -> None:
        """Within the caller's transaction; without a next attempt it is an end."""
        search = await session.get(Search, claim.subject_id, with_for_update=True)
        if search is None:
            return
        if next_attempt_at is None:
            await _end(session, claim, status="failed", problem=outage.summary())
        await self._failures.record(
            session, _undone(claim), outage, search.photo_sha256, next_attempt_at
        )

    async def drop(self, claim: Claim) -> None:
        """Deleted since, or done by a holder whose lease had run out."""
        async with self._database.write() as session:
            await self._failures.resolve(session, _undone(claim), "done")
            await self._queue.finish(session, claim)


async def _end(session: AsyncSession, claim: Claim, **values: object) -> str | None:
    """The photo of what has ended by this; a search that is done stays done."""
    not_done = update(Search).where(Search.id == claim.subject_id, Search.status != "done")
    ending = not_done.values(finished_at=now(), **values).returning(Search.photo_sha256)
    ended: str | None = await session.scalar(ending)
    return ended


def _undone(claim: Claim) -> Undone:
    return Undone("search", search_id=claim.subject_id)
