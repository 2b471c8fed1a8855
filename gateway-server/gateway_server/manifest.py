"""Whom the gallery should hold, as a table that `inference-server enrol` reads: ids and photos.

For a lost gallery or new networks on one machine: every core embeds, and no photo goes over HTTP.
"""

import csv
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select

from gateway_server.database import Database
from gateway_server.photo_store import PhotoName
from gateway_server.settings import SettingsError
from gateway_server.tables import Face, Photo

COLUMNS = ("person_id", "face_id", "photo", "face")
FACES_AT_A_TIME = 1000
AnyRow = Row[*tuple[Any, ...]]


async def write_manifest(database: Database, photo_dir: Path, file: Path) -> int:
    """How many faces: enrolled and pending ones, as `reenrol` would send them.

    Photos are named from the manifest's folder, so it lies in PHOTO_DIR or above. Raises
    SettingsError where it does not, or cannot be written.
    """
    photos = _folder_between(file, photo_dir)
    faces = 0
    try:
        with file.open("x", encoding="utf-8", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(COLUMNS)
            async for rows in _faces(database):
                writer.writerows(_line(row, photos) for row in rows)
                faces += len(rows)
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from error
    return faces


def _folder_between(file: Path, photo_dir: Path) -> Path:
    try:
        return photo_dir.resolve().relative_to(file.resolve().parent)
    except ValueError as error:
        raise SettingsError(
            f"{file} must lie in PHOTO_DIR ({photo_dir}) or above: it names photos from its folder"
        ) from error


async def _faces(database: Database) -> AsyncIterator[Sequence[AnyRow]]:
    wanted = (
        select(Face.person_id, Face.id, Face.face_index, Photo.sha256, Photo.media_type)
        .join(Photo, Photo.sha256 == Face.photo_sha256)
        .where(Face.status != "withdrawn")
        .order_by(Face.id)
        .limit(FACES_AT_A_TIME)
    )
    after = ""
    while True:
        async with database.read() as session:
            rows = (await session.execute(wanted.where(Face.id > after))).all()
        if not rows:
            return
        yield rows
        after = rows[-1].id


def _line(row: AnyRow, photos: Path) -> Sequence[str | int]:
    path = photos / PhotoName(row.sha256, row.media_type).path
    return row.person_id, row.id, path.as_posix(), "" if row.face_index is None else row.face_index
