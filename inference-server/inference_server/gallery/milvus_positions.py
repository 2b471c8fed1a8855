"""How far each collection of faces has followed the change log, kept in Milvus beside them.

Every position is a row of its own and the greatest counts, so that a late worker does not put it
back. It lies with what it tells of: a Milvus that is emptied forgets both.
"""

from __future__ import annotations

from typing import Final

from inference_server.gallery.milvus_collection import Collection, Row, quoted
from inference_server.gallery.milvus_connection import MilvusConnection
from inference_server.gallery.milvus_schema import position_indexes, position_schema

POSITIONS: Final = "reunite_positions"


class Positions:
    """Of one collection."""

    def __init__(self, connection: MilvusConnection, collection: str) -> None:
        self._rows = Collection(connection, POSITIONS)
        self._name = collection
        self._own = f"collection == {quoted(collection)}"

    def latest(self) -> int:
        """0 if nobody told one."""
        if not self._rows.exists():
            return 0
        self._rows.load()
        versions = (int(row["version"]) for row in self._rows.query(self._own, ["version"]))
        return max(versions, default=0)

    def tell(self, version: int) -> None:
        self._rows.upsert([_position_row(self._name, version)])
        self._rows.delete(f"{self._own} and version < {version}")

    def start_anew(self) -> None:
        if self._rows.exists():
            self._rows.load()
            self._rows.delete(self._own)
        else:
            self._rows.make(position_schema(), position_indexes())


def _position_row(collection: str, version: int) -> Row:
    return {
        "position_id": f"{collection}@{version}",
        "collection": collection,
        "version": version,
        "unused": [1.0, 0.0],
    }
