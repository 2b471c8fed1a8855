"""The truth about who is enrolled, in SQL: SQLite (WAL) or PostgreSQL, by URL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, text, update

from inference_server.gallery import (
    Changes,
    EnrolledFace,
    FaceIdInUse,
    FaceNotFound,
    ModelStamp,
    Person,
    PersonNotFound,
    PersonPage,
    Reference,
)
from inference_server.gallery.batches import Enrolled, Trace, Written, settle
from inference_server.gallery.database import open_database, outages_translated
from inference_server.gallery.rows import changes_of, faces_by_person, reference_of, row_of
from inference_server.gallery.tables import face, gallery, metadata, person, removal

GALLERY_ROW: Final = 1
SCHEMA_LOCK: Final = 0x5265_756E  # any number that nobody else locks in this database


class SqlStore:
    """Every method is one transaction and raises StoreUnavailable when the database is away.

    Tables are made at the first use, by whichever process comes first.
    """

    def __init__(self, url: str) -> None:
        self._database = open_database(url)
        self._prepared = False

    def close(self) -> None:
        self._database.reading.dispose()

    def add_person(self, person_id: str) -> tuple[Person, bool]:
        with self._writing() as connection:
            if _person_exists(connection, person_id):
                faces = _faces_by_person(connection, [person_id])
                return Person(person_id, faces.get(person_id, ())), False
            connection.execute(insert(person).values(person_id=person_id))
            return Person(person_id, ()), True

    def add_face(self, reference: Reference) -> tuple[Reference, bool]:
        with self._writing() as connection:
            _demand_person(connection, reference.person_id)
            stored = _find(connection, reference.face_id)
            if stored is not None and not reference.repeats(stored):
                raise FaceIdInUse(reference.face_id)
            if stored is not None and reference.stamp == stored.stamp:
                return stored, False
            version = _next_version(connection)
            _remove_faces(connection, face.c.face_id == reference.face_id, version)
            connection.execute(insert(face).values(version=version, **row_of(reference)))
            return reference, stored is None

    def add_faces(self, references: Sequence[Reference]) -> Sequence[Written]:
        """Each as `add_face` would, in order; their persons are made where they are missing.

        All of them raise the gallery's version by one, together.
        """
        with self._writing() as connection:
            batch = settle(references, _traces(connection, [one.face_id for one in references]))
            if batch.written:
                _add_missing_persons(connection, {one.person_id for one in batch.written})
                version = _next_version(connection)
                ids = [one.face_id for one in batch.written]
                _remove_faces(connection, face.c.face_id.in_(ids), version)
                rows = [{"version": version, **row_of(one)} for one in batch.written]
                connection.execute(insert(face), rows)
            return batch.outcomes

    def remove_person(self, person_id: str) -> None:
        with self._writing() as connection:
            _demand_person(connection, person_id)
            _remove_faces(connection, face.c.person_id == person_id, _next_version(connection))
            connection.execute(delete(person).where(person.c.person_id == person_id))

    def remove_face(self, person_id: str, face_id: str) -> None:
        with self._writing() as connection:
            _demand_person(connection, person_id)
            wanted = and_(face.c.person_id == person_id, face.c.face_id == face_id)
            if _remove_faces(connection, wanted, _next_version(connection)) == 0:
                raise FaceNotFound(person_id, face_id)

    def list_persons(self, limit: int, after: str | None) -> PersonPage:
        wanted = select(person.c.person_id).order_by(person.c.person_id).limit(limit + 1)
        if after is not None:
            wanted = wanted.where(person.c.person_id > after)
        with self._reading() as connection:
            found = connection.execute(wanted).scalars().all()
            page = found[:limit]
            faces = _faces_by_person(connection, page)
        persons = tuple(Person(person_id, faces.get(person_id, ())) for person_id in page)
        return PersonPage(persons, next_after=page[-1] if len(found) > limit else None)

    def version(self) -> int:
        with self._reading() as connection:
            return _version(connection)

    def changes_since(self, version: int, stamp: ModelStamp) -> Changes:
        gone = select(removal.c.face_id).where(removal.c.version > version)
        came = (
            select(face.c.face_id, face.c.person_id, face.c.base, face.c.heatmap)
            .where(face.c.version > version, _has_stamp(stamp))
            .order_by(face.c.version, face.c.face_id)
        )
        with self._reading() as connection:
            removed = frozenset(connection.execute(gone).scalars())
            return changes_of(_version(connection), removed, connection.execute(came).all())

    def find_enrolled(
        self, person_ids: Sequence[str], photo_sha256s: Sequence[str], stamp: ModelStamp
    ) -> Sequence[Enrolled]:
        """Every face of one of these persons from one of these photos."""
        wanted = select(
            face.c.face_id,
            face.c.person_id,
            face.c.photo_sha256,
            face.c.face_index,
            _has_stamp(stamp).label("is_current"),
        ).where(face.c.person_id.in_(person_ids), face.c.photo_sha256.in_(photo_sha256s))
        with self._reading() as connection:
            return [Enrolled(**row) for row in connection.execute(wanted).mappings()]

    def count_outdated(self, stamp: ModelStamp) -> int:
        outdated = select(func.count()).select_from(face).where(~_has_stamp(stamp))
        with self._reading() as connection:
            return connection.execute(outdated).scalar_one()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """All that is read is of one moment."""
        with outages_translated():
            self._prepare()
            with self._database.reading.begin() as connection:
                yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One writer at a time, over all processes; what raises leaves nothing behind."""
        with outages_translated():
            self._prepare()
            with self._database.writing.begin() as connection:
                connection.execute(select(gallery.c.version).with_for_update())
                yield connection

    def _prepare(self) -> None:
        if self._prepared:
            return
        with self._database.writing.begin() as connection:
            if connection.dialect.name == "postgresql":  # SQLite's writer is alone already
                lock = text("SELECT pg_advisory_xact_lock(:key)")
                connection.execute(lock, {"key": SCHEMA_LOCK})
            metadata.create_all(connection)
            if connection.execute(select(gallery.c.id)).first() is None:
                connection.execute(insert(gallery).values(id=GALLERY_ROW, version=0))
        self._prepared = True


