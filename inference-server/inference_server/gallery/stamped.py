"""Which vectors of a face were made by which networks: in its own row, or beside it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    Subquery,
    Table,
    and_,
    delete,
    insert,
    select,
    union_all,
)

from inference_server.gallery import ModelStamp, Reference
from inference_server.gallery.rows import row_of
from inference_server.gallery.tables import embedding, face

_COLUMNS = tuple(column.name for column in embedding.columns)


def stamped(stamp: ModelStamp, *, few: bool = False) -> Subquery:
    """face_id, person_id, version, base, heatmap of every face that these networks embedded.

    `few`: some rows are wanted, which another column finds. Then the index over stamps, in which
    nearly everybody has the same one, is kept from being chosen, as SQLite would.
    """
    own = select(
        face.c.face_id, face.c.person_id, face.c.version, face.c.base, face.c.heatmap
    ).where(is_by(face, stamp, few=few))
    beside = (
        select(
            embedding.c.face_id,
            face.c.person_id,
            embedding.c.version,
            embedding.c.base,
            embedding.c.heatmap,
        )
        .join_from(embedding, face, face.c.face_id == embedding.c.face_id)
        .where(is_by(embedding, stamp, few=few))
    )
    return union_all(own, beside).subquery("stamped")


def is_by(table: Table, stamp: ModelStamp, *, few: bool = False) -> ColumnElement[bool]:
    """`table`: face or embedding."""
    base: ColumnElement[str] = table.c.base_sha256
    heatmap: ColumnElement[str] = table.c.heatmap_sha256
    if few:  # an expression is not what is indexed
        base, heatmap = base.concat(""), heatmap.concat("")
    return and_(base == stamp.base, heatmap == stamp.heatmap)


def stamps_of(connection: Connection, face_id: str) -> frozenset[ModelStamp]:
    """Whose vectors of this face are there."""
    found = union_all(
        *(
            select(table.c.base_sha256, table.c.heatmap_sha256).where(table.c.face_id == face_id)
            for table in (face, embedding)
        )
    )
    return frozenset(ModelStamp(base, heatmap) for base, heatmap in connection.execute(found))


def add_embeddings(connection: Connection, made: Sequence[Reference], version: int) -> None:
    rows = [{"version": version, **row_of(reference)} for reference in made]
    if rows:
        wanted = [{name: row[name] for name in _COLUMNS} for row in rows]
        connection.execute(insert(embedding), wanted)


def remove_embeddings(connection: Connection, wanted: ColumnElement[bool]) -> None:
    """Of the faces that meet a condition on the table `face`."""
    faces = select(face.c.face_id).where(wanted)
    connection.execute(delete(embedding).where(embedding.c.face_id.in_(faces)))
