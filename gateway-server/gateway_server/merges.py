"""Two records of one person made one: faces, verdicts and candidates of the other follow at once.

The inference tier follows durably, by jobs: each face is enrolled under the kept person, under an
id of its own, and the other is deleted there when all of them are. Until then it goes on to find
the other, and every answer of ours names the kept person: see `people`. A kill at any moment leaves
jobs behind, and no moment without the person.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Text, cast, delete, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.audit import append
from gateway_server.auth import Caller
from gateway_server.database import Database
from gateway_server.failures import FailureLedger
from gateway_server.jobs import Claim, JobQueue
from gateway_server.people import Successor, follow, ranked
from gateway_server.problems import PersonNotFound, SamePerson
from gateway_server.review.leads import move_person as move_leads_of
from gateway_server.tables import (
    Face,
    Feedback,
    ImportRow,
    Merge,
    Person,
    RefusedPhoto,
    Removal,
    Search,
    new_id,
    now,
)
from gateway_server.texts import fold

AT_A_TIME = 500
LONGEST_TRANSACTION = timedelta(minutes=10)
"""What is written later than this after it was begun, nobody writes."""
TAKEN_OVER = ("reference", "birth_date", "missing_since", "notes")
"""Of the other's details, where the kept person has none; name and status are the kept one's."""


@dataclass(frozen=True)
class Begun:
    """What the inference tier is to do; `removal_id`: None if its receipt is no longer kept."""

    enrolments: Sequence[Claim]
    removal_id: str | None


@dataclass(frozen=True)
class Named:
    """The searches that named somebody when we looked."""

    search_ids: Collection[str]
    since: datetime
    """Of those that ended later, some may not have been seen yet."""


class Merges:
    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        failures: FailureLedger,
        look_again_s: float,
    ) -> None:
        """`look_again_s`: before the other is deleted there, whoever waits for the enrolments."""
        self._look_again = timedelta(seconds=look_again_s)
        self._database = database
        self._queue = queue
        self._failures = failures

    async def begin(self, kept_id: str, other_id: str, caller: Caller, *, held: bool) -> Begun:
        """All of it is so here when this returns; once more, it changes nothing."""
        if kept_id == other_id:
            raise SamePerson(f"Both are {kept_id}")
        named = await self._look_for(other_id)
        async with self._database.write() as session:
            kept, other = await _lock_both(session, kept_id, other_id)
            if other is None:
                return await _merged_before(session, kept_id, other_id)
            return await self._merge(session, kept, other, named, caller, held=held)

    async def _look_for(self, person_id: str) -> Named:
        """Through all answers: before anybody has to wait for the merge."""
        since = now() - LONGEST_TRANSACTION
        async with self._database.read() as session:
            found = await session.scalars(select(Search.id).where(_names(person_id)))
            return Named(frozenset(found), since)

    async def _merge(
        self,
        session: AsyncSession,
        kept: Person,
        other: Person,
        named: Named,
        caller: Caller,
        *,
        held: bool,
    ) -> Begun:
        _take_over(kept, other)
        successor = await _move_rows(session, kept, other, named)
        await self._failures.resolve_faces(session, list(successor.faces), "merged")
        await _remember(session, other.id, successor, caller)
        await session.execute(delete(Person).where(Person.id == other.id))
        settles_at = await self._queue.cancel(session, "enrolment", list(successor.faces))
        claims = await self._queue_enrolments(session, successor, held=held)
        removal_id = await self._queue_removal(session, other.id, caller, settles_at)
        await append(session, "merge", person_id=kept.id, subject_id=other.id)
        await append(session, "merge", person_id=other.id, subject_id=kept.id)
        return Begun(claims, removal_id)

    async def _queue_removal(
        self, session: AsyncSession, other_id: str, caller: Caller, settles_at: datetime | None
    ) -> str:
        """Its photos stay: they are the kept person's."""
        whose = {"person_id": other_id, "key_id": caller.key_id}
        removal = Removal(id=new_id(), photo_sha256s=[], settles_at=settles_at, **whose)
        session.add(removal)
        later = now() + self._look_again
        await self._queue.add(session, "deletion", removal.id, held=False, not_before=later)
        return removal.id

    async def _queue_enrolments(
        self, session: AsyncSession, successor: Successor, *, held: bool
    ) -> Sequence[Claim]:
        theirs = select(Face.id).where(
            Face.person_id == successor.person_id,
            Face.id.in_(sorted(successor.faces.values())),
            Face.status == "pending",
        )
        waiting = (await session.scalars(theirs.order_by(Face.id))).all()
        return [await self._queue.add(session, "enrolment", one, held=held) for one in waiting]


async def successor_of(session: AsyncSession, person_id: str) -> str | None:
    """Who the person is by now, if their record was merged into another."""
    return await session.scalar(select(Merge.into_id).where(Merge.person_id == person_id))


async def not_found(session: AsyncSession, person_id: str) -> PersonNotFound:
    """The problem, which names whom a merged person has become."""
    into_id = await successor_of(session, person_id)
    if into_id is None:
        return PersonNotFound()
    return PersonNotFound("The record was merged into another", merged_into=into_id)


async def awaits_enrolments(session: AsyncSession, person_id: str) -> bool:
    """Whether a merged person is found by the inference tier under the other's id alone."""
    merge = await session.get(Merge, person_id)
    if merge is None:
        return False
    moved = sorted(merge.faces.values())
    waiting = select(Face.id).where(Face.id.in_(moved), Face.status == "pending").limit(1)
    return await session.scalar(waiting) is not None


