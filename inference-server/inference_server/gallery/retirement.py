"""Vectors of networks that have served their time are deleted, once a face has others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    delete,
    false,
    or_,
    select,
    union,
    update,
)

from inference_server.gallery import ModelStamp
from inference_server.gallery.store import SqlStore
from inference_server.gallery.tables import embedding, face, tally

FACES_AT_ONCE: Final = 1000
_MOVED: Final = ("base", "heatmap", "base_sha256", "heatmap_sha256", "version")


def retiring(store: SqlStore, kept: Collection[ModelStamp]) -> frozenset[ModelStamp]:
    """The stamps that `retire` would end."""
    with store.reading() as connection:
        return _stamps(connection) - frozenset(kept)


def retire(store: SqlStore, kept: Collection[ModelStamp]) -> frozenset[ModelStamp]:
    """The stamps that are gone or going: faces with no other vectors keep those they have.

    What the kept networks search does not change, nor does the gallery's version. Broken off, it
    is simply begun again.
    """
    retired = retiring(store, kept)
    while _promote(store, kept):
        pass
    with store.writing() as connection:
        for table in (embedding, tally):
            connection.execute(delete(table).where(~_is_by_any(table, kept)))
    return retired


def _stamps(connection: Connection) -> frozenset[ModelStamp]:
    every = union(*(select(one.c.base_sha256, one.c.heatmap_sha256) for one in (face, embedding)))
    return frozenset(ModelStamp(base, heatmap) for base, heatmap in connection.execute(every))


def _promote(store: SqlStore, kept: Collection[ModelStamp]) -> bool:
    """Kept vectors from beside a face take the place of its own; whether there may be more."""
    wanted = (
        select(embedding)
        .join_from(embedding, face, face.c.face_id == embedding.c.face_id)
        .where(~_is_by_any(face, kept), _is_by_any(embedding, kept))
        .limit(FACES_AT_ONCE)
    )
    with store.writing() as connection:
        found = connection.execute(wanted).mappings().all()
        chosen = {row["face_id"]: row for row in found}
        rows = [
            {f"new_{name}": row[name] for name in ("face_id", *_MOVED)} for row in chosen.values()
        ]
        if rows:
            connection.execute(_PLACED, rows)
            connection.execute(_TAKEN, rows)
        return bool(rows)


_PLACED: Final = (
    update(face)
    .where(face.c.face_id == bindparam("new_face_id"))
    .values({name: bindparam(f"new_{name}") for name in _MOVED})
)
_TAKEN: Final = delete(embedding).where(
    embedding.c.face_id == bindparam("new_face_id"),
    embedding.c.base_sha256 == bindparam("new_base_sha256"),
    embedding.c.heatmap_sha256 == bindparam("new_heatmap_sha256"),
)


def _is_by_any(table: Table, stamps: Collection[ModelStamp]) -> ColumnElement[bool]:
    return or_(
        false(),
        *(
            and_(table.c.base_sha256 == one.base, table.c.heatmap_sha256 == one.heatmap)
            for one in stamps
        ),
    )
