"""The tasks of this process that work off the queue: bounded, renewed, drained at the end.

A request that has just made a job may begin it here at once and wait for its end. Neither a phone
that hangs up nor a process that dies takes the job along.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn, Protocol

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database
from gateway_server.jobs import Claim, JobQueue, LeaseLost
from gateway_server.journal import in_request
from gateway_server.problems import DatabaseUnavailable, Outage, Problem
from gateway_server.tables import JobKind, now

IDLE_POLL_S = 0.5
RENEWALS_PER_LEASE = 3
_log = logging.getLogger(__name__)


class Handler(Protocol):
    """What a kind of job consists of."""

    async def run(self, claim: Claim) -> None:
        """Bring it to its end, and finish the claim in the transaction that records the end.

        A refusal is an end too: recorded, then raised for whoever waits. An Outage leaves the job
        to another attempt. LeaseLost: it is another's by now.
        """

    async def miss(
        self, session: AsyncSession, claim: Claim, outage: Outage, next_attempt_at: datetime | None
    ) -> None:
        """Record an attempt without success; None: there will be no other."""


@dataclass(frozen=True)
class Pace:
    concurrency: int
    lease_s: float
    attempts: int
    first_pause_s: float
    longest_pause_s: float
    drain_s: float

    def pause_s(self, attempts: int) -> float:
        """Before the next attempt: twice the last one, and nobody at the same moment."""
        doubled = self.first_pause_s * 2.0 ** min(attempts, 30)
        return min(self.longest_pause_s, doubled) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


Ended = asyncio.Task[Problem | None]
"""None: well. A refusal: for good. An outage: another attempt will be made."""


class Workers:
    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        handlers: Mapping[JobKind, Handler],
        pace: Pace,
        held_up_s: Callable[[], float],
        in_doubt: Callable[[], bool],
    ) -> None:
        """`held_up_s`: how long no attempt makes sense, because the inference tier is away.

        `in_doubt`: whether it may be back, for one alone to find out.
        """
        self._database = database
        self._queue = queue
        self._handlers = handlers
        self._pace = pace
        self._held_up_s = held_up_s
        self._in_doubt = in_doubt
        self._running: dict[Ended, Claim] = {}
        self._promised = 0
        self._places = asyncio.Semaphore(pace.concurrency)
        self._wake = asyncio.Event()
        self._stopping = False

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Claims while the block lasts; at its end, what runs is finished or given back."""
        claiming = asyncio.create_task(self._claim_forever())
        renewing = asyncio.create_task(self._renew_forever())
        try:
            yield
        finally:
            self._stopping = True
            self._wake.set()
            await asyncio.wait([claiming], timeout=self._pace.drain_s)  # what it claims, it begins
            claiming.cancel()
            await asyncio.gather(claiming, return_exceptions=True)
            await self._drain()
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def _free(self) -> int:
        places = 1 if self._in_doubt() else self._pace.concurrency
        return places - len(self._running) - self._promised

    @contextmanager
    def room_for(self, jobs: int) -> Iterator[bool]:
        """Whether they may begin here at once; the room is kept while the block lasts.

        They may be more than there are places, the photos of one person: some then wait, held.
        """
        granted = self._free >= (jobs if self._in_doubt() else 1)
        granted = granted and not self._stopping and self._held_up_s() <= 0
        self._promised += jobs * granted
        try:
            yield granted
        finally:
            self._promised -= jobs * granted

    def begin(self, claims: Iterable[Claim]) -> Mapping[str, Ended]:
        """Start the jobs that are held here, by their subject; others wait for their turn."""
        self._wake.set()
        return {claim.subject_id: self._start(claim) for claim in claims if claim.holder}

    @staticmethod
    async def wait(begun: Mapping[str, Ended], seconds: float) -> Mapping[str, Problem | None]:
        """How those ended that did so in time."""
        if not begun:
            return {}
        await asyncio.wait(begun.values(), timeout=seconds)
        ended = {one: task for one, task in begun.items() if task.done() and not task.cancelled()}
        return {one: task.result() for one, task in ended.items() if task.exception() is None}

    def _start(self, claim: Claim) -> Ended:
        with in_request(claim.request_id):
            task = asyncio.create_task(self._do(claim))
        self._running[task] = claim
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: Ended) -> None:
        self._running.pop(task)
        self._wake.set()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, LeaseLost):
            _log.info("another has the job by now")
        elif error is not None:
            _log.error("a job was left to its lease", exc_info=error)

    async def _do(self, claim: Claim) -> Problem | None:
        try:
            async with self._places:
                await self._handlers[claim.kind].run(claim)
        except DatabaseUnavailable as outage:  # nothing can be recorded: the lease will run out
            return outage
        except Outage as outage:
            return await self._miss(claim, outage)
        except Problem as refusal:
            return refusal
        return None

    async def _miss(self, claim: Claim, outage: Outage) -> Problem:
        if outage.is_unasked:  # its turn comes with the next attempt that makes sense, uncounted
            pause_s = self._held_up_s() * random.uniform(1.0, 1.5)  # noqa: S311 - jitter
            return await self._record(claim, outage, pause_s, counted=False)
        if claim.attempts + 1 < self._pace.attempts:
            return await self._record(claim, outage, self._pace.pause_s(claim.attempts))
        return await self._record(claim, outage, None)

    async def _record(
        self, claim: Claim, outage: Outage, pause_s: float | None, *, counted: bool = True
    ) -> Problem:
        """What it is about is locked before the job, here and wherever jobs are made."""
        later = None if pause_s is None else now() + timedelta(seconds=pause_s)
        try:
            async with self._database.write() as session:
                await self._handlers[claim.kind].miss(session, claim, outage, later)
                if later is None:
                    await self._queue.finish(session, claim)
                else:
                    await self._queue.postpone(session, claim, later, counted=counted)
        except DatabaseUnavailable as away:
            return away
        return outage

    async def _claim_forever(self) -> None:
        """Until the process stops; a claim under way is not broken off by that."""
        while True:
            pause_s = IDLE_POLL_S
            try:
                await self._claim_some()
            except (Outage, SQLAlchemyError):  # whatever it was, the queue is not left alone
                _log.warning("the queue waits", exc_info=True)
                pause_s = self._pace.first_pause_s
            self._wake.clear()
            pause_s = 0.0 if self._stopping else pause_s
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):  # wait_for would swallow our cancellation
                    await self._wake.wait()
            if self._stopping:
                return

    async def _claim_some(self) -> None:
        """One alone finds out whether the inference tier is back; then as many as there is room."""
        if self._free > 0 and self._held_up_s() <= 0:
            for claim in await self._queue.claim(self._free):
                self._start(claim)

    async def _renew_forever(self) -> NoReturn:
        while True:
            await asyncio.sleep(self._pace.lease_s / RENEWALS_PER_LEASE)
            try:
                await self._queue.renew(list(self._running.values()))
            except (Outage, SQLAlchemyError):
                _log.warning("leases are not renewed", exc_info=True)

    async def _drain(self) -> None:
        """What does not end in time is given back, for another process to do again."""
        if self._running:
            await asyncio.wait(list(self._running), timeout=self._pace.drain_s)
        left = dict(self._running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for claim in left.values():
            try:
                await self._queue.give_back(claim)
            except (LeaseLost, Outage):
                continue
