"""The faces of one stamp in Milvus, and how far they have followed the change log.

Everything is read at the level Strong: Milvus answers after it has seen all that was written
before the question, by whomever. That costs a wait for its next time tick (0.2 s at most, as it is
shipped), and is what makes an enrolment findable at once. Bounded staleness would be faster, with
a timestamp of the last write; that is known to the writer alone, and here everybody writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from inference_server.gallery import Embedding, ModelStamp
from inference_server.gallery.ledger import Page, VersionedFaces
from inference_server.gallery.milvus_connection import (
    READ_TIMEOUT_S,
    WRITE_TIMEOUT_S,
    MilvusConnection,
    outages_translated,
)
from inference_server.gallery.milvus_schema import (
    POSITIONS,
    Kind,
    Row,
    collection_name,
    face_id_of,
    face_indexes,
    face_rows,
    face_schema,
    position_indexes,
    position_row,
    position_schema,
)

STRONG: Final = "Strong"
NAMED_AT_ONCE: Final = 500  # identifiers in one filter
MOST_BATCH_BYTES: Final = 16 << 20  # of vectors; Milvus takes messages of 64 MiB
MOST_ROWS: Final = 16_384  # of one answer, by Milvus' own limit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hit:
    """`score`: what the index holds for the similarity; less exact where it keeps codes."""

    face_id: str
    score: float


class MilvusFaces:
    """A collection that exists as soon as somebody is enrolled."""

    def __init__(self, connection: MilvusConnection, stamp: ModelStamp, kind: Kind) -> None:
        self.name: Final = collection_name(stamp, kind)
        self._connection = connection
        self._stamp = stamp
        self._kind = kind

    def position(self) -> int:
        """The latest version of the gallery that somebody has seen arrive here; 0 if nobody.

        Every position is a row of its own and the greatest counts, so that a late worker does not
        put it back. To be asked first: a Milvus that was started anew may have to load the rows.
        """
        with outages_translated():
            if not self._exists(self.name) or not self._exists(POSITIONS):
                return 0
            for name in (POSITIONS, self.name):
                self._connection.client.load_collection(name, timeout=WRITE_TIMEOUT_S)
            rows = self._query(POSITIONS, f"collection == {quoted(self.name)}", ["version"])
            return max((int(row["version"]) for row in rows), default=0)

    def apply(self, page: Page) -> None:
        """May be repeated, and may come after a later one: see milvus_schema.py."""
        with outages_translated():
            if self._exists(self.name):
                self._remove(page)
            self.put(page.faces)

    def put(self, faces: VersionedFaces) -> None:
        with outages_translated():
            rows = face_rows(faces)
            if rows:
                self._create(faces)
            for batch in in_batches(rows, _batch_rows(faces)):
                self._connection.client.upsert(self.name, batch, timeout=WRITE_TIMEOUT_S)

    def reach(self, version: int) -> None:
        """To be told after everything up to `version` has been applied."""
        with outages_translated():
            if not self._exists(self.name):
                return
            client = self._connection.client
            row = position_row(self.name, version)
            client.upsert(POSITIONS, [row], timeout=WRITE_TIMEOUT_S)
            self._delete(POSITIONS, f"collection == {quoted(self.name)} and version < {version}")

    def close(self) -> None:
        self._connection.close()

    def drop(self) -> None:
        with outages_translated():
            self._forget_positions()
            self._connection.client.drop_collection(self.name, timeout=WRITE_TIMEOUT_S)

    def nearest(self, model: str, probe: Embedding, limit: int, but: str | None) -> list[Hit]:
        """Most similar first, where somebody is enrolled; `but`: a face that is left out."""
        with outages_translated():
            (found,) = self._connection.client.search(
                self.name,
                [probe],
                anns_field=model,
                limit=limit,
                filter="" if but is None else f"face_id != {quoted(but)}",
                search_params=self._kind.search_params(limit),
                consistency_level=STRONG,
                timeout=READ_TIMEOUT_S,
            )
        return [Hit(face_id_of(hit["row_id"]), float(hit["distance"])) for hit in found]

    def rows_of(self, face_ids: Sequence[str], fields: Sequence[str]) -> list[Row]:
        with outages_translated():
            if not self._exists(self.name):
                return []
            return [
                row
                for batch in in_batches(face_ids, NAMED_AT_ONCE)
                for row in self._query(self.name, f"face_id in {quoted(batch)}", fields)
            ]

    def all_rows(self, fields: Sequence[str]) -> Iterator[list[Row]]:
        """Batch by batch."""
        with outages_translated():
            if not self._exists(self.name):
                return
            rows = self._connection.client.query_iterator(
                self.name,
                batch_size=NAMED_AT_ONCE,
                output_fields=list(fields),
                consistency_level=STRONG,
                timeout=READ_TIMEOUT_S,
            )
            while batch := rows.next():
                yield list(batch)
            rows.close()

    def remove_rows(self, row_ids: Sequence[str]) -> None:
        with outages_translated():
            for batch in in_batches(row_ids, NAMED_AT_ONCE):
                self._delete(self.name, f"row_id in {quoted(batch)}")

    def _remove(self, page: Page) -> None:
        """Who went and came back is deleted up to the version at which they came."""
        back = dict(zip(page.faces.face_ids, page.faces.versions, strict=True))
        gone = sorted(page.removed - back.keys())
        for batch in in_batches(gone, NAMED_AT_ONCE):
            self._delete(self.name, f"face_id in {quoted(batch)} and version <= {page.version}")
        for batch in in_batches(sorted(page.removed & back.keys()), NAMED_AT_ONCE):
            older = (f"(face_id == {quoted(one)} and version < {back[one]})" for one in batch)
            self._delete(self.name, " or ".join(older))

    def _create(self, faces: VersionedFaces) -> None:
        """Positions of a collection that is no more are forgotten before there is a new one."""
        if self._exists(self.name):
            return
        if not self._exists(POSITIONS):
            self._make(POSITIONS, position_schema(), position_indexes())
        self._forget_positions()
        dimensions = {model: rows.shape[1] for model, rows in faces.vectors.items()}
        self._make(self.name, face_schema(self._stamp, dimensions), face_indexes(self._kind))

    def _make(self, name: str, schema: Any, indexes: Any) -> None:  # noqa: ANN401 - untyped there
        """Nothing is in it yet, so its indexes need no waiting for."""
        client = self._connection.client
        client.create_collection(
            name, schema=schema, consistency_level=STRONG, timeout=WRITE_TIMEOUT_S
        )
        client.create_index(name, indexes, timeout=WRITE_TIMEOUT_S, sync=False)
        client.load_collection(name, timeout=WRITE_TIMEOUT_S)

    def _forget_positions(self) -> None:
        if self._exists(POSITIONS):
            self._delete(POSITIONS, f"collection == {quoted(self.name)}")

    def _exists(self, name: str) -> bool:
        return bool(self._connection.client.has_collection(name, timeout=READ_TIMEOUT_S))

    def _query(self, name: str, condition: str, fields: Sequence[str]) -> list[Row]:
        return list(
            self._connection.client.query(
                name,
                filter=condition,
                output_fields=list(fields),
                consistency_level=STRONG,
                timeout=READ_TIMEOUT_S,
            )
        )

    def _delete(self, name: str, condition: str) -> None:
        self._connection.client.delete(
            name, filter=condition, consistency_level=STRONG, timeout=WRITE_TIMEOUT_S
        )


def in_batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def quoted(value: object) -> str:
    """As Milvus' filters spell strings and lists of them: like JSON."""
    return json.dumps(value)


def _batch_rows(faces: VersionedFaces) -> int:
    row_bytes = sum(vectors[:1].nbytes for vectors in faces.vectors.values())
    return max(1, MOST_BATCH_BYTES // max(row_bytes, 1))
