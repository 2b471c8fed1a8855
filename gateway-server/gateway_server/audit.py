"""Who reached for whom: every access to people, searches and photos leaves a row.

    allowed    let in, and it did what it was for
    refused    nothing there, or somebody else's, or a request at fault
    failed     something behind the gateway was away

The row is written in the transaction of the work where there is one (`append`), and otherwise in
one of its own before the answer leaves (`AuditLog.recorded`): without a row, no answer. A row holds
ids, hashes and the purpose that was stated; names, notes and pictures never. Strangers reach
nothing and leave no row: the journal has them.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, event, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.audit_chain import Entry, link
from gateway_server.database import Database
from gateway_server.journal import current_request_id
from gateway_server.paging import Page, decode_place, encode_place
from gateway_server.problems import DatabaseUnavailable, InvalidCursor, Problem, Refusal
from gateway_server.rounds import Rounds
from gateway_server.tables import Audit

Action = Literal[
    "list", "read", "create", "change", "delete", "merge", "search", "check", "judge", "photo",
    "heatmap", "import", "export", "retry", "expire", "audit",
    "key.list", "key.create", "key.rotate", "key.revoke",
    "sign-in", "sign-out", "report",
]  # fmt: skip
Outcome = Literal["allowed", "refused", "failed"]
MOST_AT_ONCE = 500
NOBODY = "system"
"""In the role's place: the gateway by itself, or a command on its host."""
_ID = r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{12})(?=/|$)"
_NAMED = {
    "search_id": re.compile(rf"/searches/{_ID}"),
    "person_id": re.compile(rf"/(?:persons|people|candidates)/{_ID}"),
    "subject_id": re.compile(rf"/(?:faces|failures|removals|imports?|keys|merge)/{_ID}"),
}


@dataclass
class Access:
    """One request on its way: whose it is and what it is about are learnt as it goes."""

    action: Action
    key_id: str | None = None
    """None until the caller is known; until then there is nothing to record."""
    role: str = NOBODY
    facts: dict[str, str | None] = field(default_factory=dict)
    is_kept: bool = False
    fault: str = "internal-error"
    """The reason of what ends in another exception than a problem."""

    def names(self, address: str | None) -> None:
        """Take over the ids that an address of ours holds."""
        found = {name: one.search(address or "") for name, one in _NAMED.items()}
        self.facts |= {name: match[1] for name, match in found.items() if match}

    def entry(self, outcome: Outcome, reason: str | None) -> Entry:
        return Entry(
            self.key_id,
            self.role,
            self.action,
            current_request_id(),
            outcome,
            reason,
            **self.facts,
        )


_access: ContextVar[Access | None] = ContextVar("access", default=None)


def note(**facts: str | None) -> None:
    """What the present access turns out to be about."""
    access = _access.get()
    if access is not None:
        access.facts |= facts


def note_caller(key_id: str, role: str) -> None:
    access = _access.get()
    if access is not None:
        access.key_id, access.role = key_id, role


async def append(session: AsyncSession, action: Action, **facts: str | None) -> None:
    """A row of the present access, in the transaction of its work: call it at the end of that."""
    access = _access.get() or Access(action)
    await link(session, [entry_of(action, **facts)])

    def keep(_session: object) -> None:
        access.is_kept = True

    event.listen(session.sync_session, "after_commit", keep, once=True)


def entry_of(action: Action, **facts: str | None) -> Entry:
    """The row of the present access, for a transaction that others share: see `note_kept`."""
    access = _access.get() or Access(action)
    merged = Access(action, access.key_id, access.role, {**access.facts, **facts})
    return merged.entry("allowed", None)


def note_kept() -> None:
    """The present access has its row."""
    access = _access.get()
    if access is not None:
        access.is_kept = True


@dataclass(frozen=True)
class Wanted:
    """Which rows; all of them, if nothing is said."""

    person_id: str | None = None
    search_id: str | None = None
    key_id: str | None = None
    since: datetime | None = None

    def conditions(self) -> Sequence[ColumnElement[bool]]:
        same = {"person_id": self.person_id, "search_id": self.search_id, "key_id": self.key_id}
        equal = [getattr(Audit, name) == value for name, value in same.items() if value is not None]
        return [*equal, *([Audit.at >= self.since] if self.since else [])]


class AuditLog:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._rounds = Rounds(self._write, MOST_AT_ONCE)

    @asynccontextmanager
    async def recorded(self, access: Access) -> AsyncIterator[None]:
        """The block is the access; it ends when its row is durable, or raises."""
        token = _access.set(access)
        outcome: Outcome = "failed"
        reason: str | None = None
        try:
            yield
            outcome = "allowed"
        except DatabaseUnavailable:
            access.is_kept = True  # nothing was reached, and nothing can be written
            raise
        except Problem as problem:
            outcome = "refused" if isinstance(problem, Refusal) else "failed"
            reason = problem.slug
            raise
        finally:
            _access.reset(token)
            if outcome == "failed":
                reason = reason or access.fault
            if access.key_id is not None and not access.is_kept:
                await self.keep(access.entry(outcome, reason))

    async def keep(self, entry: Entry) -> None:
        """In a transaction of its own, shared by all who come while the one before is written."""
        await self._rounds.join(entry)

    async def _write(self, entries: Sequence[Entry]) -> Sequence[None]:
        async with self._database.write() as session:
            await link(session, entries)
        return [None] * len(entries)

    async def list(self, wanted: Wanted, cursor: str | None, limit: int) -> Page[Audit]:
        """Newest first."""
        query = select(Audit).where(*wanted.conditions())
        if cursor is not None:
            query = query.where(Audit.seq < _decode(cursor))
        async with self._database.read() as session:
            newest = query.order_by(Audit.seq.desc()).limit(limit + 1)
            rows = (await session.scalars(newest)).all()
        more = encode_place([rows[limit - 1].seq]) if len(rows) > limit else None
        return Page(rows[:limit], more)


def _decode(cursor: str) -> int:
    match decode_place(cursor):
        case [int(seq)]:
            return seq
    raise InvalidCursor(f"The cursor is {cursor!r}")
