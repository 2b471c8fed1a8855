"""The faces of one stamp in Milvus, and how far they have followed the change log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from inference_server.gallery import BEGINNING, Embedding, ModelStamp, Moment
from inference_server.gallery.ledger import Page, VersionedFaces
from inference_server.gallery.milvus_collection import (
    NAMED_AT_ONCE,
    Collection,
    Row,
    in_batches,
    quoted,
)
from inference_server.gallery.milvus_connection import MilvusConnection
from inference_server.gallery.milvus_positions import Positions
from inference_server.gallery.milvus_schema import (
    Kind,
    collection_name,
    face_id_of,
    face_indexes,
    face_rows,
    face_schema,
)

MOST_BATCH_BYTES: Final = 16 << 20  # of vectors; Milvus takes messages of 64 MiB
MOST_ROWS: Final = 16_384  # of one answer, by Milvus' own limit


@dataclass(frozen=True, slots=True)
class Hit:
    """`score`: what the index holds for the similarity; less exact where it keeps codes."""

    face_id: str
    score: float


class MilvusFaces:
    """A collection that exists as soon as somebody is enrolled.

    Every method raises StoreUnavailable when Milvus is away.
    """

    def __init__(self, connection: MilvusConnection, stamp: ModelStamp, kind: Kind) -> None:
        self.name: Final = collection_name(stamp, kind)
        self._connection = connection
        self._rows = Collection(connection, self.name)
        self._positions = Positions(connection, self.name)
        self._stamp = stamp
        self._kind = kind

    def position(self) -> Moment:
        """The latest moment of the gallery that somebody has seen arrive here; or BEGINNING.

        To be asked first: a Milvus that was started anew may have to load the rows.
        """
        if not self._rows.exists():
            return BEGINNING
        self._rows.load()
        return self._positions.latest()

    def apply(self, page: Page) -> None:
        """May be repeated, and may come after a later one: see milvus_schema.py."""
        if page.removed and self._rows.exists():
            self._remove(page)
        self.put(page.faces)

    def put(self, faces: VersionedFaces) -> None:
        if faces.face_ids:
            self._make_once(faces)
            self._rows.upsert(face_rows(faces), at_once=_batch_rows(faces))

    def reach(self, moment: Moment) -> None:
        """To be told after everything up to `moment` has been applied."""
        if self._rows.exists():
            self._positions.tell(moment)

    def drop(self) -> None:
        """If it is there."""
        self._positions.start_anew()
        self._rows.drop()

    def close(self) -> None:
        self._connection.close()

    def nearest(self, model: str, probe: Embedding, limit: int, but: str | None) -> list[Hit]:
        """Most similar first, where somebody is enrolled; `but`: a face that is left out."""
        condition = "" if but is None else f"face_id != {quoted(but)}"
        params = self._kind.search_params(limit)
        found = self._rows.search(model, probe, limit, params, condition)
        return [Hit(face_id_of(hit["row_id"]), float(hit["distance"])) for hit in found]

    def rows_of(self, face_ids: Sequence[str], fields: Sequence[str]) -> list[Row]:
        if not self._rows.exists():
            return []
        return [
            row
            for batch in in_batches(face_ids, NAMED_AT_ONCE)
            for row in self._rows.query(f"face_id in {quoted(batch)}", fields)
        ]

    def all_rows(self, fields: Sequence[str]) -> Iterator[list[Row]]:
        """Batch by batch."""
        return self._rows.batches(fields) if self._rows.exists() else iter(())

    def remove_rows(self, row_ids: Sequence[str]) -> None:
        for batch in in_batches(row_ids, NAMED_AT_ONCE):
            self._rows.delete(f"row_id in {quoted(batch)}")

    def _remove(self, page: Page) -> None:
        """Who went and came back is deleted up to the version at which they came."""
        back = dict(zip(page.faces.face_ids, page.faces.versions, strict=True))
        for batch in in_batches(sorted(page.removed - back.keys()), NAMED_AT_ONCE):
            self._rows.delete(f"face_id in {quoted(batch)} and version <= {page.moment.version}")
        for batch in in_batches(sorted(page.removed & back.keys()), NAMED_AT_ONCE):
            older = (f"(face_id == {quoted(one)} and version < {back[one]})" for one in batch)
            self._rows.delete(" or ".join(older))

    def _make_once(self, faces: VersionedFaces) -> None:
        """Positions of a collection that is no more are forgotten before there is a new one."""
        if self._rows.exists():
            return
        self._positions.start_anew()
        dimensions = {model: vectors.shape[1] for model, vectors in faces.vectors.items()}
        self._rows.make(face_schema(self._stamp, dimensions), face_indexes(self._kind))


def _batch_rows(faces: VersionedFaces) -> int:
    row_bytes = sum(vectors[:1].nbytes for vectors in faces.vectors.values())
    return max(1, MOST_BATCH_BYTES // max(row_bytes, 1))
