"""A search from the stored photo to the answer: recorded, looked up or asked, recorded again.

`accept` makes the search durable and `run` brings it to its end. A search may be run again at any
time: by an operator's retry today, by whoever finds it queued tomorrow.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.auth import Caller
from gateway_server.cache import Cache
from gateway_server.database import Database, Face, Feedback, Person, Search, now
from gateway_server.failures import FailureLedger, Undone
from gateway_server.inference_client import InferenceClient, Match, ModelFile
from gateway_server.intake import CheckedPhoto
from gateway_server.journal import current_request_id
from gateway_server.metrics import Metrics
from gateway_server.photo_archive import PhotoArchive, StoredPhoto
from gateway_server.problems import (
    CandidateNotInSearch,
    FaceNotFound,
    InferenceUnavailable,
    PersonNotFound,
    Problem,
    SearchNotDone,
    SearchNotFound,
)
from gateway_server.schemas import SearchOut


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

    async def run(self, search: Search) -> SearchOut:
        """Bring the search to its end, done or failed; why it failed is recorded and raised."""
        started_s = time.perf_counter()
        try:
            match, cached = await self._find(search)
        except InferenceUnavailable as outage:
            failure_id = await self._record_outage(search, outage)
            raise outage.about(search_id=search.id, failure_id=failure_id) from outage
        except Problem as problem:
            await self._record_refusal(search, problem)
            raise problem.about(search_id=search.id) from problem
        timings_ms = _timings(match, cached=cached, total_s=time.perf_counter() - started_s)
        await self._record_match(search, match, timings_ms, cached=cached)
        return await self._present(search.id)

    async def run_again(self, search_id: str) -> None:
        async with self._database.write() as session:
            search = await session.get(Search, search_id)
            if search is None:
                raise SearchNotFound
            search.status, search.problem = "running", None
        await self.run(search)

    async def get(self, search_id: str, caller: Caller) -> SearchOut:
        await self._own(search_id, caller)
        return await self._present(search_id)

    async def photo(self, search_id: str, caller: Caller) -> StoredPhoto:
        search = await self._own(search_id, caller)
        return await self._archive.read(search.photo_sha256)

    async def heatmap(self, search_id: str, caller: Caller) -> bytes:
        """PNG: the face that was searched for under its heatmap."""
        search = await self._own(search_id, caller)
        answer = _answer(search)
        photo = await self._archive.read(search.photo_sha256)
        options = {"model": search.model, "face": answer["face"]}
        return await self._inference.heatmap(photo, options)

    async def candidate_heatmap(self, search_id: str, person_id: str, caller: Caller) -> bytes:
        """PNG: the enrolled face that matched under its heatmap."""
        search = await self._own(search_id, caller)
        candidate = _candidate(search, person_id)
        if candidate is None:
            raise PersonNotFound("This person is not a candidate of this search")
        async with self._database.read() as session:
            face = await session.get(Face, candidate["face_id"])
        if face is None:
            raise FaceNotFound("The face that matched has been deleted since")
        photo = await self._archive.read(face.photo_sha256)
        options = {"model": search.model, "face": face.face_index}
        return await self._inference.heatmap(photo, options)

    async def judge(self, search_id: str, person_id: str, verdict: str, caller: Caller) -> bool:
        """Keep the caller's verdict on a candidate; True if it is their first on this one."""
        search = await self._own(search_id, caller)
        if _candidate(search, person_id) is None:
            raise CandidateNotInSearch
        judged = {"search_id": search_id, "person_id": person_id, "key_id": caller.key_id}
        async with self._database.write() as session:
            await session.get(Search, search_id, with_for_update=True)  # one verdict at a time
            earlier = await session.scalar(select(Feedback).filter_by(**judged))
            if earlier is None:
                session.add(Feedback(**judged, verdict=verdict))
            else:
                earlier.verdict = verdict
        return earlier is None

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
            await _end(session, search, status="done", **found)
            await self._failures.resolve(session, _undone(search), "done")

    async def _record_refusal(self, search: Search, problem: Problem) -> None:
        self._metrics.search_ended(problem.slug)
        async with self._database.write() as session:
            await _end(session, search, status="failed", problem=problem.summary())
            await self._failures.resolve(session, _undone(search), problem.slug)

    async def _record_outage(self, search: Search, outage: InferenceUnavailable) -> str:
        self._metrics.search_ended(outage.reason)
        async with self._database.write() as session:
            await _end(session, search, status="failed", problem=outage.summary())
            return await self._failures.record(
                session, _undone(search), outage, search.photo_sha256
            )

    async def _own(self, search_id: str, caller: Caller) -> Search:
        """The search, if the caller may see it; another's is not told from one that never was."""
        async with self._database.read() as session:
            search = await session.get(Search, search_id)
        if search is None or not (caller.is_operator or search.key_id == caller.key_id):
            raise SearchNotFound
        return search

    async def _present(self, search_id: str) -> SearchOut:
        async with self._database.read() as session:
            search = await session.get_one(Search, search_id)
            found = search.answer["candidates"] if search.answer else []
            names = await _read_names(session, [one["person_id"] for one in found])
        return SearchOut.from_row(search, names)


async def _read_names(session: AsyncSession, person_ids: Sequence[str]) -> dict[str, str]:
    rows = await session.execute(select(Person.id, Person.name).where(Person.id.in_(person_ids)))
    return {row.id: row.name for row in rows}


async def _end(session: AsyncSession, search: Search, **values: object) -> None:
    """A search that is done stays done, whatever a second run of it met."""
    still_running = update(Search).where(Search.id == search.id, Search.status == "running")
    await session.execute(still_running.values(finished_at=now(), **values))


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


def _answer(search: Search) -> dict[str, Any]:
    if search.status != "done" or search.answer is None:
        raise SearchNotDone(f"The search is {search.status}")
    return search.answer


def _candidate(search: Search, person_id: str) -> dict[str, Any] | None:
    found = (one for one in _answer(search)["candidates"] if one["person_id"] == person_id)
    return next(found, None)
