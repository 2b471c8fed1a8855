"""People: their rows here, their faces in the inference tier.

The rows come first, with the jobs that bring the inference tier in line with them: adding, taking
out whoever is found, removing. An answer waits a while for these, and says what is still under way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.audit import append, note
from gateway_server.auth import Caller
from gateway_server.database import Database
from gateway_server.intake import CheckedPhoto
from gateway_server.jobs import Claim, JobQueue
from gateway_server.merges import Merges, not_found
from gateway_server.one_time import Made
from gateway_server.paging import Page, read_page
from gateway_server.photo_archive import PhotoArchive
from gateway_server.problems import (
    DuplicatePhoto,
    FaceNotFound,
    NoPhotoAccepted,
    PhotoRefused,
    Problem,
)
from gateway_server.removals import Removals
from gateway_server.schemas import (
    FaceOut,
    PersonEnrolled,
    PersonMerged,
    PersonOut,
    PersonStatus,
    PhotoOutcome,
    RemovalOut,
)
from gateway_server.tables import Face, Person, RefusedPhoto, Removal, new_id, now
from gateway_server.texts import LINE, NOTES, OPTION, check_name, fold, parse_day
from gateway_server.workers import Workers

DETAIL_RULES = {
    "name": LINE,
    "reference": LINE,
    "birth_date": OPTION,
    "missing_since": OPTION,
    "notes": NOTES,
}


def read_details(texts: Mapping[str, str | None]) -> dict[str, str | date | None]:
    """A person's columns out of the texts that came; only those that came. Blank clears."""
    details: dict[str, str | date | None] = {}
    for field, text in texts.items():
        checked = DETAIL_RULES[field].check(field, text or "")
        if field == "name":
            details[field] = check_name(checked)
        elif field in {"birth_date", "missing_since"}:
            details[field] = parse_day(field, checked)
        else:
            details[field] = checked or None
    return details


@dataclass(frozen=True)
class PeopleWanted:
    """All of them, if nothing is said; `q`: a part of name or reference.

    `photos`: those of whom one is pending, or was refused; `since`: registered from then on.
    """

    q: str | None = None
    status: PersonStatus | None = None
    photos: Literal["pending", "refused"] | None = None
    since: datetime | None = None

    def conditions(self) -> Sequence[ColumnElement[bool]]:
        part = fold(LINE.check("q", self.q or ""))
        wanted = [Person.search_text.contains(part, autoescape=True)] if part else []
        if self.status is not None:
            found = Person.found_at.is_not(None)
            wanted.append(found if self.status == "found" else ~found)
        if self.photos == "pending":
            wanted.append(exists().where(Face.person_id == Person.id, Face.status == "pending"))
        if self.photos == "refused":
            wanted.append(exists().where(RefusedPhoto.person_id == Person.id))
        return [*wanted, *([Person.created_at >= self.since] if self.since else [])]


