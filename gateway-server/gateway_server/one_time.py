"""Idempotency-Key: whoever repeats a POST gets the first one's answer, and nothing is made twice.

    first time                     the work is done, its answer kept for a day, a phone's for 30
    again, while it is under way   409 with Retry-After
    again, afterwards              the same answer, marked `Idempotent-Replayed`
    same key, another request      422

What a request makes has its id from the key's row, chosen before the work begins. So whoever
repeats a request that was broken off by a crash goes on with what was made already. An outage is no
answer, nor is a defect: neither is kept. Nor is a secret: a request that was answered with one is
known by its key, and repeating it meets 409.
"""

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from operator import itemgetter
from typing import Any, Final, NoReturn, Self

from sqlalchemy import ColumnElement, Text, Update, and_, cast, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.auth import Caller, Role
from gateway_server.database import Database, on_postgresql
from gateway_server.journal import current_request_id
from gateway_server.problems import (
    MEDIA_TYPE,
    AnswerDeleted,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InvalidIdempotencyKey,
    Outage,
    Problem,
    SecretShownBefore,
)
from gateway_server.settings import RetentionSettings, Settings
from gateway_server.tables import ApiKey, OneTime, new_id, now

A_DAY_S: Final = 86_400
DELETED = ""  # in an answer's place
RENEWALS_PER_LEASE = 3
REPLAYED_HEADER = "Idempotent-Replayed"
_TABLE = OneTime.metadata.tables[OneTime.__tablename__]
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True)
class Made:
    """Who makes something, and which id it gets."""

    caller: Caller
    subject_id: str


@dataclass(frozen=True)
class Given:
    """An answer as it is kept: JSON, and the headers that belong to it."""

    status: int
    body: str
    headers: Mapping[str, str]
    media_type: str = "application/json"
    is_secret: bool = False
    """The body is for this once, and kept nowhere."""


@dataclass(frozen=True)
class Once:
    """A request as its client names it."""

    key_id: str
    idempotency_key: str
    fingerprint: str


Work = Callable[[Made], Awaitable[Given]]
Shortcut = Callable[[Made, Once | None], Awaitable[Given | None]]
"""Work that is begun and ended in one transaction, which also holds `settle`; None: not here."""


@dataclass(frozen=True)
class AnswersKept:
    """How long. None outlives the search that it shows."""

    usual: timedelta
    phones: timedelta

    @classmethod
    def by(cls, settings: Settings | RetentionSettings) -> Self:
        most_s = settings.retention_days * A_DAY_S or math.inf
        return cls(
            timedelta(seconds=min(settings.idempotency_kept_s, most_s)),
            timedelta(seconds=min(settings.idempotency_kept_mobile_s, most_s)),
        )

    def of(self, role: Role) -> timedelta:
        return self.phones if role == "mobile" else self.usual

    def is_over(self) -> ColumnElement[bool]:
        phones = OneTime.key_id.in_(select(ApiKey.id).where(ApiKey.role == "mobile"))
        return or_(
            and_(phones, OneTime.created_at < now() - self.phones),
            and_(~phones, OneTime.created_at < now() - self.usual),
        )


class OneTimeRequests:
    def __init__(self, database: Database, lease_s: float, kept: AnswersKept) -> None:
        """`lease_s`: how long after its death a process is thought to be at a request."""
        self._database = database
        self._lease = timedelta(seconds=lease_s)
        self._kept = kept

    async def answer(
        self,
        caller: Caller,
        key: str | None,
        fingerprint: str,
        work: Work,
        shortcut: Shortcut | None = None,
    ) -> Given:
        if key is not None and not _KEY.fullmatch(key):
            raise InvalidIdempotencyKey(f"It has {len(key)} characters")
        if shortcut is not None:
            once = Once(caller.key_id, key, fingerprint) if key is not None else None
            given = await shortcut(Made(caller, new_id()), once)
            if given is not None:
                return given
        if key is None:
            return await work(Made(caller, new_id()))
        holder = new_id()
        row = await self._enter(caller, key, fingerprint, holder)
        if row.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        if row.status is not None:
            return _replayed(row)
        if row.holder != holder:
            raise IdempotencyKeyInUse
        return await self._do(row, holder, work, caller)

    async def _enter(self, caller: Caller, key: str, fingerprint: str, holder: str) -> OneTime:
        """The key's row, held by us if it is new, forgotten by its holder, or too old."""
        async with self._database.write() as session:
            await _insert_unless_there(session, caller.key_id, key, fingerprint)
            row = await session.get_one(OneTime, (caller.key_id, key), with_for_update=True)
            if row.created_at < now() - self._kept.of(caller.role):
                row.fingerprint, row.subject_id, row.created_at = fingerprint, new_id(), now()
                row.status, row.headers, row.body = None, None, None
                row.holder, row.leased_until = None, None
            free = row.leased_until is None or row.leased_until < now()
            if free and row.status is None and row.fingerprint == fingerprint:
                row.holder, row.leased_until = holder, now() + self._lease
        return row

    async def _do(self, row: OneTime, holder: str, work: Work, caller: Caller) -> Given:
        ours = update(OneTime).where(
            OneTime.key_id == row.key_id,
            OneTime.idempotency_key == row.idempotency_key,
            OneTime.holder == holder,
        )
        renewing = asyncio.create_task(self._renew_forever(ours))
        kept: Mapping[str, Any] = {}
        try:
            given = await _answer_of(work, Made(caller, row.subject_id))
            kept = _kept(given)
        finally:  # without an answer, too: the next one need not wait until the lease is over
            renewing.cancel()
            await self._write(ours.values(**kept, holder=None, leased_until=None))
        return given

    async def _renew_forever(self, ours: Update) -> NoReturn:
        while True:
            await asyncio.sleep(self._lease.total_seconds() / RENEWALS_PER_LEASE)
            with suppress(Outage):
                await self._write(ours.values(leased_until=now() + self._lease))

    async def _write(self, statement: Update) -> None:
        async with self._database.write() as session:
            await session.execute(statement)

    def is_old(self) -> ColumnElement[bool]:
        return self._kept.is_over()

    async def forget_old(self) -> int:
        """How many answers were older than they are kept."""
        old = delete(OneTime).where(self.is_old())
        async with self._database.write() as session:
            return len((await session.execute(old.returning(OneTime.key_id))).all())


