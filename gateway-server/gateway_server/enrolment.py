"""A stored face on its way into the inference tier.

It may be sent again at any time: its id was chosen here.
"""

from collections.abc import Sequence

from sqlalchemy import delete

from gateway_server.database import Database
from gateway_server.failures import FailureLedger, Undone
from gateway_server.inference_answers import EnrolledFace
from gateway_server.inference_client import FACE_ID_IN_USE, InferenceClient
from gateway_server.metrics import Metrics
from gateway_server.photo_archive import PhotoArchive
from gateway_server.problems import (
    FaceNotFound,
    InferenceUnavailable,
    Outage,
    PhotoRefused,
    PhotoStoreUnavailable,
    Problem,
)
from gateway_server.tables import Face


class Enrolment:
    def __init__(
        self,
        database: Database,
        archive: PhotoArchive,
        inference: InferenceClient,
        failures: FailureLedger,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._archive = archive
        self._inference = inference
        self._failures = failures
        self._metrics = metrics

    async def enrol(self, face: Face) -> Face:
        """The enrolled face. A refused one is forgotten, an unanswered one pending: both raise."""
        try:
            enrolled = await self._send(face)
        except (InferenceUnavailable, PhotoStoreUnavailable) as outage:
            raise await self.postpone(face, outage) from outage
        except PhotoRefused as refusal:
            await self._forget(face, refusal)
            raise
        return await self._confirm(face, enrolled)

    async def enrol_each(self, faces: Sequence[Face]) -> list[Face | Problem]:
        """What became of each, in order; after an outage there the rest are postponed, not sent."""
        ended: list[Face | Problem] = []
        outage: InferenceUnavailable | None = None
        for face in faces:
            try:
                if outage is not None:
                    raise await self.postpone(face, outage)
                ended.append(await self.enrol(face))
            except InferenceUnavailable as problem:
                outage = problem
                ended.append(problem)
            except (PhotoRefused, PhotoStoreUnavailable) as problem:
                ended.append(problem)
        return ended

    async def enrol_again(self, face_id: str) -> Face:
        async with self._database.read() as session:
            face = await session.get(Face, face_id)
        if face is None:
            raise FaceNotFound
        return await self.enrol(face)

    async def renew(self, face: Face) -> Face:
        """Send a face that may be enrolled already; a failure leaves everything as it is."""
        return await self._confirm(face, await self._send(face))

    async def postpone(self, face: Face, outage: Outage) -> Outage:
        """Record that this face could not be sent; the outage with what it befell."""
        self._metrics.enrolment_ended(outage.reason)
        async with self._database.write() as session:
            failure_id = await self._failures.record(
                session, _undone(face), outage, face.photo_sha256
            )
        return outage.about(person_id=face.person_id, face_id=face.id, failure_id=failure_id)

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

    async def _confirm(self, face: Face, enrolled: EnrolledFace) -> Face:
        self._metrics.enrolment_ended("enrolled")
        async with self._database.write() as session:
            kept = await session.get(Face, face.id)
            if kept is not None:
                kept.status, kept.quality = "enrolled", enrolled.quality
                kept.warnings, kept.box = enrolled.warnings, enrolled.box
            await self._failures.resolve(session, _undone(face), "enrolled")
        if kept is None:  # deleted while it was on its way
            await self._inference.delete_face(face.person_id, face.id)
            raise FaceNotFound("The face was deleted while it was enrolled")
        return kept

    async def _forget(self, face: Face, refusal: PhotoRefused) -> None:
        self._metrics.enrolment_ended(refusal.slug)
        async with self._database.write() as session:
            await session.execute(delete(Face).where(Face.id == face.id))
            await self._failures.resolve(session, _undone(face), refusal.slug)
        await self._archive.forget([face.photo_sha256])


def _undone(face: Face) -> Undone:
    return Undone("enrolment", person_id=face.person_id, face_id=face.id)
