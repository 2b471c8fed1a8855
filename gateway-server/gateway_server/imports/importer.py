"""Waiting rows become people and pending faces, some in each transaction.

Photos are checked and on the disk before the transaction begins; it writes persons, faces, the
faces' jobs, the rows' outcomes and the audit's entries, or nothing. A row's outcome is looked at
under the run's lock, so that no row is worked off twice, whoever else is at it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy import text as sql
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import raiseload

from gateway_server.audit import NOBODY
from gateway_server.audit_chain import Entry, link
from gateway_server.database import Database, on_postgresql
from gateway_server.imports.import_folder import unavailable
from gateway_server.imports.ledger import DELETED_MEANWHILE, lock_run
from gateway_server.imports.sources import Source
from gateway_server.intake import CheckedPhoto, Intake
from gateway_server.jobs import Claim, JobQueue
from gateway_server.journal import current_request_id
from gateway_server.person_service import read_details, searchable
from gateway_server.photo_archive import PhotoArchive
from gateway_server.problems import AmbiguousReference, PersonNotFound, Problem, Refusal
from gateway_server.tables import Face, ImportRow, ImportRun, Person, Removal, new_id

_ONE_AT_A_TIME: Final = 0x696D706F7274  # "import": two runs may name the same new reference
Checked = Mapping[int, CheckedPhoto | Refusal]  # by the row's number


@dataclass
class _People:
    """Who the rows' persons are, as far as they are there; of each photo, whose face it is."""

    by_reference: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, Person] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    owners: dict[str, list[str]] = field(default_factory=dict)

    def person_of(self, row: ImportRow, details: Mapping[str, Any]) -> Person:
        """There already, or new. Raises AmbiguousReference and PersonNotFound."""
        same = self.by_reference.get(details.get("reference") or "", [])
        if len(same) > 1:
            raise AmbiguousReference(f"{len(same)} people have this reference")
        person_id = same[0] if same else str(row.person_id)
        if person_id in self.removed:
            raise PersonNotFound(DELETED_MEANWHILE)
        if person_id not in self.rows:
            text = searchable(details["name"], details.get("reference"))
            self.rows[person_id] = Person(id=person_id, search_text=text, **details)
        return self.rows[person_id]


class Importer:
    def __init__(
        self,
        database: Database,
        archive: PhotoArchive,
        intake: Intake,
        queue: JobQueue,
        batch: int,
    ) -> None:
        self._database = database
        self._archive = archive
        self._intake = intake
        self._queue = queue
        self._batch = batch

    async def step(self, run: ImportRun, source: Source, claim: Claim | None) -> int:
        """How many rows there were to do; `claim`: None where no job is behind it."""
        rows = await self._read_waiting(run.id)
        with ExitStack() as spools:
            checked = {row.number: await self._check(source, row, spools) for row in rows}
            if rows:
                async with self._database.write() as session:
                    await self._record(session, run, checked, claim)
        return len(rows)

    async def _read_waiting(self, run_id: str) -> Sequence[ImportRow]:
        waiting = select(ImportRow).where(
            ImportRow.import_id == run_id, ImportRow.outcome == "waiting"
        )
        async with self._database.read() as session:
            some = waiting.order_by(ImportRow.number).limit(self._batch)
            return (await session.scalars(some)).all()

    async def _check(
        self, source: Source, row: ImportRow, spools: ExitStack
    ) -> CheckedPhoto | Refusal:
        spool = self._intake.spool()
        spools.callback(spool.discard)
        try:
            pieces = source.photo(row.file or "", row.place)
            return await asyncio.to_thread(self._intake.check, spool, pieces)
        except Refusal as refusal:
            return refusal
        except OSError as error:
            raise unavailable(error) from error

    async def _record(
        self, session: AsyncSession, run: ImportRun, checked: Checked, claim: Claim | None
    ) -> None:
        await _lock_run(session, run.id)
        people = await _find_people(session, await _waiting(session, run.id, checked), checked)
        rows = await _waiting(session, run.id, checked)  # without those who were deleted meanwhile
        faces = [face for row in rows if (face := _settle(row, people, checked))]
        photos = [_photo(checked, row) for row in rows if row.face_id]
        with session.no_autoflush:  # of the rows: photos are locked before them
            await self._archive.keep(session, {one.name.sha256: one for one in photos}.values())
        session.add_all(people.rows[person_id] for person_id in {face.person_id for face in faces})
        await session.flush()
        session.add_all(faces)
        await session.flush()
        for face in faces:
            if face.status == "pending":
                await self._queue.add(session, "enrolment", face.id, held=False)
        if claim is not None:
            await self._queue.extend(session, claim)
        if faces:
            await link(session, [_entry(run, face) for face in faces])


