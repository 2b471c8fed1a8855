"""A search from the stored photo to the answer: recorded, looked up or asked, recorded again.

`accept` makes the search durable, with the job that brings it to its end: at once where there is
room, later where the inference tier is busy or away, by whichever process claims it.
"""

import asyncio
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.audit import append
from gateway_server.cache import Cache
from gateway_server.database import Database
from gateway_server.inference_answers import Gallery, Match
from gateway_server.inference_client import InferenceClient
from gateway_server.intake import CheckedPhoto
from gateway_server.jobs import Claim, JobQueue
from gateway_server.journal import current_request_id
from gateway_server.metrics import Metrics
from gateway_server.one_time import Made
from gateway_server.photo_archive import PhotoArchive
from gateway_server.problems import Outage, Refusal, SearchNotFound
from gateway_server.search_ledger import SearchLedger
from gateway_server.tables import Search
from gateway_server.texts import fold

KNOWN_WITHIN_S: Final = 2.0


@dataclass(frozen=True)
class MatchOptions:
    top_k: int
    model: str
    face: int | None


@dataclass(frozen=True)
class SearchRequest:
    options: MatchOptions
    case_reference: str | None
    purpose: str | None

    @property
    def case_text(self) -> str | None:
        """By which a part of the case reference is found, whatever its case."""
        return None if self.case_reference is None else fold(self.case_reference)


class SearchService:
    def __init__(
        self,
        database: Database,
        archive: PhotoArchive,
        inference: InferenceClient,
        cache: Cache,
        queue: JobQueue,
        ledger: SearchLedger,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._archive = archive
        self._inference = inference
        self._cache = cache
        self._queue = queue
        self._ledger = ledger
        self._metrics = metrics
        self._seen: Gallery | None = None  # last

    async def accept(
        self, photo: CheckedPhoto, request: SearchRequest, made: Made, *, held: bool
    ) -> Claim | None:
        """Photo, search and the work to do are durable when this returns.

        None: a request that was broken off has made this very search already.
        """
        await asyncio.to_thread(photo.spool.sync)  # while nobody waits for this transaction
        async with self._database.write() as session:
            if await session.get(Search, made.subject_id) is not None:
                return None
            await self._archive.keep(session, [photo])
            session.add(_new_search(photo, request, made))
            claim = await self._queue.add(session, "search", made.subject_id, held=held)
            await append(
                session,
                "search",
                search_id=made.subject_id,
                photo_sha256=photo.name.sha256,
                purpose=request.purpose,
            )
            return claim

    async def again(self, session: AsyncSession, search_id: str, *, held: bool) -> Claim:
        """A failed search queued anew, within the caller's transaction."""
        search = await session.get(Search, search_id, with_for_update=True)
        if search is None:
            raise SearchNotFound
        if search.status == "failed":
            search.status, search.problem, search.finished_at = "queued", None, None
        return await self._queue.hurry(session, "search", search_id, held=held)

    async def run(self, claim: Claim) -> None:
        """Bring the search to its end; a photo without an answer is an end, an outage is not."""
        started_s = time.perf_counter()
        async with self._database.read() as session:
            search = await session.get(Search, claim.subject_id)
        if search is None or search.status == "done":
            await self._ledger.drop(claim)
            return
        try:
            match, cached = await self._find(search)
        except Refusal as refusal:
            await self._ledger.refusal(claim, refusal)
            self._metrics.search_ended(refusal.slug)
            raise
        timings_ms = _timings(match, cached=cached, total_s=time.perf_counter() - started_s)
        await self._ledger.match(claim, match, timings_ms, cached=cached)
        self._metrics.search_ended("cached" if cached else "done")

    async def miss(
        self, session: AsyncSession, claim: Claim, outage: Outage, next_attempt_at: datetime | None
    ) -> None:
        self._metrics.search_ended(outage.reason)
        await self._ledger.outage(session, claim, outage, next_attempt_at)

    async def known_match(self, photo_sha256: str, options: MatchOptions) -> Match | None:
        """The answer that the cache holds for the gallery as it is now, if that can be told.

        The inference tier is asked only where there was one for the gallery as it was last seen.
        """
        seen = self._seen
        if seen is None:
            return None
        known = await self._look_up(_key(photo_sha256, options, seen))
        if known is None:
            return None
        try:
            async with asyncio.timeout(KNOWN_WITHIN_S):
                gallery = await self._gallery()
        except (Outage, TimeoutError):  # the long way makes the photo safe before it waits
            return None
        if gallery == seen:
            return known
        return await self._look_up(_key(photo_sha256, options, gallery))

    async def _gallery(self) -> Gallery:
        self._seen = await self._inference.gallery()
        return self._seen

    async def _find(self, search: Search) -> tuple[Match, bool]:
        """The match, and whether it came from the cache; of equal searches one alone asks."""
        gallery = await self._gallery()
        key = _key(search.photo_sha256, _options(search), gallery)
        known = await self._look_up(key)
        self._metrics.cache_looked_up(hit=known is not None)
        if known is not None:
            return known, True
        async with self._cache.turn(key):
            found_meanwhile = await self._look_up(key)
            if found_meanwhile is not None:
                self._metrics.cache_looked_up(hit=True)
                return found_meanwhile, True
            return await self._ask(search, gallery), False

    async def _ask(self, search: Search, gallery: Gallery) -> Match:
        photo = await self._archive.read(search.photo_sha256)
        match = await self._inference.match(photo, asdict(_options(search)))
        then = gallery.model_copy(update={"version": match.gallery.version})
        key = _key(search.photo_sha256, _options(search), then)
        await self._cache.put(key, match.model_dump_json().encode())
        return match

    async def _look_up(self, key: str) -> Match | None:
        kept = await self._cache.get(key)
        if kept is None:
            return None
        try:
            return Match.model_validate_json(kept)
        except ValidationError:  # another release of the gateway wrote it
            return None


def _new_search(photo: CheckedPhoto, request: SearchRequest, made: Made) -> Search:
    return Search(
        id=made.subject_id,
        status="queued",
        key_id=made.caller.key_id,
        request_id=current_request_id(),
        photo_sha256=photo.name.sha256,
        case_reference=request.case_reference,
        case_text=request.case_text,
        purpose=request.purpose,
        **asdict(request.options),
    )


def _options(search: Search) -> MatchOptions:
    return MatchOptions(search.top_k, search.model, search.face)


def _key(photo_sha256: str, options: MatchOptions, gallery: Gallery) -> str:
    """Everything that the answer depends on; any enrolment or deletion makes another version."""
    weights = sorted((name, file.sha256) for name, file in gallery.models.items())
    parts = [photo_sha256, weights, gallery.version, asdict(options)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _timings(match: Match, *, cached: bool, total_s: float) -> dict[str, float]:
    """The inference tier's stages, unless it was not asked, and the gateway's own total."""
    stages = {} if cached else match.timings_ms
    return {**stages, "total": round(total_s * 1000, 3)}
