"""Reads what happened to the searchable faces since a moment, as a stream."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, Select, func, select

from inference_server.gallery import FaceBatch, ModelStamp, Moment, News
from inference_server.gallery.rows import batch_of
from inference_server.gallery.stamped import stamped
from inference_server.gallery.tables import MARK_CHARS, change, gallery, removal

BATCH_ROWS: Final = 2048
"""2 MiB of embeddings at a time, or 130 MiB of descriptors of 16,384 numbers."""


def draw_mark() -> str:
    return secrets.token_hex(MARK_CHARS // 2)


def read_moment(connection: Connection) -> Moment:
    """Without a mark if a server from before there were marks made the last change."""
    latest = select(gallery.c.version, change.c.mark).join_from(
        gallery, change, change.c.version == gallery.c.version, isouter=True
    )
    version, mark = connection.execute(latest).one()
    return Moment(version, mark or "")


def read_news(connection: Connection, since: Moment, stamp: ModelStamp) -> News:
    """Everything, if this gallery never was at the moment."""
    anew = not was_at(connection, since)
    version = -1 if anew else since.version
    faces = stamped(stamp, few=not anew)
    came = select(faces).where(faces.c.version > version)
    counted = select(func.count()).select_from(faces).where(faces.c.version > version)
    return News(
        moment=read_moment(connection),
        anew=anew,
        removed=frozenset() if anew else _removed(connection, version),
        count=connection.execute(counted).scalar_one(),
        batches=_batches(connection, came),
    )


def was_at(connection: Connection, since: Moment) -> bool:
    return since.mark != "" and moment_of(connection, since.version) == since


def moment_of(connection: Connection, version: int) -> Moment:
    """Without a mark if a server from before there were marks made that change."""
    mark = select(change.c.mark).where(change.c.version == version)
    return Moment(version, connection.execute(mark).scalar() or "")


def _removed(connection: Connection, version: int) -> frozenset[str]:
    gone = select(removal.c.face_id).where(removal.c.version > version)
    return frozenset(connection.execute(gone).scalars())


def _batches(connection: Connection, came: Select[Any]) -> Iterator[FaceBatch]:
    """In no order: that would make the database sort a million vectors first."""
    streamed = connection.execute(came, execution_options={"yield_per": BATCH_ROWS})
    for rows in streamed.partitions():
        yield batch_of(rows)
