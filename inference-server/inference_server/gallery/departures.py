"""Persons and faces that somebody has deleted, by name alone: no bulk run brings them back.

A run works for hours from a list that was made before. Who is deleted meanwhile, even before their
turn has come, must not return with it; only whoever enrols them one by one, or says so, does that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from sqlalchemy import Connection, and_, delete, insert, or_, select

from inference_server.gallery import Reference
from inference_server.gallery.tables import departure

Kind = Literal["person", "face"]


def note_departure(connection: Connection, kind: Kind, identifier: str) -> None:
    forget_departures(connection, kind, [identifier])
    connection.execute(insert(departure).values(kind=kind, identifier=identifier))


def forget_departures(connection: Connection, kind: Kind, identifiers: Collection[str]) -> None:
    named = and_(departure.c.kind == kind, departure.c.identifier.in_(identifiers))
    connection.execute(delete(departure).where(named))


def forget_departures_of(connection: Connection, references: Sequence[Reference]) -> None:
    forget_departures(connection, "person", {one.person_id for one in references})
    forget_departures(connection, "face", {one.face_id for one in references})


def departed(connection: Connection, references: Sequence[Reference]) -> frozenset[str]:
    """The face_ids of those that are not to come back."""
    persons, faces = {one.person_id for one in references}, {one.face_id for one in references}
    named = or_(
        and_(departure.c.kind == "person", departure.c.identifier.in_(persons)),
        and_(departure.c.kind == "face", departure.c.identifier.in_(faces)),
    )
    gone = {tuple(row) for row in connection.execute(select(departure).where(named))}
    return frozenset(
        one.face_id
        for one in references
        if ("person", one.person_id) in gone or ("face", one.face_id) in gone
    )
