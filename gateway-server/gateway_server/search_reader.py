"""What a caller may see of a search, and say about it: a phone of its own, an operator of all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.audit import append, note
from gateway_server.auth import Caller
from gateway_server.database import Database
from gateway_server.inference_client import InferenceClient
from gateway_server.people import read_people
from gateway_server.photo_archive import PhotoArchive, StoredPhoto
from gateway_server.problems import (
    CandidateNotInSearch,
    FaceNotFound,
    PersonNotFound,
    SearchNotDone,
    SearchNotFound,
)
from gateway_server.review.leads import Pair, give_voice
from gateway_server.review.ruled_out import read_ruled_out
from gateway_server.schemas import SearchOut
from gateway_server.tables import Face, Feedback, Job, Person, Search, is_id, now
from gateway_server.thumbnails import Thumbnails


@dataclass(frozen=True)
class Judged:
    person_id: str
    """Of today: who was merged meanwhile is judged as whom they became."""
    is_first: bool
    """The caller's first verdict on this candidate."""


class SearchReader:
    def __init__(
        self,
        database: Database,
        archive: PhotoArchive,
        thumbnails: Thumbnails,
        inference: InferenceClient,
        least_confidence: float,
    ) -> None:
        """`least_confidence`: of what is put to reviewers."""
        self._least_confidence = least_confidence
        self._database = database
        self._archive = archive
        self._thumbnails = thumbnails
        self._inference = inference

    async def get(self, search_id: str, caller: Caller) -> SearchOut:
        """With today's names, not those of the day of the search."""
        async with self._database.read() as session:
            row, is_held = await _read_with_its_job(session, search_id)
            search = _if_allowed(row, caller)
            found = search.answer["candidates"] if search.answer else []
            names = await _read_names(session, [one["person_id"] for one in found])
            ruled_out = await read_ruled_out(session, {search.photo_sha256}, self._least_confidence)
        is_running = search.status == "queued" and is_held
        return SearchOut.from_row(search, names, ruled_out, is_running=is_running)

    async def photo(self, search_id: str, caller: Caller) -> StoredPhoto:
        search = await self.find(search_id, caller)
        note(photo_sha256=search.photo_sha256)
        return await self._archive.read(search.photo_sha256)

    async def thumbnail(self, search_id: str, caller: Caller) -> StoredPhoto:
        """The face that was searched for, as far as one was said."""
        search = await self.find(search_id, caller)
        note(photo_sha256=search.photo_sha256)
        return await self._thumbnails.of(search.photo_sha256, search.face)

    async def heatmap(self, search_id: str, caller: Caller) -> bytes:
        """PNG: the face that was searched for under its heatmap."""
        search = await self.find(search_id, caller)
        face_index = _answer(search)["face"]
        return await self._explain(search.photo_sha256, search.model, face_index)

    async def candidate_photo(self, search_id: str, person_id: str, caller: Caller) -> StoredPhoto:
        """The photo of the face that matched: whoever may judge the candidate may see it."""
        _, face = await self._matching_face(search_id, person_id, caller)
        note(photo_sha256=face.photo_sha256)
        return await self._archive.read(face.photo_sha256)

    async def candidate_thumbnail(
        self, search_id: str, person_id: str, caller: Caller
    ) -> StoredPhoto:
        _, face = await self._matching_face(search_id, person_id, caller)
        note(photo_sha256=face.photo_sha256)
        return await self._thumbnails.of(face.photo_sha256, face.face_index)

    async def candidate_heatmap(self, search_id: str, person_id: str, caller: Caller) -> bytes:
        """PNG: the enrolled face that matched under its heatmap."""
        search, face = await self._matching_face(search_id, person_id, caller)
        return await self._explain(face.photo_sha256, search.model, face.face_index)

    async def _matching_face(
        self, search_id: str, person_id: str, caller: Caller
    ) -> tuple[Search, Face]:
        search = await self.find(search_id, caller)
        candidate = _candidate(search, person_id)
        if candidate is None:
            raise PersonNotFound("This person is not a candidate of this search")
        async with self._database.read() as session:
            face = await session.get(Face, candidate["face_id"])
            person = await session.get(Person, face.person_id) if face else None
        if face is None or person is None:
            raise FaceNotFound("The face that matched has been deleted since")
        is_looked_for = person.found_at is None and face.status != "withdrawn"
        if not (is_looked_for or caller.is_operator):
            raise FaceNotFound("Nobody looks for this person any more")
        return search, face

    async def judge(self, search_id: str, person_id: str, verdict: str, caller: Caller) -> Judged:
        """Keep the caller's verdict on a candidate.

        An operator's is also a voice on the pair, whichever search shows it.
        """
        _answer(await self.find(search_id, caller))
        if not is_id(person_id):
            raise CandidateNotInSearch
        async with self._database.write() as session:
            people = await read_people(session, {person_id})  # locked before the search
            today = people.today(person_id)
            search = await _lock(session, search_id)  # one verdict at a time
            candidate = _candidate(search, today)
            if candidate is None:
                raise CandidateNotInSearch
            if today not in people.names:
                raise PersonNotFound("This person has been deleted since")
            is_first = await _keep(session, search_id, today, caller, verdict)
            if caller.is_operator:
                pair = Pair(search.photo_sha256, _answer(search)["face"], today)
                await give_voice(session, pair, search_id, candidate["confidence"], caller, verdict)
            await append(session, "judge", search_id=search_id, person_id=today)
        return Judged(today, is_first)

    async def find(self, search_id: str, caller: Caller) -> Search:
        async with self._database.read() as session:
            return _if_allowed(await session.get(Search, search_id), caller)

    async def _explain(self, photo_sha256: str, model: str, face_index: int | None) -> bytes:
        note(photo_sha256=photo_sha256)
        photo = await self._archive.read(photo_sha256)
        return await self._inference.heatmap(photo, {"model": model, "face": face_index})