async def _lock_both(
    session: AsyncSession, kept_id: str, other_id: str
) -> tuple[Person, Person | None]:
    both = select(Person).where(Person.id.in_([kept_id, other_id])).order_by(Person.id)
    found = {one.id: one for one in await session.scalars(both.with_for_update())}
    if kept_id not in found:
        raise await not_found(session, kept_id)
    return found[kept_id], found.get(other_id)


async def _merged_before(session: AsyncSession, kept_id: str, other_id: str) -> Begun:
    if await successor_of(session, other_id) != kept_id:
        raise (await not_found(session, other_id)).about(person_id=other_id)
    receipts = select(Removal.id).where(Removal.person_id == other_id, Removal.face_id.is_(None))
    return Begun([], await session.scalar(receipts))


def _take_over(kept: Person, other: Person) -> None:
    for name in TAKEN_OVER:
        if getattr(kept, name) is None:
            setattr(kept, name, getattr(other, name))
    kept.search_text = fold(f"{kept.name}\n{kept.reference or ''}")


async def _move_rows(session: AsyncSession, kept: Person, other: Person, named: Named) -> Successor:
    """Whatever is the other's is the kept person's; in the order of the locks."""
    successor = Successor(kept.id, await _move_faces(session, kept, other))
    await _move_answers(session, other.id, successor, named)
    await _move_verdicts(session, other.id, kept.id)
    await move_leads_of(session, other.id, into=kept.id)
    await _move_import_rows(session, other.id, successor)
    return successor


async def _move_faces(session: AsyncSession, kept: Person, other: Person) -> dict[str, str]:
    """The id that each of the other's faces has now, by its former; one photo is one face."""
    both = select(Face).where(Face.person_id.in_([kept.id, other.id])).order_by(Face.id)
    faces = (await session.scalars(both.with_for_update())).all()
    by_photo = {one.photo_sha256: one.id for one in faces if one.person_id == kept.id}
    moved: dict[str, str] = {}
    for face in (one for one in faces if one.person_id == other.id):
        known = by_photo.get(face.photo_sha256)
        moved[face.id] = known or new_id()
        this_one = Face.id == face.id
        if known:
            await session.execute(delete(Face).where(this_one))
        else:
            status = "withdrawn" if kept.found_at else "pending"
            values = {"id": moved[face.id], "person_id": kept.id, "status": status}
            await session.execute(update(Face).where(this_one).values(values))
    theirs = update(RefusedPhoto).where(RefusedPhoto.person_id == other.id)
    await session.execute(theirs.values(person_id=kept.id))
    return moved


async def _move_answers(
    session: AsyncSession, other_id: str, successor: Successor, named: Named
) -> None:
    """Earlier searches that found the other have found the kept person."""
    later = select(Search.id).where(await _may_be_new(session, other_id, named), _names(other_id))
    ids = sorted({*named.search_ids, *await session.scalars(later)})
    for start in range(0, len(ids), AT_A_TIME):
        naming = select(Search).where(Search.id.in_(ids[start : start + AT_A_TIME]))
        for search in await session.scalars(naming.order_by(Search.id).with_for_update()):
            answer = search.answer or {}
            today = ranked(follow(answer["candidates"], {other_id: successor}))
            search.answer = {**answer, "candidates": today}
        await session.flush()


async def _may_be_new(session: AsyncSession, other_id: str, named: Named) -> ColumnElement[bool]:
    """Whoever was merged into the other meanwhile has brought answers of any age."""
    brought = select(Merge.person_id).where(
        Merge.into_id == other_id, Merge.merged_at >= named.since
    )
    if await session.scalar(brought.limit(1)) is not None:
        return true()
    return Search.finished_at >= named.since


def _names(person_id: str) -> ColumnElement[bool]:
    return cast(Search.answer, Text).contains(person_id)


async def _move_verdicts(session: AsyncSession, other_id: str, kept_id: str) -> None:
    """Where one reviewer judged both in one search, what was said of the kept person stays."""
    said = select(Feedback).where(Feedback.person_id == other_id).order_by(Feedback.id)
    for verdict in (await session.scalars(said)).all():
        of_kept = select(Feedback.id).where(
            Feedback.search_id == verdict.search_id,
            Feedback.key_id == verdict.key_id,
            Feedback.person_id == kept_id,
        )
        if await session.scalar(of_kept) is None:
            verdict.person_id = kept_id
        else:
            await session.delete(verdict)
    await session.flush()


async def _move_import_rows(session: AsyncSession, other_id: str, successor: Successor) -> None:
    """Rows that still wait make faces of the kept person."""
    about = or_(ImportRow.person_id == other_id, ImportRow.also_of == other_id)
    ordered = select(ImportRow).where(about).order_by(ImportRow.import_id, ImportRow.number)
    for row in await session.scalars(ordered.with_for_update()):
        if row.person_id == other_id:
            row.person_id = successor.person_id
            row.face_id = successor.faces.get(row.face_id or "", row.face_id)
        if row.also_of == other_id:
            row.also_of = successor.person_id
        if row.also_of == row.person_id:
            row.also_of = None
    await session.flush()


async def _remember(
    session: AsyncSession, other_id: str, successor: Successor, caller: Caller
) -> None:
    """Those who became the other earlier are the kept person as well."""
    earlier = select(Merge).where(Merge.into_id == other_id).order_by(Merge.person_id)
    for merge in await session.scalars(earlier.with_for_update()):
        merge.faces = _later(merge.faces, successor.faces)
        merge.into_id = successor.person_id
    merged = {"person_id": other_id, "into_id": successor.person_id, "key_id": caller.key_id}
    session.add(Merge(**merged, faces=dict(successor.faces)))
    await session.flush()


def _later(faces: Mapping[str, str], moved: Mapping[str, str]) -> dict[str, str]:
    return {former: moved.get(id_, id_) for former, id_ in faces.items()}
