"""Where enrolled faces come from: what decides whether a photo is enrolled already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, exists, or_, select

from inference_server.gallery import ModelStamp
from inference_server.gallery.batches import Enrolled, Trace
from inference_server.gallery.stamped import is_by
from inference_server.gallery.tables import embedding, face


def read_enrolled(
    connection: Connection,
    person_ids: Sequence[str],
    photo_sha256s: Sequence[str],
    stamp: ModelStamp,
) -> Sequence[Enrolled]:
    """Every face of one of these persons from one of these photos."""
    beside = exists().where(embedding.c.face_id == face.c.face_id, is_by(embedding, stamp))
    wanted = select(
        face.c.face_id,
        face.c.person_id,
        face.c.photo_sha256,
        face.c.face_index,
        or_(is_by(face, stamp), beside).label("is_current"),
    ).where(face.c.person_id.in_(person_ids), face.c.photo_sha256.in_(photo_sha256s))
    return [Enrolled(**row) for row in connection.execute(wanted).mappings()]


def read_traces(connection: Connection, face_ids: Sequence[str]) -> dict[str, Trace]:
    """By face_id, of those that are enrolled."""
    beside = defaultdict[str, set[ModelStamp]](set)
    stamps = select(embedding.c.face_id, embedding.c.base_sha256, embedding.c.heatmap_sha256)
    for face_id, *sha256s in connection.execute(stamps.where(embedding.c.face_id.in_(face_ids))):
        beside[face_id].add(ModelStamp(*sha256s))
    wanted = select(
        face.c.face_id,
        face.c.person_id,
        face.c.photo_sha256,
        face.c.face_index,
        face.c.base_sha256,
        face.c.heatmap_sha256,
    ).where(face.c.face_id.in_(face_ids))
    return {
        row.face_id: Trace(
            row.person_id,
            row.photo_sha256,
            row.face_index,
            frozenset({ModelStamp(row.base_sha256, row.heatmap_sha256)} | beside[row.face_id]),
        )
        for row in connection.execute(wanted)
    }
