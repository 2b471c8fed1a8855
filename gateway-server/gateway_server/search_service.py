"""A search from the stored photo to the answer: recorded, looked up or asked, recorded again.

`accept` makes the search durable and `run` brings it to its end. A search may be run again at any
time: by an operator's retry today, by whoever finds it queued tomorrow.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pydantic import ValidationError
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.auth import Caller
from gateway_server.cache import Cache
from gateway_server.database import Database
from gateway_server.failures import FailureLedger, Undone
from gateway_server.inference_answers import Match, ModelFile
from gateway_server.inference_client import InferenceClient
from gateway_server.intake import CheckedPhoto
from gateway_server.journal import current_request_id
from gateway_server.metrics import Metrics
from gateway_server.photo_archive import PhotoArchive
from gateway_server.problems import InferenceUnavailable, Problem, Refusal, SearchNotFound
from gateway_server.tables import Search, now


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


class SearchService:
    def __init__(
        self,
        database: Database,
        archive: PhotoArchive,
        inference: InferenceClient,
        cache: Cache,
        failures: FailureLedger,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._archive = archive
        self._inference = inference
        self._cache = cache
        self._failures = failures
        self._metrics = metrics

    async def accept(self, photo: CheckedPhoto, request: SearchRequest, caller: Caller) -> Search:
        """Photo and search are durable when this returns."""
        search = Search(
            status="running",
            key_id=caller.key_id,
            request_id=current_request_id(),
            photo_sha256=photo.name.sha256,
            case_reference=request.case_reference,
            purpose=request.purpose,
            **asdict(request.options),
        )
        async with self._database.write() as session:
            await self._archive.keep(session, [photo])
            session.add(search)
        return search

    async def run(self, search: Search) -> None:
        """Bring the search to its end, done or failed; why it failed is recorded and raised."""
        started_s = time.perf_counter()
        try:
            match, cached = await self._find(search)
        except InferenceUnavailable as outage:
            failure_id = await self._record_outage(search, outage)
            raise outage.about(search_id=search.id, failure_id=failure_id) from outage
        except Problem as problem:
            await self._record_problem(search, problem)
            raise problem.about(search_id=search.id) from problem
        timings_ms = _timings(match, cached=cached, total_s=time.perf_counter() - started_s)
        await self._record_match(search, match, timings_ms, cached=cached)

    async def run_again(self, search_id: str) -> None:
        async with self._database.write() as session:
            search = await session.get(Search, search_id)
            if search is None:
                raise SearchNotFound
            if search.status == "done":
                await self._failures.resolve(session, _undone(search), "done")
                return
            search.status, search.problem = "running", None
            await self._failures.begin_attempt(session, _undone(search))
        await self.run(search)

    async def _find(self, search: Search) -> tuple[Match, bool]:
        """The match, and whether it came from the cache."""
        gallery = await self._inference.gallery()
        known = await self._look_up(_cache_key(search, gallery.models, gallery.version))
        if known is not None:
            return known, True
        photo = await self._archive.read(search.photo_sha256)
        match = await self._inference.match(photo, asdict(_options(search)))
        key = _cache_key(search, gallery.models, match.gallery.version)
        await self._cache.put(key, match.model_dump_json().encode())
        return match, False

    async def _look_up(self, key: str) -> Match | None:
        kept = await self._cache.get(key)
        self._metrics.cache_looked_up(hit=kept is not None)
        if kept is None:
            return None
        try:
            return Match.model_validate_json(kept)
        except ValidationError:  # another release of the gateway wrote it
            return None

    async def _record_match(
        self, search: Search, match: Match, timings_ms: dict[str, float], *, cached: bool
    ) -> None:
        self._metrics.search_ended("cached" if cached else "done")
        answer = match.model_dump(mode="json", exclude={"timings_ms"})
        async with self._database.write() as session:
            found = {"answer": answer, "timings_ms": timings_ms, "cached": cached}
            await _end(session, search, status="done", problem=None, **found)
            await self._failures.resolve(session, _undone(search), "done")

    async def _record_problem(self, search: Search, problem: Problem) -> None:
        self._metrics.search_ended(problem.slug)
        async with self._database.write() as session:
            await _end(session, search, status="failed", problem=problem.summary())
            if isinstance(problem, Refusal):  # final; our own outage leaves a failure open
                await self._failures.resolve(session, _undone(search), problem.slug)

    async def _record_outage(self, search: Search, outage: InferenceUnavailable) -> str:
        self._metrics.search_ended(outage.reason)
        async with self._database.write() as session:
            await _end(session, search, status="failed", problem=outage.summary())
            return await self._failures.record(
                session, _undone(search), outage, search.photo_sha256
            )


async def _end(session: AsyncSession, search: Search, **values: object) -> None:
    """A search that is done stays done, whatever a second run met; one given up may be done."""
    not_done = update(Search).where(Search.id == search.id, Search.status != "done")
    await session.execute(not_done.values(finished_at=now(), **values))


def _options(search: Search) -> MatchOptions:
    return MatchOptions(search.top_k, search.model, search.face)


def _undone(search: Search) -> Undone:
    return Undone("search", search_id=search.id)


def _cache_key(search: Search, models: Mapping[str, ModelFile], gallery_version: int) -> str:
    """Everything that the answer depends on; any enrolment or deletion makes another version."""
    weights = sorted((name, file.sha256) for name, file in models.items())
    parts = [search.photo_sha256, weights, gallery_version, asdict(_options(search))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _timings(match: Match, *, cached: bool, total_s: float) -> dict[str, float]:
    """The inference tier's stages, unless it was not asked, and the gateway's own total."""
    stages = {} if cached else match.timings_ms
    return {**stages, "total": round(total_s * 1000, 3)}
