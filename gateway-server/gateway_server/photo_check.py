"""A photo looked at before anything is made of it: would it do, and whom does it show already?

Nothing of it is kept: it lies under no name among the photos that are still arriving until the
answer leaves, the inference tier has it in memory alone, and the audit's row holds its sha256.
"""

import asyncio
from collections.abc import Sequence

from sqlalchemy import select

from gateway_server.audit import note
from gateway_server.database import Database
from gateway_server.inference_answers import FacesFound, FoundCandidate, Match
from gateway_server.inference_client import InferenceClient
from gateway_server.intake import CheckedPhoto
from gateway_server.people import People, read_people
from gateway_server.photo_archive import PhotoArchive, StoredPhoto
from gateway_server.problems import FaceTooSmall, NoFace, PhotoRefused, QualityTooLow
from gateway_server.schemas import KnownPerson, PhotoChecked, ResemblingPerson
from gateway_server.tables import Face, Person

MOST_RESEMBLING = 5
UNFIT = (NoFace, FaceTooSmall, QualityTooLow)
"""What a photo that can be read may be refused for: told, not raised."""


class PhotoCheck:
    def __init__(
        self, database: Database, archive: PhotoArchive, inference: InferenceClient
    ) -> None:
        self._database = database
        self._archive = archive
        self._inference = inference

    async def check(self, photo: CheckedPhoto, face_index: int | None) -> PhotoChecked:
        """Raises PhotoRefused for what cannot be read at all, or has no face of that number."""
        note(photo_sha256=photo.name.sha256)
        stored = StoredPhoto(await asyncio.to_thread(photo.spool.read), photo.name.media_type)
        same = await self._owners(photo.name.sha256)
        try:
            options = {"top_k": MOST_RESEMBLING, "face": face_index}
            match = await self._inference.match(stored, options)
        except UNFIT as refusal:
            return _unfit(await self._inference.faces(stored), refusal, same)
        return _fit(match, await self._resembling(match), same)

    async def duplicates_of(self, person_id: str) -> Sequence[ResemblingPerson]:
        """Whom the person's first photo would find beside themselves; nobody without a photo."""
        theirs = select(Face).where(Face.person_id == person_id).order_by(Face.created_at, Face.id)
        async with self._database.read() as session:
            face = (await session.scalars(theirs.limit(1))).first()
        if face is None:
            return []
        photo = await self._archive.read(face.photo_sha256)
        options = {"top_k": MOST_RESEMBLING + 1, "face": face.face_index}
        try:
            match = await self._inference.match(photo, options)
        except PhotoRefused:
            return []
        return [one for one in await self._resembling(match) if one.person_id != person_id]

    async def _owners(self, photo_sha256: str) -> Sequence[KnownPerson]:
        """Whose photo this very file is already, whether they are missing or found."""
        owners = select(Person).join(Face, Face.person_id == Person.id)
        this_one = owners.where(Face.photo_sha256 == photo_sha256).order_by(Person.created_at)
        async with self._database.read() as session:
            return [KnownPerson.from_row(one) for one in await session.scalars(this_one)]

    async def _resembling(self, match: Match) -> Sequence[ResemblingPerson]:
        """Those whom a search would call a lead."""
        leads = [one for one in match.candidates if one.is_lead]
        async with self._database.read() as session:
            people = await read_people(session, {one.person_id for one in leads})
            today = _today(leads, people)
            ids = [one.person_id for one in today]
            rows = await session.scalars(select(Person).where(Person.id.in_(ids)))
            known = {row.id: KnownPerson.from_row(row) for row in rows}
        return [
            ResemblingPerson.of(known[one.person_id], one)
            for one in today
            if one.person_id in known
        ]


def _today(leads: Sequence[FoundCandidate], people: People) -> Sequence[FoundCandidate]:
    found = {"candidates": [one.model_dump() for one in leads], "verdict": "lead"}
    return [FoundCandidate.model_validate(one) for one in people.left_of(found)["candidates"]]


def _fit(
    match: Match, resembling: Sequence[ResemblingPerson], same: Sequence[KnownPerson]
) -> PhotoChecked:
    found = {
        "faces": [face.model_dump() for face in match.faces],
        "face": match.face,
        "warnings": match.warnings,
    }
    return PhotoChecked.model_validate(
        {**found, "problem": None, "resembling": resembling, "same_photo": same}
    )


def _unfit(found: FacesFound, refusal: PhotoRefused, same: Sequence[KnownPerson]) -> PhotoChecked:
    return PhotoChecked.model_validate(
        {
            **found.model_dump(),
            "problem": refusal.summary(),
            "resembling": [],
            "same_photo": same,
        }
    )
