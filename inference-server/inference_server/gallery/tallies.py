"""How many faces and persons each set of networks has embedded, kept as they change.

Counting them anew would read the whole gallery after every enrolment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, distinct, func, insert, select, union_all, update

from inference_server.gallery import ModelStamp
from inference_server.gallery.rows import AnyRow
from inference_server.gallery.stamped import stamped
from inference_server.gallery.tables import embedding, face, tally


def read_tally(connection: Connection, stamp: ModelStamp) -> tuple[int, int]:
    """Persons and faces; counted where nothing was written since there are tallies."""
    kept = _kept(connection, stamp)
    return _counted(connection, stamp) if kept is None else (kept.persons, kept.faces)


@contextmanager
def tallied(connection: Connection, person_ids: Collection[str]) -> Iterator[None]:
    """Around every change of these persons' faces, in a transaction that writes."""
    before = _faces_of(connection, person_ids)
    yield
    after = _faces_of(connection, person_ids)
    persons, faces = Counter[ModelStamp](), Counter[ModelStamp]()
    for stamp, person_id in before | after:
        was, is_now = before[stamp, person_id], after[stamp, person_id]
        persons[stamp] += (is_now > 0) - (was > 0)
        faces[stamp] += is_now - was
    for stamp in faces:
        _add(connection, stamp, persons[stamp], faces[stamp])


def _faces_of(
    connection: Connection, person_ids: Collection[str]
) -> Counter[tuple[ModelStamp, str]]:
    """By whom they were embedded. Asked by person alone: they have few faces, a stamp has all."""
    theirs = face.c.person_id.in_(person_ids)
    own = select(face.c.base_sha256, face.c.heatmap_sha256, face.c.person_id).where(theirs)
    beside = (
        select(embedding.c.base_sha256, embedding.c.heatmap_sha256, face.c.person_id)
        .join_from(face, embedding, face.c.face_id == embedding.c.face_id)
        .where(theirs)
    )
    rows = connection.execute(union_all(own, beside))
    return Counter((ModelStamp(base, heatmap), person_id) for base, heatmap, person_id in rows)


def _add(connection: Connection, stamp: ModelStamp, persons: int, faces: int) -> None:
    named = {"base_sha256": stamp.base, "heatmap_sha256": stamp.heatmap}
    if _kept(connection, stamp) is None:
        counted_persons, counted_faces = _counted(connection, stamp)  # this change included
        row = {**named, "persons": counted_persons, "faces": counted_faces}
        connection.execute(insert(tally).values(row))
    elif persons or faces:
        grown = {"persons": tally.c.persons + persons, "faces": tally.c.faces + faces}
        connection.execute(update(tally).filter_by(**named).values(grown))


def _kept(connection: Connection, stamp: ModelStamp) -> AnyRow | None:
    wanted = select(tally.c.persons, tally.c.faces).where(
        tally.c.base_sha256 == stamp.base, tally.c.heatmap_sha256 == stamp.heatmap
    )
    return connection.execute(wanted).first()


def _counted(connection: Connection, stamp: ModelStamp) -> tuple[int, int]:
    faces = stamped(stamp)
    counted = select(func.count(distinct(faces.c.person_id)), func.count()).select_from(faces)
    persons, total = connection.execute(counted).one()
    return persons, total
