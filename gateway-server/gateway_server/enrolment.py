"""A stored face and the inference tier brought in line: whatever the face's row says is done there.

    pending     sent, then enrolled; a refused one is forgotten, but for the reason
    withdrawn   deleted there: nobody looks for the person any more
    no row      deleted there: it was deleted here while it was on its way

All of it may be done again at any time: the face's id was chosen here.
"""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database
from gateway_server.failures import FailureLedger, Undone
from gateway_server.imports.ledger import note_refusal
from gateway_server.inference_answers import EnrolledFace
from gateway_server.inference_client import FACE_ID_IN_USE, InferenceClient
from gateway_server.jobs import Claim, JobQueue, LeaseLost
from gateway_server.merges import awaits_enrolments
from gateway_server.metrics import Metrics
from gateway_server.photo_archive import PhotoArchive
from gateway_server.problems import FaceNotFound, InferenceUnavailable, Outage, PhotoRefused
from gateway_server.tables import Face, Person, RefusedPhoto, Removal, now


class Enrolment:
    def __init__(
        self,
        database: Database,
        archive: PhotoArchive,
        inference: InferenceClient,
        queue: JobQueue,
        failures: FailureLedger,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._archive = archive
        self._inference = inference
        self._queue = queue
        self._failures = failures
        self._metrics = metrics

    async def again(self, session: AsyncSession, face_id: str, *, held: bool) -> Claim:
        """Queued anew, within the caller's transaction."""
        if await session.get(Face, face_id, with_for_update=True) is None:
            raise FaceNotFound
        return await self._queue.hurry(session, "enrolment", face_id, held=held)

    async def run(self, claim: Claim) -> None:
        face = await self._read(claim.subject_id)
        if face is None:
            await self._finish(claim, "deleted")  # its removal sees to the vector
        elif face.status == "withdrawn":
            await self._inference.delete_face(face.person_id, face.id)
            await self._finish(claim, "withdrawn")
        elif face.status == "pending":
            await self._enrol(claim, face)
        else:
            await self._finish(claim, "enrolled")

    async def miss(
        self, session: AsyncSession, claim: Claim, outage: Outage, next_attempt_at: datetime | None
    ) -> None:
        self._metrics.enrolment_ended(outage.reason)
        face = await session.get(Face, claim.subject_id, with_for_update=True)
        if face is not None:
            await self._failures.record(
                session, _undone(face), outage, face.photo_sha256, next_attempt_at
            )

    async def renew(self, face: Face) -> Face:
        """Send a face that may be enrolled already; a failure leaves everything as it is."""
        enrolled = await self._send(face)
        async with self._database.write() as session:
            kept = await self._note(session, face, enrolled)
        if kept is None or kept.status == "withdrawn":
            await self._undo_unless_wanted(face)
            raise FaceNotFound("The face was deleted or withdrawn while it was enrolled")
        return kept

    async def _enrol(self, claim: Claim, face: Face) -> None:
        try:
            enrolled = await self._send(face)
        except PhotoRefused as refusal:
            await self._forget(claim, face, refusal)
            raise
        try:
            async with self._database.write() as session:
                await self._note(session, face, enrolled)
                await self._queue.finish(session, claim)
        except LeaseLost:
            await self._undo_unless_wanted(face)
            raise
        self._metrics.enrolment_ended("enrolled")

    async def _send(self, face: Face) -> EnrolledFace:
        photo = await self._archive.read(face.photo_sha256)
        await self._inference.put_person(face.person_id)
        try:
            return await self._inference.enrol(face.person_id, face.id, photo, face.face_index)
        except InferenceUnavailable as outage:
            if outage.reason != FACE_ID_IN_USE:
                raise
        # an enrolment with another face_index came to its end there without our hearing of it
        await self._inference.delete_face(face.person_id, face.id)
        return await self._inference.enrol(face.person_id, face.id, photo, face.face_index)

    async def _undo_unless_wanted(self, face: Face) -> None:
        """It may have been deleted here while it was on its way there, its person with it."""
        async with self._database.read() as session:
            kept = await session.get(Face, face.id)
            person = await session.get(Person, face.person_id)
            goes_yet = await _goes_yet(session, face.person_id)
        if goes_yet:
            return
        if person is None:
            await self._inference.delete_person(face.person_id)
        elif kept is None or kept.status == "withdrawn":
            await self._inference.delete_face(face.person_id, face.id)

    async def _note(self, session: AsyncSession, face: Face, enrolled: EnrolledFace) -> Face | None:
        kept = await session.get(Face, face.id, with_for_update=True)
        if kept is not None and kept.status != "withdrawn":
            kept.status, kept.quality = "enrolled", enrolled.quality
            kept.warnings, kept.box = enrolled.warnings, enrolled.box
        await self._failures.resolve(session, _undone(face), "enrolled")
        return kept

    async def _forget(self, claim: Claim, face: Face, refusal: PhotoRefused) -> None:
        self._metrics.enrolment_ended(refusal.slug)
        async with self._database.write() as session:
            await _exchange(session, face, refusal)
            await note_refusal(session, face.id, refusal)
            await self._failures.resolve(session, _undone(face), refusal.slug)
            await self._queue.finish(session, claim)
        await self._archive.forget([face.photo_sha256])

    async def _finish(self, claim: Claim, outcome: str) -> None:
        async with self._database.write() as session:
            await self._failures.resolve_faces(session, [claim.subject_id], outcome)
            await self._queue.finish(session, claim)

    async def _read(self, face_id: str) -> Face | None:
        async with self._database.read() as session:
            return await session.get(Face, face_id)


async def _exchange(session: AsyncSession, face: Face, refusal: PhotoRefused) -> None:
    """The refused face for its reason, unless the face is gone already."""
    person = select(Person.id).where(Person.id == face.person_id)
    await session.scalar(person.with_for_update(read=True, key_share=True))
    gone = delete(Face).where(Face.id == face.id).returning(Face.id)
    if await session.scalar(gone) is not None:
        told = {"person_id": face.person_id, "problem": refusal.summary(), "refused_at": now()}
        await session.merge(RefusedPhoto(face_id=face.id, **told))  # once more, if it came again
        await session.flush()


async def _goes_yet(session: AsyncSession, person_id: str) -> bool:
    """A merged person's removal deletes them there, but not before their faces have moved.

    When they have, it may have done so already.
    """
    open_one = select(Removal.id).where(
        Removal.person_id == person_id, Removal.face_id.is_(None), Removal.done_at.is_(None)
    )
    is_open = await session.scalar(open_one.limit(1)) is not None
    return is_open and await awaits_enrolments(session, person_id)


def _undone(face: Face) -> Undone:
    return Undone("enrolment", person_id=face.person_id, face_id=face.id)