async def _answer_of(work: Work, made: Made) -> Given:
    """A refusal is an answer, an outage is none."""
    try:
        return await work(made)
    except Outage:
        raise
    except Problem as refusal:
        return _of_refusal(refusal)


async def _insert_unless_there(
    session: AsyncSession, key_id: str, key: str, fingerprint: str
) -> None:
    insert = postgresql.insert if on_postgresql(session) else sqlite.insert
    values = {
        "key_id": key_id,
        "idempotency_key": key,
        "fingerprint": fingerprint,
        "subject_id": new_id(),
        "created_at": now(),
    }
    await session.execute(insert(OneTime).values(values).on_conflict_do_nothing())


@dataclass(frozen=True)
class Settled:
    once: Once | None
    made: Made
    given: Given


async def settle(session: AsyncSession, settled: Sequence[Settled]) -> set[str]:
    """Within the caller's transaction, answers are kept of requests that nobody has seen before.

    Which those are, by the id of what they make; any request without a key is among them.
    """
    unnamed = {one.made.subject_id for one in settled if one.once is None}
    rows = [_answered(one.once, one.made, one.given) for one in settled if one.once is not None]
    if not rows:
        return unnamed
    insert = postgresql.insert if on_postgresql(session) else sqlite.insert
    unless_there = insert(_TABLE).on_conflict_do_nothing().returning(_TABLE.c.subject_id)
    in_order = sorted(rows, key=itemgetter("key_id", "idempotency_key"))
    return unnamed.union(await session.scalars(unless_there, in_order))


def _answered(once: Once, made: Made, given: Given) -> dict[str, Any]:
    row = {**vars(once), "subject_id": made.subject_id, "created_at": now()}
    return {**row, **_kept(given)}


def _kept(given: Given) -> dict[str, Any]:
    return {
        "status": given.status,
        "headers": {**given.headers, "Content-Type": given.media_type},
        "body": None if given.is_secret else given.body,
    }


def fingerprint_of(method: str, address: str, said: Iterable[str | bytes]) -> str:
    """sha256 over the parts, each with its length: no two requests read alike."""
    digest = hashlib.sha256()
    for part in (method, address, *said):
        data = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


def _of_refusal(refusal: Problem) -> Given:
    members = refusal.members(current_request_id())
    return Given(refusal.status, json.dumps(members), dict(refusal.headers), MEDIA_TYPE)


async def forget_answers_about(session: AsyncSession, deleted_id: str) -> None:
    """A person's or a face's, within the caller's transaction; what is sent again makes none."""
    named = or_(  # a face's answer names its person in the Location alone
        OneTime.body.contains(deleted_id, autoescape=True),
        cast(OneTime.headers, Text).contains(deleted_id, autoescape=True),
    )
    about = update(OneTime).where(named)
    await session.execute(about.values(body=DELETED, headers={}))


def _replayed(row: OneTime) -> Given:
    headers = dict(row.headers or {})
    if row.body is None:
        raise SecretShownBefore(location=headers.get("Location"))
    if row.body == DELETED:
        raise AnswerDeleted
    media_type = headers.pop("Content-Type", "application/json")
    marked = {**headers, REPLAYED_HEADER: "true"}
    return Given(row.status or 0, row.body, marked, media_type)
