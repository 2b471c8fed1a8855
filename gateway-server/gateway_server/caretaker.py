"""What is due once a day, done by one gateway of those that share a database."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Final, NoReturn

from sqlalchemy.dialects import postgresql, sqlite

from gateway_server.database import Database, on_postgresql
from gateway_server.problems import Outage
from gateway_server.retention import Retention
from gateway_server.tables import Chore, now

DAILY: Final = timedelta(days=1)
LEASE: Final = timedelta(hours=2)
FIRST_LOOK_S = 60.0  # a start has other things to do first
LOOK_EVERY_S = 900.0
_RETENTION = "retention"
_log = logging.getLogger(__name__)


class Caretaker:
    def __init__(self, database: Database, retention: Retention) -> None:
        self._database = database
        self._retention = retention

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        looking = asyncio.create_task(self._look_forever())
        looking.add_done_callback(_tell_defect)
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def look(self) -> bool:
        """Whether it was due, and nobody else's, and is done."""
        if not await self._take(_RETENTION):
            return False
        swept = await self._retention.run()
        await self._end(_RETENTION)
        _log.info("the day's retention is done", extra=asdict(swept))
        return True

    async def _take(self, name: str) -> bool:
        async with self._database.write() as session:
            insert = postgresql.insert if on_postgresql(session) else sqlite.insert
            await session.execute(insert(Chore).values(name=name).on_conflict_do_nothing())
            chore = await session.get_one(Chore, name, with_for_update=True)
            is_held = chore.leased_until is not None and chore.leased_until > now()
            if is_held or (chore.done_at is not None and chore.done_at > now() - DAILY):
                return False
            chore.leased_until = now() + LEASE
            return True

    async def _end(self, name: str) -> None:
        async with self._database.write() as session:
            chore = await session.get_one(Chore, name, with_for_update=True)
            chore.done_at, chore.leased_until = now(), None

    async def _look_forever(self) -> NoReturn:
        pause_s = FIRST_LOOK_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = LOOK_EVERY_S
            try:
                await self.look()
            except Outage as outage:
                _log.warning("the day's retention waits: %s", outage.detail)


def _tell_defect(ended: "asyncio.Task[NoReturn]") -> None:
    error = None if ended.cancelled() else ended.exception()
    if error is not None:
        _log.error("the caretaker has stopped", exc_info=error)
