"""People: their rows here, their faces in the inference tier.

Adding goes photo, rows here, inference tier; removing goes inference tier, rows here, photo. A
crash between two steps leaves a face pending or a removal to be repeated, never a loss.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database
from gateway_server.enrolment import Enrolment
from gateway_server.failures import FailureLedger, Undone
from gateway_server.inference_client import InferenceClient
from gateway_server.intake import CheckedPhoto
from gateway_server.paging import Page, read_page
from gateway_server.photo_archive import PhotoArchive
from gateway_server.problems import (
    DuplicatePhoto,
    FaceNotFound,
    InferenceUnavailable,
    NoPhotoAccepted,
    Outage,
    PersonNotFound,
    Problem,
)
from gateway_server.schemas import FaceOut, PersonEnrolled, PersonOut, PhotoOutcome
from gateway_server.tables import Face, Person, new_id
from gateway_server.texts import LINE, NOTES, OPTION, check_name, fold, parse_day

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


class PersonService:
    def __init__(
        self,
        database: Database,
        archive: PhotoArchive,
        inference: InferenceClient,
        enrolment: Enrolment,
        failures: FailureLedger,
    ) -> None:
        self._database = database
        self._archive = archive
        self._inference = inference
        self._enrolment = enrolment
        self._failures = failures

    async def register(
        self, details: Mapping[str, Any], photos: Sequence[CheckedPhoto]
    ) -> PersonEnrolled:
        """A new person; one whose photos are all refused is not kept."""
        person_id = new_id()
        faces = await self._record(person_id, details, photos)
        ended = dict(
            zip(faces, await self._enrolment.enrol_each(list(faces.values())), strict=True)
        )
        outcomes = list(_outcomes(photos, ended))
        await self._check_kept(person_id, outcomes, ended.values())
        person = await self.get(person_id)
        return PersonEnrolled(**dict(person), photos=outcomes)

    async def add_face(
        self, person_id: str, photo: CheckedPhoto, face_index: int | None
    ) -> tuple[FaceOut, bool]:
        """The enrolled face, and whether it is new; the same photo again changes nothing."""
        async with self._database.write() as session:
            await _lock_person(session, person_id)
            await self._archive.keep(session, [photo])
            face = await _find_face(session, person_id, photo.name.sha256)
            if face is None:
                face = Face(person_id=person_id, photo_sha256=photo.name.sha256)
                session.add(face)
            if face.status != "enrolled":
                face.face_index = face_index
        is_new = face.status != "enrolled"
        return FaceOut.from_row(await self._enrolment.enrol(face) if is_new else face), is_new

    async def get(self, person_id: str) -> PersonOut:
        async with self._database.read() as session:
            person = await session.get(Person, person_id)
            if person is None:
                raise PersonNotFound
            return PersonOut.from_row(person)

    async def list(self, q: str | None, cursor: str | None, limit: int) -> Page[Person]:
        part = fold(LINE.check("q", q or ""))
        wanted = [Person.search_text.contains(part, autoescape=True)] if part else []
        async with self._database.read() as session:
            return await read_page(session, Person, wanted, cursor, limit)

    async def change(self, person_id: str, details: Mapping[str, Any]) -> PersonOut:
        async with self._database.write() as session:
            person = await _lock_person(session, person_id)
            for name, value in details.items():
                setattr(person, name, value)
            person.search_text = _search_text(person.name, person.reference)
        return await self.get(person_id)

    async def delete(self, person_id: str) -> None:
        await self.get(person_id)
        await self.delete_again(person_id)

    async def delete_again(self, person_id: str) -> None:
        """Also there when here is nobody any more, which is told by PersonNotFound.

        Asked for once more at the end: an enrolment may have put the person back there before the
        rows were gone.
        """
        undone = Undone("deletion", person_id=person_id)
        await self._delete_there(undone, person_id)
        await self._archive.forget(await self._delete_rows(undone, person_id))
        await self._delete_there(undone, person_id)

    async def _delete_there(self, undone: Undone, person_id: str) -> None:
        try:
            await self._inference.delete_person(person_id)
        except InferenceUnavailable as outage:
            raise await self._postpone(undone, outage) from outage

    async def _delete_rows(self, undone: Undone, person_id: str) -> Sequence[str]:
        """The sha256 of the photos that the person's faces were made from."""
        async with self._database.write() as session:
            await _lock_person(session, person_id)
            removed = delete(Face).where(Face.person_id == person_id)
            photos = (await session.scalars(removed.returning(Face.photo_sha256))).all()
            await session.execute(delete(Person).where(Person.id == person_id))
            await self._failures.resolve(session, undone, "deleted")
        return photos

    async def delete_face(self, person_id: str, face_id: str) -> None:
        async with self._database.read() as session:
            face = await session.get(Face, face_id)
        if face is None or face.person_id != person_id:
            raise FaceNotFound
        undone = Undone("deletion", person_id=person_id, face_id=face_id)
        try:
            await self._inference.delete_face(person_id, face_id)
        except InferenceUnavailable as outage:
            raise await self._postpone(undone, outage) from outage
        async with self._database.write() as session:
            await session.execute(delete(Face).where(Face.id == face_id))
            await self._failures.resolve(session, undone, "deleted")
        await self._archive.forget([face.photo_sha256])

    async def _record(
        self, person_id: str, details: Mapping[str, Any], photos: Sequence[CheckedPhoto]
    ) -> dict[str, Face]:
        """Person, photos and pending faces, durable; the faces by their photo's sha256."""
        by_sha256 = {photo.name.sha256: photo for photo in photos}
        text = _search_text(details["name"], details.get("reference"))
        faces = {one: Face(id=new_id(), person_id=person_id, photo_sha256=one) for one in by_sha256}
        async with self._database.write() as session:
            await self._archive.keep(session, by_sha256.values())
            session.add(Person(id=person_id, search_text=text, **details))
            await session.flush()
            session.add_all(faces.values())
        return faces

    async def _check_kept(
        self, person_id: str, outcomes: Sequence[PhotoOutcome], ended: Iterable[Face | Problem]
    ) -> None:
        reached = {outcome.status for outcome in outcomes}
        if "enrolled" in reached:
            return
        photos = [outcome.model_dump(mode="json") for outcome in outcomes]
        for outage in ended:
            if isinstance(outage, Outage):
                raise outage.about(photos=photos)
        await self.delete(person_id)
        raise NoPhotoAccepted(photos=photos)

    async def _postpone(self, undone: Undone, outage: InferenceUnavailable) -> InferenceUnavailable:
        async with self._database.write() as session:
            failure_id = await self._failures.record(session, undone, outage)
        return outage.about(person_id=undone.person_id, failure_id=failure_id)


def _outcomes(
    photos: Sequence[CheckedPhoto], ended: Mapping[str, Face | Problem]
) -> Iterator[PhotoOutcome]:
    """One for each photo as it came; a photo that came twice is refused the second time."""
    seen: set[str] = set()
    for index, photo in enumerate(photos):
        sha256 = photo.name.sha256
        yield PhotoOutcome.of(index, DuplicatePhoto() if sha256 in seen else ended[sha256])
        seen.add(sha256)


async def _lock_person(session: AsyncSession, person_id: str) -> Person:
    person = await session.get(Person, person_id, with_for_update=True)
    if person is None:
        raise PersonNotFound
    return person


async def _find_face(session: AsyncSession, person_id: str, photo_sha256: str) -> Face | None:
    """The face that this photo has already become."""
    same = {"person_id": person_id, "photo_sha256": photo_sha256}
    return (await session.scalars(select(Face).filter_by(**same))).one_or_none()


def _search_text(name: str, reference: str | None) -> str:
    return fold(f"{name}\n{reference or ''}")
