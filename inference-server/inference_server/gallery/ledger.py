"""What an index that lives outside this process reads of the truth: in pages, not all at once.

`VersionedFaces` names the version at which a face's vectors were written, since two workers may
write to the same index side by side, and the later one is not always right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection, select

from inference_server.gallery import Counts, ModelStamp, Moment, Vectors
from inference_server.gallery.news import moment_of, was_at
from inference_server.gallery.rows import AnyRow, vectors_of
from inference_server.gallery.stamped import stamped
from inference_server.gallery.store import SqlStore, version_of
from inference_server.gallery.tables import embedding, face, removal
from inference_server.gallery.tallies import read_tally

PAGE_FACES: Final = 1000


@dataclass(frozen=True, slots=True, eq=False)
class VersionedFaces:
    """Faces of one stamp; the tuples and the rows of every array (by model name) run parallel."""

    face_ids: tuple[str, ...]
    person_ids: tuple[str, ...]
    versions: tuple[int, ...]
    vectors: Mapping[str, Vectors]

    def picked(self, numbers: Sequence[int]) -> VersionedFaces:
        """Those of the given numbers, in their order."""
        return VersionedFaces(
            face_ids=tuple(self.face_ids[number] for number in numbers),
            person_ids=tuple(self.person_ids[number] for number in numbers),
            versions=tuple(self.versions[number] for number in numbers),
            vectors={name: rows[list(numbers)] for name, rows in self.vectors.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The changes up to `moment`; removals come first. The last one knows the counts, too.

    A face that came and changed again later is in the later page only.
    """

    moment: Moment
    removed: frozenset[str]
    faces: VersionedFaces
    counts: Counts | None


class Ledger(Protocol):
    """The change log, in pages, and its vectors by face."""

    def moment(self) -> Moment: ...

    def was_at(self, moment: Moment) -> bool:
        """Whether this gallery has been there, and not another whose vectors were left behind."""
        ...

    def pages(self, after: int, stamp: ModelStamp) -> Iterator[Page]:
        """At least one; each is of a moment of its own, the last of one after this call."""
        ...

    def faces(self, face_ids: Sequence[str], stamp: ModelStamp) -> VersionedFaces:
        """Those of them that are enrolled now, with vectors of this stamp; in no order."""
        ...

    def faces_after(self, face_id: str, stamp: ModelStamp) -> VersionedFaces:
        """A page in the order of face_id, from the beginning for an empty one; empty at the end."""
        ...


class SqlLedger:
    """Every page is one transaction and raises StoreUnavailable when the database is away."""

    def __init__(self, store: SqlStore, page_faces: int = PAGE_FACES) -> None:
        self._store = store
        self._page_faces = page_faces

    def moment(self) -> Moment:
        return self._store.moment()

    def was_at(self, moment: Moment) -> bool:
        with self._store.reading() as connection:
            return was_at(connection, moment)

    def pages(self, after: int, stamp: ModelStamp) -> Iterator[Page]:
        page = self._page(after, stamp)
        yield page
        while page.counts is None:
            page = self._page(page.moment.version, stamp)
            yield page

    def faces(self, face_ids: Sequence[str], stamp: ModelStamp) -> VersionedFaces:
        found = stamped(stamp, few=True)
        wanted = select(found).where(found.c.face_id.in_(face_ids))
        with self._store.reading() as connection:
            return _faces_of(connection.execute(wanted).all())

    def faces_after(self, face_id: str, stamp: ModelStamp) -> VersionedFaces:
        found = stamped(stamp, few=True)
        wanted = select(found).where(found.c.face_id > face_id).order_by(found.c.face_id)
        with self._store.reading() as connection:
            return _faces_of(connection.execute(wanted.limit(self._page_faces)).all())

    def _page(self, after: int, stamp: ModelStamp) -> Page:
        faces = stamped(stamp, few=True)
        with self._store.reading() as connection:
            now = version_of(connection)
            until = _end_of_page(connection, after, now, self._page_faces)
            gone = select(removal.c.face_id).where(
                removal.c.version > after, removal.c.version <= until
            )
            came = select(faces).where(faces.c.version > after, faces.c.version <= until)
            return Page(
                moment=moment_of(connection, until),
                removed=frozenset(connection.execute(gone).scalars()),
                faces=_faces_of(connection.execute(came).all()),
                counts=Counts(*read_tally(connection, stamp), now) if until == now else None,
            )


def _end_of_page(connection: Connection, after: int, now: int, changes: int) -> int:
    """A version up to which about so many faces came or went, `now` at most.

    Whole versions only: whoever goes with all their faces goes in one page.
    """
    ends = [
        connection.execute(
            select(table.c.version)
            .where(table.c.version > after)
            .order_by(table.c.version)
            .offset(changes - 1)
            .limit(1)
        ).scalar()
        for table in (face, embedding, removal)
    ]
    return min([end for end in ends if end is not None], default=now)


def _faces_of(rows: Sequence[AnyRow]) -> VersionedFaces:
    return VersionedFaces(
        face_ids=tuple(row.face_id for row in rows),
        person_ids=tuple(row.person_id for row in rows),
        versions=tuple(row.version for row in rows),
        vectors=vectors_of(rows),
    )
