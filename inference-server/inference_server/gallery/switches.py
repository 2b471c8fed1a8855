"""Whose vectors answer: a log of switches from one set of networks to another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select

from inference_server.gallery import ModelStamp
from inference_server.gallery.store import SqlStore, next_version
from inference_server.gallery.tables import switch


class NothingToSwitchBack(LookupError):
    """Of the operator's command; no request can meet it."""


@dataclass(frozen=True, slots=True)
class Switch:
    """`before` answered until now, `to` does from now on."""

    to: ModelStamp
    before: ModelStamp


class SqlSwitches:
    """A switch is a change of the gallery: no answer kept under an older version is used again."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def active(self) -> ModelStamp | None:
        """None before the first switch. One row read."""
        with self._store.reading() as connection:
            latest = _latest(connection)
        return None if latest is None else latest.to

    def switch(self, to: ModelStamp, standing: ModelStamp) -> Switch:
        """From what is active, or `standing` before the first switch; does nothing twice."""
        with self._store.writing() as connection:
            latest = _latest(connection)
            if latest is not None and latest.to == to:
                return latest
            return _write(connection, Switch(to, latest.to if latest else standing))

    def switch_back(self) -> Switch:
        """Undoes the latest one, and so itself.

        Raises:
            NothingToSwitchBack
        """
        with self._store.writing() as connection:
            latest = _latest(connection)
            if latest is None:
                raise NothingToSwitchBack("Nothing has been switched yet.")
            return _write(connection, Switch(to=latest.before, before=latest.to))


def _latest(connection: Connection) -> Switch | None:
    row = connection.execute(select(switch).order_by(switch.c.version.desc()).limit(1)).first()
    if row is None:
        return None
    return Switch(
        to=ModelStamp(row.base_sha256, row.heatmap_sha256),
        before=ModelStamp(row.before_base_sha256, row.before_heatmap_sha256),
    )


def _write(connection: Connection, made: Switch) -> Switch:
    row = {
        "version": next_version(connection),
        "base_sha256": made.to.base,
        "heatmap_sha256": made.to.heatmap,
        "before_base_sha256": made.before.base,
        "before_heatmap_sha256": made.before.heatmap,
        "made_at": datetime.now(UTC).isoformat(),
    }
    connection.execute(insert(switch).values(row))
    return made