class PersonService:
    def __init__(
        self,
        database: Database,
        archive: PhotoArchive,
        queue: JobQueue,
        removals: Removals,
        merges: Merges,
        workers: Workers,
        wait_s: float,
    ) -> None:
        """`wait_s`: how long an answer waits for the inference tier, before it says `pending`."""
        self._database = database
        self._archive = archive
        self._queue = queue
        self._removals = removals
        self._merges = merges
        self._workers = workers
        self._wait_s = wait_s

    async def register(
        self, details: Mapping[str, Any], photos: Sequence[CheckedPhoto], made: Made
    ) -> PersonEnrolled:
        """A new person; one whose photos are all refused is not kept."""
        with self._workers.room_for(len(photos)) as held:
            claims = await self._record(made.subject_id, details, photos, held=held)
            begun = self._workers.begin(claims.values())
        ended = await self._workers.wait(begun, self._wait_s)
        problems = {sha256: ended.get(claim.subject_id) for sha256, claim in claims.items()}
        outcomes = await self._outcomes(made.subject_id, photos, problems)
        if all(outcome.status == "refused" for outcome in outcomes):
            await self.delete(made.subject_id, made.caller)
            raise NoPhotoAccepted(photos=[one.model_dump(mode="json") for one in outcomes])
        person = await self.get(made.subject_id)
        return PersonEnrolled(**dict(person), photos=list(outcomes))

    async def add_face(
        self, person_id: str, photo: CheckedPhoto, face_index: int | None, made: Made
    ) -> tuple[FaceOut, bool]:
        """The face, and whether it is new; the same photo again changes nothing."""
        with self._workers.room_for(1) as held:
            face, claim = await self._record_face(person_id, photo, face_index, made, held=held)
            begun = self._workers.begin([claim] if claim else [])
        problem = (await self._workers.wait(begun, self._wait_s)).get(face.id)
        if isinstance(problem, PhotoRefused):
            raise problem
        async with self._database.read() as session:
            now_kept = await session.get(Face, face.id)
        if now_kept is None:
            raise FaceNotFound("The face was deleted while it was enrolled")
        is_new = claim is not None or face.id == made.subject_id  # begun before, and broken off
        return FaceOut.from_row(now_kept), is_new

    async def get(self, person_id: str) -> PersonOut:
        async with self._database.read() as session:
            person = await session.get(Person, person_id)
            if person is None:
                raise await not_found(session, person_id)
            return PersonOut.from_row(person)

    async def list(self, wanted: PeopleWanted, cursor: str | None, limit: int) -> Page[Person]:
        async with self._database.read() as session:
            return await read_page(session, Person, wanted.conditions(), cursor, limit)

    async def get_face(self, person_id: str, face_id: str) -> Face:
        async with self._database.read() as session:
            face = await session.get(Face, face_id)
        if face is None or face.person_id != person_id:
            raise FaceNotFound
        note(photo_sha256=face.photo_sha256)
        return face

    async def change(self, person_id: str, details: Mapping[str, Any]) -> PersonOut:
        async with self._database.write() as session:
            person = await _lock_person(session, person_id)
            for name, value in details.items():
                setattr(person, name, value)
            person.search_text = searchable(person.name, person.reference)
            await append(session, "change", person_id=person_id)
        return await self.get(person_id)

    async def set_status(self, person_id: str, status: PersonStatus) -> PersonOut:
        """Found: their faces are out of every search from now on; missing: they are back in it."""
        async with self._database.write() as session:
            person = await _lock_person(session, person_id)
            claims: Sequence[Claim] = []
            if (person.found_at is not None) != (status == "found"):
                person.found_at = now() if status == "found" else None
                claims = await self._turn_faces(session, person_id, status)
            await append(session, "change", person_id=person_id)
        begun = self._workers.begin(claims)
        await self._workers.wait(begun, self._wait_s)
        return await self.get(person_id)

    async def delete(self, person_id: str, caller: Caller) -> Removal:
        """Gone here; gone everywhere if the removal says so, and soon if not."""
        with self._workers.room_for(1) as held:
            claim = await self._removals.of_person(person_id, caller, held=held)
            return await self._removed(claim)

    async def merge(self, person_id: str, other_id: str, caller: Caller) -> PersonMerged:
        """The other's faces are this person's; the receipt says when the tier follows suit."""
        with self._workers.room_for(1) as held:
            begun = await self._merges.begin(person_id, other_id, caller, held=held)
            enrolments = self._workers.begin(begun.enrolments)
        await self._workers.wait(enrolments, self._wait_s)
        removal = await self._removed_by_merge(begun.removal_id) if begun.removal_id else None
        receipt = RemovalOut.from_row(removal) if removal else None
        return PersonMerged(person=await self.get(person_id), removal=receipt)

    async def _removed_by_merge(self, removal_id: str) -> Removal:
        """It may have looked in vain before the last face was enrolled."""
        with self._workers.room_for(1) as held:
            claim = await self._removals.resume(removal_id, held=held)
            begun = self._workers.begin([claim] if claim else [])
        await self._workers.wait(begun, self._wait_s)
        return await self._removals.get(removal_id)

    async def delete_face(self, person_id: str, face_id: str, caller: Caller) -> Removal:
        with self._workers.room_for(1) as held:
            claim = await self._removals.of_face(person_id, face_id, caller, held=held)
            return await self._removed(claim)

    async def _removed(self, claim: Claim) -> Removal:
        await self._workers.wait(self._workers.begin([claim]), self._wait_s)
        return await self._removals.get(claim.subject_id)

    async def _turn_faces(
        self, session: AsyncSession, person_id: str, status: PersonStatus
    ) -> Sequence[Claim]:
        theirs = select(Face).where(Face.person_id == person_id).order_by(Face.id)
        faces = (await session.scalars(theirs.with_for_update())).all()
        for face in faces:
            face.status = "withdrawn" if status == "found" else "pending"
        return [await self._queue.add(session, "enrolment", one.id, held=False) for one in faces]

    async def _record(
        self,
        person_id: str,
        details: Mapping[str, Any],
        photos: Sequence[CheckedPhoto],
        *,
        held: bool,
    ) -> Mapping[str, Claim]:
        """Person, photos, pending faces, and what is to be done by photo: durable.

        What is there already, because a request that was broken off is repeated, stays.
        """
        by_sha256 = {photo.name.sha256: photo for photo in photos}
        async with self._database.write() as session:
            if await session.get(Person, person_id, with_for_update=True) is None:
                text = searchable(details["name"], details.get("reference"))
                session.add(Person(id=person_id, search_text=text, **details))
                await session.flush()
            await self._archive.keep(session, by_sha256.values())
            known = await _faces_by_photo(session, person_id)
            new = [
                Face(id=new_id(), person_id=person_id, photo_sha256=sha256)
                for sha256 in by_sha256
                if sha256 not in known
            ]
            session.add_all(new)
            await session.flush()
            waiting = [*new, *(face for face in known.values() if face.status == "pending")]
            claims = {
                face.photo_sha256: await self._queue.add(session, "enrolment", face.id, held=held)
                for face in waiting
            }
            for sha256 in by_sha256:
                await append(session, "create", person_id=person_id, photo_sha256=sha256)
            return claims

    async def _record_face(
        self,
        person_id: str,
        photo: CheckedPhoto,
        face_index: int | None,
        made: Made,
        *,
        held: bool,
    ) -> tuple[Face, Claim | None]:
        """No claim where there is nothing to do: the photo is enrolled, or its person found."""
        async with self._database.write() as session:
            person = await _lock_person(session, person_id)
            await self._archive.keep(session, [photo])
            face = (await _faces_by_photo(session, person_id)).get(photo.name.sha256)
            if face is None:
                face = Face(id=made.subject_id, person_id=person_id, photo_sha256=photo.name.sha256)
                face.status = "withdrawn" if person.found_at else "pending"
                session.add(face)
            claim = None
            if face.status == "pending":
                face.face_index = face_index
                await session.flush()
                claim = await self._queue.add(session, "enrolment", face.id, held=held)
            about = {"person_id": person_id, "photo_sha256": photo.name.sha256}
            await append(session, "create", **about, subject_id=face.id)
            return face, claim

    async def _outcomes(
        self,
        person_id: str,
        photos: Sequence[CheckedPhoto],
        problems: Mapping[str, Problem | None],
    ) -> Sequence[PhotoOutcome]:
        """One for each photo as it came; a photo that came twice is refused the second time.

        `problems`: by the photo's sha256, what it met.
        """
        async with self._database.read() as session:
            faces = await _faces_by_photo(session, person_id)
        outcomes: list[PhotoOutcome] = []
        seen: set[str] = set()
        for index, photo in enumerate(photos):
            sha256 = photo.name.sha256
            face, problem = faces.get(sha256), problems.get(sha256)
            if sha256 in seen:
                outcomes.append(PhotoOutcome.refused(index, DuplicatePhoto()))
            elif face is not None:
                outcomes.append(PhotoOutcome.kept(index, face, problem))
            else:
                outcomes.append(PhotoOutcome.refused(index, problem or FaceNotFound()))
            seen.add(sha256)
        return outcomes


async def _lock_person(session: AsyncSession, person_id: str) -> Person:
    person = await session.get(Person, person_id, with_for_update=True)
    if person is None:
        raise await not_found(session, person_id)
    return person


async def _faces_by_photo(session: AsyncSession, person_id: str) -> dict[str, Face]:
    faces = await session.scalars(select(Face).where(Face.person_id == person_id))
    return {face.photo_sha256: face for face in faces}


def searchable(name: str, reference: str | None) -> str:
    return fold(f"{name}\n{reference or ''}")
