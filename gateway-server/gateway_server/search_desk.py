"""Where searches are handed in: answered at once if it can be done, for later if it cannot."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from gateway_server.auth import Caller
from gateway_server.intake import CheckedPhoto
from gateway_server.jobs import JobQueue
from gateway_server.known_searches import KnownSearches
from gateway_server.one_time import Given, Made, Once
from gateway_server.problems import (
    TYPE_PREFIX,
    Outage,
    Refusal,
    SearchNotFound,
    TooBusy,
    named_problems,
)
from gateway_server.schemas import ProblemSummary, SearchOut
from gateway_server.search_reader import SearchReader
from gateway_server.search_service import SearchRequest, SearchService
from gateway_server.workers import Workers

DEPTH_SHARED_FOR_S: Final = 1.0
LOOK_EVERY_S: Final = 0.5
WATCHED_FOR_S: Final = 600.0


class SearchDesk:
    def __init__(
        self,
        searches: SearchService,
        known: KnownSearches,
        reader: SearchReader,
        queue: JobQueue,
        workers: Workers,
        wait_s: float,
        max_waiting: int,
    ) -> None:
        self._searches = searches
        self._known = known
        self._reader = reader
        self._queue = queue
        self._workers = workers
        self._wait_s = wait_s
        self._max_waiting = max_waiting
        self._waiting = 0
        self._counted_at_s = float("-inf")

    async def check_room(self) -> None:
        """TooBusy before a photo is read, rather than a promise that takes hours."""
        if time.monotonic() - self._counted_at_s > DEPTH_SHARED_FOR_S:
            self._counted_at_s = time.monotonic()
            self._waiting = (await self._queue.depth()).waiting
        if self._waiting >= self._max_waiting:
            raise TooBusy(f"{self._waiting} searches are waiting; {self._max_waiting} may")

    async def recall(
        self,
        photo: CheckedPhoto,
        request: SearchRequest,
        made: Made,
        once: Once | None,
        give: Callable[[SearchOut], Given],
    ) -> Given | None:
        """At once, where the answer is known; else None, and nothing has happened."""
        return await self._known.answer(photo, request, made, once, give)

    async def hand_in(
        self, photo: CheckedPhoto, request: SearchRequest, made: Made, *, wait: bool
    ) -> SearchOut:
        """The search as it stands when it has ended, or when there is no more waiting for it.

        Raises the refusal that it met, naming the search.
        """
        with self._workers.room_for(1) as held:
            claim = await self._searches.accept(photo, request, made, held=held)
            begun = self._workers.begin([claim] if claim else [])
        ended = await self._workers.wait(begun, self._wait_s if wait else 0)
        problem = ended.get(made.subject_id)
        if isinstance(problem, Refusal):
            raise problem.about(search_id=made.subject_id)
        search = await self._reader.get(made.subject_id, made.caller)
        if search.problem is not None and (refusal := refusal_of(search.problem)) is not None:
            raise refusal.about(search_id=made.subject_id)  # met by another process
        return search

    async def watch(self, search_id: str, caller: Caller) -> AsyncIterator[SearchOut]:
        """The search now, and again whenever its status has changed, until it has ended."""
        told, until_s = None, time.monotonic() + WATCHED_FOR_S
        while time.monotonic() < until_s and told not in {"done", "failed"}:
            try:
                search = await self._reader.get(search_id, caller)
            except SearchNotFound:
                return
            except Outage:
                search = None
            if search is not None and search.status != told:
                told = search.status
                yield search
            else:
                await asyncio.sleep(LOOK_EVERY_S)


def refusal_of(summary: ProblemSummary) -> Refusal | None:
    """The refusal that a failed search's row tells of; None for an outage."""
    kind = named_problems(Refusal).get(summary.type.removeprefix(TYPE_PREFIX))
    refusal = kind(summary.detail) if kind is not None else None
    return refusal if isinstance(refusal, Refusal) else None