def _if_allowed(search: Search | None, caller: Caller) -> Search:
    """Another's search is not told from one that never was."""
    if search is None or not (caller.is_operator or search.key_id == caller.key_id):
        raise SearchNotFound
    return search


async def _read_with_its_job(session: AsyncSession, search_id: str) -> tuple[Search | None, bool]:
    """The search, and whether somebody is at it: in one statement, for the two change together."""
    held = exists().where(
        Job.kind == "search", Job.subject_id == search_id, Job.leased_until > now()
    )
    row = (await session.execute(select(Search, held).where(Search.id == search_id))).first()
    return (row[0], row[1]) if row else (None, False)


async def _read_names(session: AsyncSession, person_ids: Sequence[str]) -> dict[str, str]:
    rows = await session.execute(select(Person.id, Person.name).where(Person.id.in_(person_ids)))
    return {row.id: row.name for row in rows}


async def _keep(
    session: AsyncSession, search_id: str, person_id: str, caller: Caller, verdict: str
) -> bool:
    """Whether it is their first on this candidate."""
    judged = {"search_id": search_id, "person_id": person_id, "key_id": caller.key_id}
    earlier = await session.scalar(select(Feedback).filter_by(**judged))
    if earlier is None:
        session.add(Feedback(**judged, verdict=verdict))
        return True
    earlier.verdict = verdict
    return False


async def _lock(session: AsyncSession, search_id: str) -> Search:
    search = await session.get(Search, search_id, with_for_update=True)
    if search is None:
        raise SearchNotFound
    return search


def _answer(search: Search) -> dict[str, Any]:
    if search.status != "done" or search.answer is None:
        raise SearchNotDone(f"The search is {search.status}")
    return search.answer


def _candidate(search: Search, person_id: str) -> dict[str, Any] | None:
    found = (one for one in _answer(search)["candidates"] if one["person_id"] == person_id)
    return next(found, None)