async def _lock_run(session: AsyncSession, run_id: str) -> None:
    if on_postgresql(session):  # on SQLite, whoever writes is alone anyway
        await session.execute(sql(f"SELECT pg_advisory_xact_lock({_ONE_AT_A_TIME})"))
    await lock_run(session, run_id)


async def _waiting(session: AsyncSession, run_id: str, checked: Checked) -> Sequence[ImportRow]:
    """Those of the rows that are still to be done."""
    waiting = select(ImportRow).where(
        ImportRow.import_id == run_id,
        ImportRow.number.in_(checked),
        ImportRow.outcome == "waiting",
    )
    return (await session.scalars(waiting.order_by(ImportRow.number))).all()


async def _find_people(
    session: AsyncSession, rows: Sequence[ImportRow], checked: Checked
) -> _People:
    """Locked, so that nobody removes them, or gives them the same photo, meanwhile."""
    people = _People()
    references = [one for row in rows if (one := _details(row).get("reference"))]
    same = select(Person.id, Person.reference).where(Person.reference.in_(references))
    for person_id, reference in await session.execute(same):
        people.by_reference.setdefault(str(reference), []).append(person_id)
    ids = [str(row.person_id) for row in rows]
    ids += [one for found in people.by_reference.values() for one in found]
    locked = select(Person).where(Person.id.in_(ids)).order_by(Person.id).with_for_update()
    for person in await session.scalars(locked.options(raiseload("*"))):
        people.rows[person.id] = person
    gone = await session.scalars(
        select(Removal.person_id).where(Removal.person_id.in_(ids), Removal.face_id.is_(None))
    )
    people.removed = set(gone) - people.rows.keys()
    photos = [one for one in checked.values() if isinstance(one, CheckedPhoto)]
    sha256s = [photo.name.sha256 for photo in photos]
    owners = select(Face.photo_sha256, Face.person_id).where(Face.photo_sha256.in_(sha256s))
    for sha256, person_id in await session.execute(owners.order_by(Face.created_at, Face.id)):
        people.owners.setdefault(sha256, []).append(person_id)
    return people


def _settle(row: ImportRow, people: _People, checked: Checked) -> Face | None:
    """The row's outcome; the face that it makes, unless there is none to be made."""
    try:
        sha256 = _photo(checked, row).name.sha256
        person = people.person_of(row, _details(row))
    except Problem as problem:
        _end(row, problem)
        return None
    row.person_id, row.details, row.place = person.id, None, None
    owners = people.owners.setdefault(sha256, [])
    if person.id in owners:
        row.outcome = "duplicate"
        return None
    row.also_of = owners[0] if owners else None
    owners.append(person.id)
    row.outcome, row.face_id = "kept", new_id()
    status = "withdrawn" if person.found_at else "pending"
    return Face(id=row.face_id, person_id=person.id, photo_sha256=sha256, status=status)


def _end(row: ImportRow, problem: Problem) -> None:
    row.outcome, row.problem = "refused", problem.summary()
    row.person_id, row.details, row.place = None, None, None


def _details(row: ImportRow) -> dict[str, Any]:
    return read_details(row.details or {})


def _photo(checked: Checked, row: ImportRow) -> CheckedPhoto:
    photo = checked[row.number]
    if isinstance(photo, Refusal):
        raise photo
    return photo


def _entry(run: ImportRun, face: Face) -> Entry:
    return Entry(
        run.key_id,
        NOBODY,
        "import",
        current_request_id(),
        "allowed",
        person_id=face.person_id,
        subject_id=run.id,
        photo_sha256=face.photo_sha256,
    )