def _version(connection: Connection) -> int:
    version: int = connection.execute(select(gallery.c.version)).scalar_one()
    return version


def _next_version(connection: Connection) -> int:
    """Called once in each transaction that changes what a search can find."""
    grown = update(gallery).values(version=gallery.c.version + 1).returning(gallery.c.version)
    version: int = connection.execute(grown).scalar_one()
    return version


def _person_exists(connection: Connection, person_id: str) -> bool:
    found = connection.execute(select(person).where(person.c.person_id == person_id))
    return found.first() is not None


def _demand_person(connection: Connection, person_id: str) -> None:
    if not _person_exists(connection, person_id):
        raise PersonNotFound(person_id)


def _find(connection: Connection, face_id: str) -> Reference | None:
    row = connection.execute(select(face).where(face.c.face_id == face_id)).first()
    return None if row is None else reference_of(row)


def _traces(connection: Connection, face_ids: Sequence[str]) -> dict[str, Trace]:
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
            ModelStamp(row.base_sha256, row.heatmap_sha256),
        )
        for row in connection.execute(wanted)
    }


def _add_missing_persons(connection: Connection, person_ids: Collection[str]) -> None:
    found = connection.execute(select(person.c.person_id).where(person.c.person_id.in_(person_ids)))
    missing = sorted(set(person_ids).difference(found.scalars()))
    if missing:
        connection.execute(insert(person), [{"person_id": one} for one in missing])


def _remove_faces(connection: Connection, wanted: ColumnElement[bool], version: int) -> int:
    """How many; each is written down, so that every index forgets it."""
    gone = connection.execute(delete(face).where(wanted).returning(face.c.face_id)).scalars().all()
    if gone:
        rows = [{"version": version, "face_id": face_id} for face_id in gone]
        connection.execute(insert(removal), rows)
    return len(gone)


def _has_stamp(stamp: ModelStamp) -> ColumnElement[bool]:
    return and_(face.c.base_sha256 == stamp.base, face.c.heatmap_sha256 == stamp.heatmap)


def _faces_by_person(
    connection: Connection, person_ids: Sequence[str]
) -> dict[str, tuple[EnrolledFace, ...]]:
    """In the order in which they were enrolled."""
    listed = (
        select(face.c.person_id, face.c.face_id, face.c.quality, face.c.created_at)
        .where(face.c.person_id.in_(person_ids))
        .order_by(face.c.person_id, face.c.version, face.c.face_id)
    )
    return faces_by_person(connection.execute(listed).all())
