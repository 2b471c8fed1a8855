"""A collection of Milvus: its calls with our timeouts, batches, level of consistency and errors.

Everything is read at the level Strong: Milvus answers after it has seen all that was written
before the question, by whomever. That costs a wait for its next time tick (0.2 s at most, as it is
shipped), and is what makes an enrolment findable at once. Bounded staleness would be faster, with
a timestamp of the last write; that is known to the writer alone, and here everybody writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from inference_server.gallery import Embedding
from inference_server.gallery.milvus_connection import (
    READ_TIMEOUT_S,
    WRITE_TIMEOUT_S,
    MilvusConnection,
    outages_translated,
)

if TYPE_CHECKING:
    from pymilvus import CollectionSchema
    from pymilvus.milvus_client.index import IndexParams

STRONG: Final = "Strong"
NAMED_AT_ONCE: Final = 500  # identifiers in one filter, rows in one answer

Row = dict[str, Any]
T = TypeVar("T")


class Collection:
    """Every method raises StoreUnavailable when Milvus is away, or does not have the collection."""

    def __init__(self, connection: MilvusConnection, name: str) -> None:
        self.name: Final = name
        self._connection = connection

    def exists(self) -> bool:
        with outages_translated():
            return self._is_there()

    def make(self, schema: CollectionSchema, indexes: IndexParams) -> None:
        """Another worker may make it at the same moment; with the same schema, so all is well.

        Nothing is in it yet, so its indexes need no waiting for.
        """
        from pymilvus.exceptions import MilvusException

        with outages_translated():
            client = self._connection.client
            try:
                client.create_collection(
                    self.name, schema=schema, consistency_level=STRONG, timeout=WRITE_TIMEOUT_S
                )
                client.create_index(self.name, indexes, timeout=WRITE_TIMEOUT_S, sync=False)
            except MilvusException:
                if not self._is_there():
                    raise
        self.load()

    def load(self) -> None:
        """Into Milvus' memory, where it is already unless Milvus was started anew."""
        with outages_translated():
            self._connection.client.load_collection(self.name, timeout=WRITE_TIMEOUT_S)

    def drop(self) -> None:
        with outages_translated():
            self._connection.client.drop_collection(self.name, timeout=WRITE_TIMEOUT_S)

    def upsert(self, rows: Sequence[Row], at_once: int = NAMED_AT_ONCE) -> None:
        with outages_translated():
            for batch in in_batches(rows, at_once):
                self._connection.client.upsert(self.name, batch, timeout=WRITE_TIMEOUT_S)

    def delete(self, condition: str) -> None:
        with outages_translated():
            self._connection.client.delete(
                self.name, filter=condition, consistency_level=STRONG, timeout=WRITE_TIMEOUT_S
            )

    def query(self, condition: str, fields: Sequence[str]) -> list[Row]:
        with outages_translated():
            return list(
                self._connection.client.query(
                    self.name,
                    filter=condition,
                    output_fields=list(fields),
                    consistency_level=STRONG,
                    timeout=READ_TIMEOUT_S,
                )
            )

    def batches(self, fields: Sequence[str]) -> Iterator[list[Row]]:
        """All rows."""
        with outages_translated():
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

    def search(
        self, field: str, probe: Embedding, limit: int, params: Row, condition: str
    ) -> list[Row]:
        """Primary keys and distances, nearest first."""
        with outages_translated():
            (found,) = self._connection.client.search(
                self.name,
                [probe],
                anns_field=field,
                limit=limit,
                filter=condition,
                search_params=params,
                consistency_level=STRONG,
                timeout=READ_TIMEOUT_S,
            )
            return list(found)

    def _is_there(self) -> bool:
        return bool(self._connection.client.has_collection(self.name, timeout=READ_TIMEOUT_S))


def in_batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def quoted(value: object) -> str:
    """As Milvus' filters spell strings and lists of them: like JSON."""
    return json.dumps(value)
