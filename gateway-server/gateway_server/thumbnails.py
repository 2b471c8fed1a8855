"""Stored photos made small for lists, by the inference tier: no pixel is decoded here.

Made when somebody first wants to look, and kept beside the photo's row, which takes them along.
"""

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database, on_postgresql
from gateway_server.inference_client import InferenceClient
from gateway_server.photo_archive import PhotoArchive, StoredPhoto
from gateway_server.tables import Photo, Thumbnail

BEST_FACE = -1
MEDIA_TYPE = "image/webp"


class Thumbnails:
    def __init__(
        self, database: Database, archive: PhotoArchive, inference: InferenceClient
    ) -> None:
        self._database = database
        self._archive = archive
        self._inference = inference

    async def of(self, photo_sha256: str, face_index: int | None) -> StoredPhoto:
        """`face_index`: None for the best face."""
        place = (photo_sha256, BEST_FACE if face_index is None else face_index)
        async with self._database.read() as session:
            kept = await session.get(Thumbnail, place)
        webp = kept.webp if kept else await self._make(*place, face_index)
        return StoredPhoto(webp, MEDIA_TYPE)

    async def _make(self, photo_sha256: str, place: int, face_index: int | None) -> bytes:
        photo = await self._archive.read(photo_sha256)
        webp = await self._inference.thumbnail(photo, face_index)
        async with self._database.write() as session:
            await _keep(session, photo_sha256, place, webp)
        return webp


async def _keep(session: AsyncSession, photo_sha256: str, face_index: int, webp: bytes) -> None:
    """Unless the photo was deleted meanwhile, or somebody else has been faster."""
    photo = select(Photo.sha256).where(Photo.sha256 == photo_sha256)
    if await session.scalar(photo.with_for_update(read=True, key_share=True)) is None:
        return
    insert = postgresql.insert if on_postgresql(session) else sqlite.insert
    values = {"photo_sha256": photo_sha256, "face_index": face_index, "webp": webp}
    await session.execute(insert(Thumbnail).values(values).on_conflict_do_nothing())
