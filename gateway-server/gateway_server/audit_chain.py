"""The chain that the audit's rows form: each is sealed with the sha256 of the one before it.

Whoever changes, removes, inserts or reorders a row breaks it there. Whoever can write all rows anew
can forge a whole chain, or cut its end: note the head elsewhere now and then, and verify with it.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy import text as sql
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.database import Database, on_postgresql
from gateway_server.tables import Audit, now

BEFORE_THE_FIRST = "0" * 64
ROWS_AT_A_TIME = 1000
_CHAIN_LOCK = 0x6175646974  # "audit": one gateway at a time adds to the chain
_TABLE = Audit.metadata.tables[Audit.__tablename__]
_INSERT = insert(_TABLE)  # not the mapped class: every answer waits for this
_SEALED = tuple(column.name for column in _TABLE.columns if column.name != "sha256")


@dataclass(frozen=True)
class Entry:
    """What a row says, before it has its place."""

    key_id: str | None
    role: str
    action: str
    request_id: str
    outcome: str
    reason: str | None = None
    person_id: str | None = None
    search_id: str | None = None
    subject_id: str | None = None
    photo_sha256: str | None = None
    purpose: str | None = None


@dataclass(frozen=True)
class Verification:
    """`fault` names the first row that is not as it was written; None: all are."""

    rows: int
    head: str
    fault: str | None


async def link(session: AsyncSession, entries: Collection[Entry]) -> None:
    """Add the rows to the chain's end, which is ours until the caller's transaction ends.

    The last thing of a transaction: what waits for the chain must hold nothing up.
    """
    await session.flush()  # it may wait for others' rows, and they for the chain
    if on_postgresql(session):  # on SQLite, whoever writes is alone anyway
        await session.execute(sql(f"SELECT pg_advisory_xact_lock({_CHAIN_LOCK})"))
    newest = select(Audit.seq, Audit.sha256).order_by(Audit.seq.desc()).limit(1)
    last = (await session.execute(newest)).one_or_none()
    seq, previous_sha256 = (last.seq, last.sha256) if last else (0, BEFORE_THE_FIRST)
    rows = []
    for place, entry in enumerate(entries, start=seq + 1):
        said = {**vars(entry), "seq": place, "at": now(), "previous_sha256": previous_sha256}
        previous_sha256 = seal(said)
        rows.append({**said, "sha256": previous_sha256})
    await session.execute(_INSERT, rows)


def seal(said: Mapping[str, Any]) -> str:
    """sha256 over the row as canonical JSON: sorted, without blanks, and without what is null."""
    members = {name: _plain(said[name]) for name in _SEALED if said[name] is not None}
    return hashlib.sha256(
        json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return value


async def verify(database: Database, noted_head: str | None = None) -> Verification:
    """Every row from the first; `noted_head`: a sha256 that the chain had at its end once."""
    checked, head = 0, BEFORE_THE_FIRST
    is_noted = noted_head is None
    while rows := await _read_after(database, checked):
        for row in rows:
            fault = _fault(row, checked + 1, head)
            if fault is not None:
                return Verification(checked, head, fault)
            checked, head = row.seq, row.sha256
            is_noted = is_noted or head == noted_head
    fault = None if is_noted else f"no row has the noted head {noted_head}: the end was cut off"
    return Verification(checked, head, fault)


def _fault(row: Audit, seq: int, head: str) -> str | None:
    if row.seq != seq:
        return f"row {seq} is missing: the next is row {row.seq}"
    if row.previous_sha256 != head:
        return f"row {seq} does not follow the one before it: inserted, replaced or reordered"
    if row.sha256 != seal({name: getattr(row, name) for name in _SEALED}):
        return f"row {seq} was changed after it was written"
    return None


async def _read_after(database: Database, seq: int) -> Collection[Audit]:
    following = select(Audit).where(Audit.seq > seq).order_by(Audit.seq).limit(ROWS_AT_A_TIME)
    async with database.read() as session:
        return (await session.scalars(following)).all()
