"""People and faces on the way out: gone here at once, and there as soon as it is confirmed.

A removal is an entry of a transactional outbox: it is written in the transaction that deletes the
rows, and worked off until the inference tier, the photo store and the cache have confirmed. Its
times are the receipt.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.audit import append
from gateway_server.auth import Caller
from gateway_server.cache import Cache
from gateway_server.database import Database
from gateway_server.failures import FailureLedger, Undone
from gateway_server.imports.ledger import forget_person
from gateway_server.inference_client import InferenceClient
from gateway_server.jobs import Claim, JobQueue
from gateway_server.merges import awaits_enrolments, not_found
from gateway_server.one_time import forget_answers_about
from gateway_server.photo_archive import PhotoArchive
from gateway_server.problems import FaceNotFound, Outage, RemovalNotFound
from gateway_server.review.leads import forget_person as forget_leads_of
from gateway_server.tables import Face, Person, Removal, new_id, now


class Removals:
    def __init__(
        self,
        database: Database,
        archive: PhotoArchive,
        inference: InferenceClient,
        cache: Cache,
        queue: JobQueue,
        failures: FailureLedger,
        look_again_s: float,
    ) -> None:
        """`look_again_s`: pause before a merged person is asked after once more."""
        self._look_again = timedelta(seconds=look_again_s)
        self._database = database
        self._archive = archive
        self._inference = inference
        self._cache = cache
        self._queue = queue
        self._failures = failures

    async def of_person(self, person_id: str, caller: Caller, *, held: bool) -> Claim:
        """The person is gone from every answer of ours when this returns."""
        async with self._database.write() as session:
            if await session.get(Person, person_id, with_for_update=True) is None:
                raise await not_found(session, person_id)
            removal = _new(caller, person_id)
            face_ids = await _delete_faces(session, removal, Face.person_id == person_id)
            await forget_leads_of(session, person_id)
            await forget_person(session, person_id)
            await self._call_off(session, removal, face_ids)
            await session.execute(delete(Person).where(Person.id == person_id))
            session.add(removal)
            claim = await self._queue.add(session, "deletion", removal.id, held=held)
            await append(session, "delete", person_id=person_id)
            return claim

    async def of_face(self, person_id: str, face_id: str, caller: Caller, *, held: bool) -> Claim:
        async with self._database.write() as session:
            face = await session.get(Face, face_id, with_for_update=True)
            if face is None or face.person_id != person_id:
                raise FaceNotFound
            removal = _new(caller, person_id, face_id)
            face_ids = await _delete_faces(session, removal, Face.id == face_id)
            await self._call_off(session, removal, face_ids)
            session.add(removal)
            claim = await self._queue.add(session, "deletion", removal.id, held=held)
            await append(session, "delete", person_id=person_id, subject_id=face_id)
            return claim

    async def get(self, removal_id: str) -> Removal:
        async with self._database.read() as session:
            removal = await session.get(Removal, removal_id)
        if removal is None:
            raise RemovalNotFound
        return removal

    async def again(self, session: AsyncSession, removal_id: str, *, held: bool) -> Claim:
        """Queued anew, within the caller's transaction."""
        if await session.get(Removal, removal_id, with_for_update=True) is None:
            raise RemovalNotFound
        return await self._queue.hurry(session, "deletion", removal_id, held=held)

    async def resume(self, removal_id: str, *, held: bool) -> Claim | None:
        """Queued anew, unless it is done."""
        async with self._database.write() as session:
            removal = await session.get(Removal, removal_id, with_for_update=True)
            if removal is None or removal.done_at is not None:
                return None
            return await self._queue.hurry(session, "deletion", removal_id, held=held)

    async def run(self, claim: Claim) -> None:
        removal = await self.get(claim.subject_id)
        if await self._is_still_needed(removal):
            await self._queue.give_back(claim, now() + self._look_again)
            return
        if removal.face_id is None:
            await self._inference.delete_person(removal.person_id)
        else:
            await self._inference.delete_face(removal.person_id, removal.face_id)
        if removal.settles_at is not None and removal.settles_at > now():
            await self._queue.give_back(claim, removal.settles_at)
            return
        vectors_deleted_at = now()
        await self._archive.forget(removal.photo_sha256s)
        photos_deleted_at = now()
        await self._cache.clear()
        async with self._database.write() as session:
            kept = await session.get_one(Removal, removal.id, with_for_update=True)
            kept.vectors_deleted_at, kept.photos_deleted_at = vectors_deleted_at, photos_deleted_at
            kept.answers_deleted_at = kept.done_at = now()
            await forget_answers_about(session, removal.face_id or removal.person_id)
            await self._failures.resolve(session, _undone(removal), "deleted")
            await self._queue.finish(session, claim)

    async def miss(
        self, session: AsyncSession, claim: Claim, outage: Outage, next_attempt_at: datetime | None
    ) -> None:
        removal = await session.get_one(Removal, claim.subject_id, with_for_update=True)
        await self._failures.record(
            session, _undone(removal), outage, next_attempt_at=next_attempt_at
        )

    async def _is_still_needed(self, removal: Removal) -> bool:
        """A merged person is found as the other until all of their faces are the kept one's."""
        async with self._database.read() as session:
            return removal.face_id is None and await awaits_enrolments(session, removal.person_id)

    async def _call_off(
        self, session: AsyncSession, removal: Removal, face_ids: Sequence[str]
    ) -> None:
        await self._failures.resolve_faces(session, face_ids, "deleted")
        removal.settles_at = await self._queue.cancel(session, "enrolment", face_ids)


async def _delete_faces(
    session: AsyncSession, removal: Removal, which: ColumnElement[bool]
) -> Sequence[str]:
    removed = delete(Face).where(which).returning(Face.id, Face.photo_sha256)
    rows = (await session.execute(removed)).all()
    removal.photo_sha256s = sorted(row.photo_sha256 for row in rows)
    return [row.id for row in rows]


def _new(caller: Caller, person_id: str, face_id: str | None = None) -> Removal:
    return Removal(id=new_id(), person_id=person_id, face_id=face_id, key_id=caller.key_id)


def _undone(removal: Removal) -> Undone:
    return Undone(
        "deletion",
        person_id=removal.person_id,
        face_id=removal.face_id,
        removal_id=removal.id,
    )
