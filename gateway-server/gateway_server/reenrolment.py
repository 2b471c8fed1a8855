"""The gallery filled again from the stored photos, after its vectors or its networks have changed.

Everything may be sent twice: the inference tier knows a face by the id that was chosen here, and
replaces vectors of other networks. So a run that was broken off is simply started again.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from gateway_server.database import Database
from gateway_server.enrolment import Enrolment
from gateway_server.inference_client import InferenceClient
from gateway_server.problems import FaceNotFound, Outage, PhotoRefused
from gateway_server.tables import Face, Person

PERSONS_AT_A_TIME = 100


@dataclass(frozen=True)
class Resent:
    """What became of one face, or of a person who could not be put: then without a face."""

    person_id: str
    face_id: str | None
    problem: PhotoRefused | Outage | None

    @property
    def is_unsent(self) -> bool:
        return isinstance(self.problem, Outage)


class Reenrolment:
    def __init__(self, database: Database, inference: InferenceClient, enrolment: Enrolment):
        self._database = database
        self._inference = inference
        self._enrolment = enrolment

    async def count_faces(self) -> int:
        async with self._database.read() as session:
            wanted = select(func.count()).select_from(Face).where(Face.status != "withdrawn")
            return await session.scalar(wanted) or 0

    async def run(self) -> AsyncGenerator[Resent, None]:
        """Each person put, each face sent, enrolled and pending alike.

        Left out: what was deleted since, and the withdrawn faces of those who were found.

        A refused face stays as it is here: whether its photo goes is for people to decide.
        """
        after = ""
        while persons := await self._read_persons(after):
            for person in persons:
                async for resent in self._send_person(person):
                    yield resent
            after = persons[-1].id

    async def _read_persons(self, after: str) -> Sequence[Person]:
        ordered = select(Person).where(Person.id > after).order_by(Person.id)
        async with self._database.read() as session:
            return (await session.scalars(ordered.limit(PERSONS_AT_A_TIME))).all()

    async def _send_person(self, person: Person) -> AsyncGenerator[Resent, None]:
        faces = [face for face in person.faces if face.status != "withdrawn"]
        if not faces:
            problem = await self._put(person.id)
            if problem is not None:
                yield Resent(person.id, None, problem)
        for face in faces:
            try:
                yield Resent(person.id, face.id, await self._send(face))
            except FaceNotFound:
                continue

    async def _put(self, person_id: str) -> Outage | None:
        try:
            await self._inference.put_person(person_id)
        except Outage as outage:
            return outage
        return None

    async def _send(self, face: Face) -> PhotoRefused | Outage | None:
        try:
            await self._enrolment.renew(face)
        except (PhotoRefused, Outage) as problem:
            return problem
        return None
