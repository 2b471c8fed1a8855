"""What is kept no longer: old searches with their answers and verdicts, and photos nobody needs.

A search that has not ended stays, whatever its age; so does the photo of whoever is enrolled, and
every row of the audit. Everything is found again by the next run, so one that is broken off, or
that two gateways do at once, harms nothing.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, exists, func, select, update

from gateway_server.audit import append
from gateway_server.database import Database
from gateway_server.one_time import OneTimeRequests
from gateway_server.photo_archive import PhotoArchive
from gateway_server.photo_store import PhotoInventory, PhotoName
from gateway_server.review.leads import retire
from gateway_server.tables import (
    Face,
    Failure,
    ImportRow,
    ImportRun,
    Job,
    OneTime,
    Photo,
    RefusedPhoto,
    Removal,
    Row,
    Search,
    now,
)

AT_A_TIME = 500
ORPHANED_AFTER: Final = timedelta(hours=1)  # a row may still come for a file that is newer


@dataclass(frozen=True)
class Swept:
    """How many of each went, or would go."""

    searches: int
    photos: int
    answers: int
    """Kept for an Idempotency-Key."""
    failures: int
    removals: int
    imports: int
    orphans: int
    """Files that no row knows."""
    missing: Sequence[str]
    """sha256 of photos whose file is gone: nothing was done about these."""


class Retention:
    def __init__(
        self,
        database: Database,
        archive: PhotoArchive,
        inventory: PhotoInventory,
        one_time: OneTimeRequests,
        days: int,
    ) -> None:
        """`days`: 0 keeps searches until somebody deletes them."""
        self._database = database
        self._archive = archive
        self._inventory = inventory
        self._one_time = one_time
        self._days = days

    async def run(self) -> Swept:
        before = self._before()
        searches, photos = await self._delete_searches(before)
        photos += await self._delete_unreferenced()
        failures = await self._delete(Failure, Failure.resolved_at < before)
        removals = await self._delete(Removal, Removal.done_at < before)
        imports = await self._delete_imports(before)
        await self._delete_reasons(before)
        answers = await self._one_time.forget_old()
        orphans = await self._delete_orphans()
        missing = await self._missing()
        async with self._database.write() as session:
            await append(session, "expire")
        return Swept(searches, photos, answers, failures, removals, imports, orphans, missing)

    async def preview(self) -> Swept:
        """What `run` would do now; nothing is changed."""
        before = self._before()
        needed = and_(Search.photo_sha256 == Photo.sha256, ~_is_old(before))
        unneeded = ~exists().where(needed) & ~_in_faces()
        orphans = [len(batch) async for batch in self._orphans()]
        return Swept(
            searches=await self._count(Search, _is_old(before)),
            photos=await self._count(Photo, unneeded),
            answers=await self._count(OneTime, self._one_time.is_old()),
            failures=await self._count(Failure, Failure.resolved_at < before),
            removals=await self._count(Removal, Removal.done_at < before),
            imports=await self._count(ImportRun, ImportRun.finished_at < before),
            orphans=sum(orphans),
            missing=await self._missing(),
        )

    def _before(self) -> datetime:
        """Older ones go; with no end to the days, none is as old."""
        return now() - timedelta(days=self._days or 36_500)

    async def _delete_searches(self, before: datetime) -> tuple[int, int]:
        """With what hangs on them; their number, and that of the photos that went along."""
        searches, photos = 0, 0
        while gone := await self._delete_some_searches(before):
            searches += len(gone)
            photos += await self._archive.forget(gone)
        return searches, photos

    async def _delete_some_searches(self, before: datetime) -> Sequence[str]:
        """The photos of some that are deleted."""
        async with self._database.write() as session:
            old = select(Search).where(_is_old(before)).order_by(Search.id).limit(AT_A_TIME)
            rows = (await session.scalars(old.with_for_update(skip_locked=True))).all()
            ids = [row.id for row in rows]
            await retire(session, ids)
            await session.execute(delete(Search).where(Search.id.in_(ids)))
            open_failures = Failure.search_id.in_(ids) & Failure.resolved_at.is_(None)
            ended = {"resolved_at": now(), "outcome": "expired", "next_attempt_at": None}
            await session.execute(update(Failure).where(open_failures).values(ended))
            return [row.photo_sha256 for row in rows]

    async def _delete_reasons(self, before: datetime) -> None:
        """Why photos were refused."""
        async with self._database.write() as session:
            await session.execute(delete(RefusedPhoto).where(RefusedPhoto.refused_at < before))

    async def _delete_imports(self, before: datetime) -> int:
        """One by one, and their rows in order: who deletes a person takes out theirs meanwhile."""
        ended = select(ImportRun.id).where(ImportRun.finished_at < before).order_by(ImportRun.id)
        async with self._database.read() as session:
            ids = (await session.scalars(ended)).all()
        for run_id in ids:
            async with self._database.write() as session:
                await session.get(ImportRun, run_id, with_for_update=True)
                theirs = select(ImportRow.number).where(ImportRow.import_id == run_id)
                await session.execute(theirs.order_by(ImportRow.number).with_for_update())
                await session.execute(delete(ImportRun).where(ImportRun.id == run_id))
        return len(ids)

    async def _delete_unreferenced(self) -> int:
        """Photos that a run before this, or a crash, has left behind."""
        found, after = 0, ""
        while batch := await self._unreferenced_after(after):
            found, after = found + await self._archive.forget(batch), batch[-1]
        return found

    async def _unreferenced_after(self, sha256: str) -> Sequence[str]:
        in_searches = exists().where(Search.photo_sha256 == Photo.sha256)
        unneeded = select(Photo.sha256).where(Photo.sha256 > sha256, ~in_searches, ~_in_faces())
        async with self._database.read() as session:
            return (await session.scalars(unneeded.order_by(Photo.sha256).limit(AT_A_TIME))).all()

    async def _delete_orphans(self) -> int:
        deleted = 0
        async for batch in self._orphans():
            for name in batch:
                deleted += await self._archive.sweep(name)
        return deleted

    async def _orphans(self) -> AsyncIterator[Sequence[PhotoName]]:
        older_than_s = (now() - ORPHANED_AFTER).timestamp()
        async for names in self._inventory.files(older_than_s):
            known = await self._known([name.sha256 for name in names])
            yield [name for name in names if name.sha256 not in known]

    async def _known(self, sha256s: Sequence[str]) -> set[str]:
        known: set[str] = set()
        async with self._database.read() as session:
            for start in range(0, len(sha256s), AT_A_TIME):
                some = sha256s[start : start + AT_A_TIME]
                rows = select(Photo.sha256).where(Photo.sha256.in_(some))
                known |= set(await session.scalars(rows))
        return known

    async def _missing(self) -> Sequence[str]:
        missing: list[str] = []
        after = ""
        while rows := await self._photos_after(after):
            names = [PhotoName(row.sha256, row.media_type) for row in rows]
            lost = [name.sha256 for name in await self._inventory.missing(names)]
            still_there = await self._known(lost)  # and not deleted, file and row, meanwhile
            missing += [sha256 for sha256 in lost if sha256 in still_there]
            after = rows[-1].sha256
        return missing

    async def _photos_after(self, sha256: str) -> Sequence[Photo]:
        following = select(Photo).where(Photo.sha256 > sha256).order_by(Photo.sha256)
        async with self._database.read() as session:
            return (await session.scalars(following.limit(AT_A_TIME))).all()

    async def _delete(self, kind: type[Failure] | type[Removal], which: ColumnElement[bool]) -> int:
        async with self._database.write() as session:
            gone = delete(kind).where(which).returning(kind.id)
            return len((await session.execute(gone)).all())

    async def _count(self, kind: type[Row], which: ColumnElement[bool]) -> int:
        async with self._database.read() as session:
            return await session.scalar(select(func.count()).select_from(kind).where(which)) or 0


def _is_old(before: datetime) -> ColumnElement[bool]:
    """Ended, and nothing is to be done about it any more."""
    at_work = exists().where(Job.kind == "search", Job.subject_id == Search.id)
    return and_(Search.status.in_(("done", "failed")), Search.created_at < before, ~at_work)


def _in_faces() -> ColumnElement[bool]:
    return exists().where(Face.photo_sha256 == Photo.sha256)
