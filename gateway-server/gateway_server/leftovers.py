"""What a process that was killed has left half done, entered into the ledger of failures.

Several processes may share one database: only what is too old to be anybody's living work is taken.
"""

import asyncio
import logging
from datetime import timedelta
from typing import NoReturn

from sqlalchemy import ColumnElement, and_, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database
from gateway_server.failures import FailureLedger, Undone
from gateway_server.problems import InferenceUnavailable, Outage
from gateway_server.tables import Face, Failure, Search, now

INTERRUPTED = "interrupted"
_log = logging.getLogger(__name__)


class Leftovers:
    def __init__(self, database: Database, failures: FailureLedger, age_s: float) -> None:
        """`age_s`: older than this, no call that was begun can still be under way."""
        self._database = database
        self._failures = failures
        self._age = timedelta(seconds=age_s)

    async def watch(self) -> NoReturn:
        """A process that is started at once after a crash meets leftovers that are still young."""
        while True:
            await asyncio.sleep(self._age.total_seconds())
            try:
                await self.adopt()
            except Outage as outage:
                _log.warning("leftovers wait: %s", outage.detail)

    async def adopt(self) -> None:
        """End abandoned searches as failed and give abandoned pending faces their failure."""
        async with self._database.write() as session:
            searches = await self._adopt_searches(session)
            faces = await self._adopt_faces(session)
        if searches or faces:
            _log.warning("leftovers", extra={"searches": searches, "faces": faces})

    async def _adopt_searches(self, session: AsyncSession) -> int:
        """A retry counts from its own beginning, which is its failure's last attempt."""
        since = now() - self._age
        retried = _open_failure(Failure.search_id == Search.id, Failure.last_attempt_at >= since)
        abandoned = select(Search).where(
            Search.status == "running", Search.created_at < since, ~retried
        )
        found = (await session.scalars(abandoned.with_for_update(skip_locked=True))).all()
        for search in found:
            undone = Undone("search", search_id=search.id)
            outage = _interrupted("search")
            search.status, search.problem = "failed", outage.summary()
            search.finished_at = now()
            await self._failures.record(session, undone, outage, search.photo_sha256)
        return len(found)

    async def _adopt_faces(self, session: AsyncSession) -> int:
        """One that is alive after all loses nothing: its end resolves the failure."""
        listed = _open_failure(Failure.face_id == Face.id, Failure.kind == "enrolment")
        abandoned = select(Face).where(
            Face.status == "pending", Face.created_at < now() - self._age, ~listed
        )
        found = (await session.scalars(abandoned.with_for_update(skip_locked=True))).all()
        for face in found:
            undone = Undone("enrolment", person_id=face.person_id, face_id=face.id)
            await self._failures.record(
                session, undone, _interrupted("enrolment"), face.photo_sha256
            )
        return len(found)


def _open_failure(*wanted: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(and_(Failure.resolved_at.is_(None), *wanted))


def _interrupted(what: str) -> InferenceUnavailable:
    return InferenceUnavailable(f"The gateway stopped during the {what}", reason=INTERRUPTED)
