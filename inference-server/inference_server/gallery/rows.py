"""References <-> rows of the table `face`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

import numpy as np
from sqlalchemy import Row

from inference_server.gallery import (
    ID_CHARS,
    MODELS,
    Changes,
    Embedding,
    EnrolledFace,
    FaceBatch,
    ModelStamp,
    Reference,
    Vectors,
)

AnyRow = Row[*tuple[Any, ...]]

VECTOR: Final = np.dtype("<f4")
IDENTIFIER: Final = np.dtype(f"S{ID_CHARS}")


def row_of(reference: Reference) -> dict[str, Any]:
    """Every column but `version`, which the transaction knows."""
    return {
        "face_id": reference.face_id,
        "person_id": reference.person_id,
        "base": reference.base.astype(VECTOR).tobytes(),
        "heatmap": reference.heatmap.astype(VECTOR).tobytes(),
        "base_sha256": reference.stamp.base,
        "heatmap_sha256": reference.stamp.heatmap,
        "photo_sha256": reference.photo_sha256,
        "face_index": reference.face_index,
        "box": json.dumps(reference.box),
        "quality": reference.quality,
        "warnings": json.dumps(reference.warnings),
        "created_at": reference.created_at.isoformat(),
    }


def reference_of(row: AnyRow) -> Reference:
    x, y, width, height = json.loads(row.box)
    return Reference(
        face_id=row.face_id,
        person_id=row.person_id,
        base=_embedding(row.base),
        heatmap=_embedding(row.heatmap),
        stamp=ModelStamp(row.base_sha256, row.heatmap_sha256),
        photo_sha256=row.photo_sha256,
        face_index=row.face_index,
        box=(x, y, width, height),
        quality=row.quality,
        warnings=tuple(json.loads(row.warnings)),
        created_at=datetime.fromisoformat(row.created_at),
    )


def changes_of(version: int, removed: frozenset[str], rows: Sequence[AnyRow]) -> Changes:
    return Changes(
        version=version,
        removed=removed,
        face_ids=tuple(row.face_id for row in rows),
        person_ids=tuple(row.person_id for row in rows),
        vectors=vectors_of(rows),
    )


def batch_of(rows: Sequence[AnyRow]) -> FaceBatch:
    return FaceBatch(
        face_ids=np.array([row.face_id for row in rows], dtype=IDENTIFIER),
        person_ids=np.array([row.person_id for row in rows], dtype=IDENTIFIER),
        vectors=vectors_of(rows),
    )


def vectors_of(rows: Sequence[AnyRow]) -> dict[str, Vectors]:
    """By model; rows of one stamp."""
    return {name: _vectors([getattr(row, name) for row in rows]) for name in MODELS}


def faces_by_person(rows: Sequence[AnyRow]) -> dict[str, tuple[EnrolledFace, ...]]:
    """Of rows that come sorted by person."""
    return {
        person_id: tuple(_enrolled_face(row) for row in group)
        for person_id, group in groupby(rows, key=attrgetter("person_id"))
    }


def _enrolled_face(row: AnyRow) -> EnrolledFace:
    return EnrolledFace(row.face_id, row.quality, datetime.fromisoformat(row.created_at))


def _embedding(blob: bytes) -> Embedding:
    return np.frombuffer(blob, dtype=VECTOR)


def _vectors(blobs: Sequence[bytes]) -> Vectors:
    """Rows of one stamp, and so of one length; where there are none, their length is 0."""
    columns = len(blobs[0]) // VECTOR.itemsize if blobs else 0
    return np.frombuffer(b"".join(blobs), dtype=VECTOR).reshape(len(blobs), columns)
