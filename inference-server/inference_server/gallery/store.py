"""The truth about who is enrolled, in SQL: SQLite (WAL) or PostgreSQL, by URL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from inference_server.gallery import (
    Changes,
    EnrolledFace,
    FaceIdInUse,
    FaceNotFound,
    ModelStamp,
    Moment,
    News,
    Person,
    PersonNotFound,
    PersonPage,
    Reference,
)
from inference_server.gallery.batches import Enrolled, Written, settle
from inference_server.gallery.database import open_database, outages_translated
from inference_server.gallery.departures import (
    departed,
    forget_departures,
    forget_departures_of,
    note_departure,
)
from inference_server.gallery.news import draw_mark, read_moment, read_news
from inference_server.gallery.origins import read_enrolled, read_traces
from inference_server.gallery.rows import changes_of, faces_by_person, reference_of, row_of
from inference_server.gallery.stamped import add_embeddings, remove_embeddings, stamped, stamps_of
from inference_server.gallery.tables import change, face, gallery, metadata, person, removal
from inference_server.gallery.tallies import tallied

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
            forget_departures(connection, "person", [person_id])
            if _person_exists(connection, person_id):
                faces = _faces_by_person(connection, [person_id])
                return Person(person_id, faces.get(person_id, ())), False
            connection.execute(insert(person).values(person_id=person_id))
            return Person(person_id, ()), True

    def add_face(
        self, reference: Reference, also: Sequence[Reference] = ()
    ) -> tuple[Reference, bool]:
        with self._writing() as connection:
            _demand_person(connection, reference.person_id)
            stored = _find(connection, reference.face_id)
            if stored is not None and not reference.repeats(stored):
                raise FaceIdInUse(reference.face_id)
            held = stamps_of(connection, reference.face_id)
            also = [made for made in also if made.stamp != reference.stamp]
            missing = [made for made in (reference, *also) if made.stamp not in held]
            if not missing:
                return stored or reference, False
            version = next_version(connection)
            forget_departures(connection, "face", [reference.face_id])
            with tallied(connection, [reference.person_id]):
                if stored is not None and len(missing) <= len(also):  # some vectors are wanted
                    add_embeddings(connection, missing, version)
                    return stored, False
                _remove_faces(connection, face.c.face_id == reference.face_id, version)
                connection.execute(insert(face).values(version=version, **row_of(reference)))
                add_embeddings(connection, also, version)
                return reference, stored is None

    def add_faces(
        self, references: Sequence[Reference], *, bring_back: bool = False
    ) -> Sequence[Written]:
        """Each as `add_face` would, in order; their persons are made where they are missing.

        Not so whoever was deleted, unless it is said to `bring_back` them. All of them raise the
        gallery's version by one, together.
        """
        with self._writing() as connection:
            if bring_back:
                forget_departures_of(connection, references)
            stored = read_traces(connection, [one.face_id for one in references])
            batch = settle(references, stored, departed(connection, references))
            if batch.written:
                persons = {one.person_id for one in batch.written}
                _add_missing_persons(connection, persons)
                version = next_version(connection)
                with tallied(connection, persons):
                    ids = [one.face_id for one in batch.written]
                    _remove_faces(connection, face.c.face_id.in_(ids), version)
                    rows = [{"version": version, **row_of(one)} for one in batch.written]
                    connection.execute(insert(face), rows)
            return batch.outcomes

    def remove_person(self, person_id: str) -> None:
        with self._writing() as connection:  # a person whose turn in a bulk run comes later, too
            note_departure(connection, "person", person_id)
        with self._writing() as connection:
            _demand_person(connection, person_id)
            with tallied(connection, [person_id]):
                _remove_faces(connection, face.c.person_id == person_id, next_version(connection))
            connection.execute(delete(person).where(person.c.person_id == person_id))

    def remove_face(self, person_id: str, face_id: str) -> None:
        with self._writing() as connection:
            note_departure(connection, "face", face_id)
        with self._writing() as connection:
            _demand_person(connection, person_id)
            wanted = and_(face.c.person_id == person_id, face.c.face_id == face_id)
            with tallied(connection, [person_id]):
                removed = _remove_faces(connection, wanted, next_version(connection))
            if removed == 0:
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
            return version_of(connection)

    def moment(self) -> Moment:
        with self._reading() as connection:
            return read_moment(connection)

    @contextmanager
    def news(self, since: Moment, stamp: ModelStamp) -> Iterator[News]:
        with self._reading() as connection:
            yield read_news(connection, since, stamp)

    def changes_since(self, version: int, stamp: ModelStamp) -> Changes:
        gone = select(removal.c.face_id).where(removal.c.version > version)
        faces = stamped(stamp, few=version > 0)
        came = (
            select(faces)
            .where(faces.c.version > version)
            .order_by(faces.c.version, faces.c.face_id)
        )
        with self._reading() as connection:
            removed = frozenset(connection.execute(gone).scalars())
            return changes_of(version_of(connection), removed, connection.execute(came).all())

    def find_enrolled(
        self, person_ids: Sequence[str], photo_sha256s: Sequence[str], stamp: ModelStamp
    ) -> Sequence[Enrolled]:
        """Every face of one of these persons from one of these photos."""
        with self._reading() as connection:
            return read_enrolled(connection, person_ids, photo_sha256s, stamp)

    def count_outdated(self, stamp: ModelStamp) -> int:
        everybody = select(func.count()).select_from(face)
        searchable = select(func.count()).select_from(stamped(stamp))
        with self._reading() as connection:
            total: int = connection.execute(everybody).scalar_one()
            return total - int(connection.execute(searchable).scalar_one())

    def reading(self) -> AbstractContextManager[Connection]:
        """For the other readers of this database: all that is read is of one moment."""
        return self._reading()

    def writing(self) -> AbstractContextManager[Connection]:
        """For its other writers: one at a time, over all processes."""
        return self._writing()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """All that is read is of one moment."""
        with outages_translated(), self._prepared_anew_after_failure():
            self._prepare()
            with self._database.reading.begin() as connection:
                yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One writer at a time, over all processes; what raises leaves nothing behind."""
        with outages_translated(), self._prepared_anew_after_failure():
            self._prepare()
            with self._database.writing.begin() as connection:
                connection.execute(select(gallery.c.version).with_for_update())
                yield connection

    @contextmanager
    def _prepared_anew_after_failure(self) -> Iterator[None]:
        """A backup from before an upgrade may have been put into this database's place."""
        try:
            yield
        except DBAPIError:
            self._prepared = False
            raise

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
            moment = read_moment(connection)
            if not moment.mark:  # new, or from before there were marks
                marked = insert(change).values(version=moment.version, mark=draw_mark())
                connection.execute(marked)
        self._prepared = True


def version_of(connection: Connection) -> int:
    version: int = connection.execute(select(gallery.c.version)).scalar_one()
    return version


def next_version(connection: Connection) -> int:
    """Called once in each transaction that changes what a search can find."""
    grown = update(gallery).values(version=gallery.c.version + 1).returning(gallery.c.version)
    version: int = connection.execute(grown).scalar_one()
    connection.execute(insert(change).values(version=version, mark=draw_mark()))
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


def _add_missing_persons(connection: Connection, person_ids: Collection[str]) -> None:
    found = connection.execute(select(person.c.person_id).where(person.c.person_id.in_(person_ids)))
    missing = sorted(set(person_ids).difference(found.scalars()))
    if missing:
        connection.execute(insert(person), [{"person_id": one} for one in missing])


def _remove_faces(connection: Connection, wanted: ColumnElement[bool], version: int) -> int:
    """How many; each is written down, so that every index forgets it."""
    remove_embeddings(connection, wanted)
    gone = connection.execute(delete(face).where(wanted).returning(face.c.face_id)).scalars().all()
    if gone:
        rows = [{"version": version, "face_id": face_id} for face_id in gone]
        connection.execute(insert(removal), rows)
    return len(gone)


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
