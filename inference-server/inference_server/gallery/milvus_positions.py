"""How far each collection of faces has followed the change log, kept in Milvus beside them.

Every position is a row of its own and the greatest counts, so that a late worker does not put it
back. It lies with what it tells of: a Milvus that is emptied forgets both. With the version comes
the gallery's mark: the vectors of a database that was restored or exchanged are not taken for ours.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from inference_server.gallery import BEGINNING, Moment
from inference_server.gallery.milvus_collection import Collection, Row, quoted
from inference_server.gallery.milvus_connection import MilvusConnection
from inference_server.gallery.milvus_schema import position_indexes, position_schema

POSITIONS: Final = "reunite_moments"


class Positions:
    """Of one collection."""

    def __init__(self, connection: MilvusConnection, collection: str) -> None:
        self._rows = Collection(connection, POSITIONS)
        self._name = collection
        self._own = f"collection == {quoted(collection)}"

    def latest(self) -> Moment:
        """BEGINNING if nobody told one."""
        if not self._rows.exists():
            return BEGINNING
        self._rows.load()
        rows = self._rows.query(self._own, ["version", "mark"])
        moments = (Moment(int(row["version"]), str(row["mark"])) for row in rows)
        return max(moments, key=attrgetter("version"), default=BEGINNING)

    def tell(self, moment: Moment) -> None:
        self._rows.upsert([_position_row(self._name, moment)])
        self._rows.delete(f"{self._own} and version < {moment.version}")

    def start_anew(self) -> None:
        if self._rows.exists():
            self._rows.load()
            self._rows.delete(self._own)
        else:
            self._rows.make(position_schema(), position_indexes())


def _position_row(collection: str, moment: Moment) -> Row:
    return {
        "position_id": f"{collection}@{moment.version}",
        "collection": collection,
        "version": moment.version,
        "mark": moment.mark,
        "unused": [1.0, 0.0],
    }
