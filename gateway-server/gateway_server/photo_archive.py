"""Photo rows and photo files, kept in step.

Whoever keeps or forgets a photo locks its row first and touches the file before the transaction
ends, so the two never meet over one photo. A crash may leave a file without a row, but no search
and no face without its file.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Executable, exists, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database, on_postgresql
from gateway_server.intake import CheckedPhoto
from gateway_server.photo_store import PhotoName, PhotoShelf
from gateway_server.problems import PhotoStoreUnavailable
from gateway_server.tables import Face, Photo, Search, now


@dataclass(frozen=True)
class StoredPhoto:
    data: bytes
    media_type: str


class PhotoArchive:
    def __init__(self, database: Database, store: PhotoShelf) -> None:
        self._database = database
        self._store = store

    async def keep(self, session: AsyncSession, photos: Iterable[CheckedPhoto]) -> None:
        """Within the caller's transaction, which also adds the row that refers to each photo."""
        for photo in sorted(photos, key=lambda one: one.name.sha256):  # one order: no deadlock
            await _lock_row(session, photo)
            await self._store.save(photo.spool, photo.name)

    async def hold(
        self, session: AsyncSession, names: Collection[PhotoName]
    ) -> Collection[PhotoName]:
        """Those that lie there, with their rows; they stay until the caller's transaction ends."""
        sha256s = [one.sha256 for one in names]
        rows = select(Photo.sha256).where(Photo.sha256.in_(sha256s)).order_by(Photo.sha256)
        locked = set(await session.scalars(rows.with_for_update(read=True, key_share=True)))
        kept = [one for one in names if one.sha256 in locked]
        return set(kept).difference(await self._store.missing(kept))

    async def read(self, sha256: str) -> StoredPhoto:
        async with self._database.read() as session:
            row = await session.get(Photo, sha256)
        if row is None:
            raise PhotoStoreUnavailable("The photo is no longer kept")
        data = await self._store.open(PhotoName(row.sha256, row.media_type))
        return StoredPhoto(data, row.media_type)

    async def forget(self, sha256s: Iterable[str]) -> int:
        """Delete those of the photos that no search and no face refers to any more: how many."""
        forgotten = 0
        for sha256 in sorted(set(sha256s)):
            async with self._database.write() as session:
                forgotten += await self._forget_unreferenced(session, sha256)
        return forgotten

    async def sweep(self, orphan: PhotoName) -> bool:
        """Delete a file that no row knows, unless a row has come for it meanwhile.

        For a moment it has a row, so that nobody keeps the same photo while the file goes.
        """
        async with self._database.write() as session:
            await session.execute(_insert_unless_there(session, orphan))
            return await self._forget_unreferenced(session, orphan.sha256)

    async def _forget_unreferenced(self, session: AsyncSession, sha256: str) -> bool:
        locked = select(Photo).where(Photo.sha256 == sha256).with_for_update()
        row = await session.scalar(locked)
        if row is None or await _is_referenced(session, sha256):
            return False
        await session.delete(row)
        await session.flush()
        await self._store.delete(PhotoName(row.sha256, row.media_type))
        return True


async def _lock_row(session: AsyncSession, photo: CheckedPhoto) -> None:
    insert = postgresql.insert if on_postgresql(session) else sqlite.insert
    values = {
        "sha256": photo.name.sha256,
        "media_type": photo.name.media_type,
        "bytes": photo.spool.size_bytes,
        "width": photo.width,
        "height": photo.height,
    }
    unchanged = {"media_type": photo.name.media_type}  # an update, even to the same, takes the lock
    await session.execute(
        insert(Photo)
        .values(values)
        .on_conflict_do_update(index_elements=["sha256"], set_=unchanged)
    )


def _insert_unless_there(session: AsyncSession, name: PhotoName) -> Executable:
    insert = postgresql.insert if on_postgresql(session) else sqlite.insert
    values = {"sha256": name.sha256, "media_type": name.media_type}
    return (
        insert(Photo)
        .values(**values, bytes=0, width=0, height=0, created_at=now())
        .on_conflict_do_nothing()
    )


async def _is_referenced(session: AsyncSession, sha256: str) -> bool:
    in_searches = exists().where(Search.photo_sha256 == sha256)
    in_faces = exists().where(Face.photo_sha256 == sha256)
    return bool(await session.scalar(select(in_searches | in_faces)))
