"""Browsers that have signed in: a cookie of 256 random bits, of which the sha256 is kept.

A session ends by signing out, when its key or the secret it was opened with ends, after a while
without a request, and, for operators, at a certain age. What a page asks by itself, unattended,
does not keep it alive.
"""

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, select, update

from gateway_server.auth import Caller, caller_of, holds_secret, secret_digest
from gateway_server.database import Database
from gateway_server.problems import DatabaseUnavailable, SessionEnded, Unauthorized
from gateway_server.tables import ApiKey, BrowserSession, now

TOKEN_BYTES = 32
NOTED_EVERY = timedelta(seconds=60)
NOTED_WITHIN = 10  # a tenth of the idle time: it ends at most so much too early


@dataclass(frozen=True)
class SessionLimits:
    idle: timedelta
    idle_mobile: timedelta
    longest: timedelta

    def idle_of(self, role: str) -> timedelta:
        return self.idle_mobile if role == "mobile" else self.idle

    def is_over(self, session: BrowserSession, role: str) -> bool:
        if session.seen_at + self.idle_of(role) <= now():
            return True
        return role != "mobile" and session.created_at + self.longest <= now()


@dataclass(frozen=True)
class Session:
    caller: Caller
    key_name: str
    csrf_token: str
    idle_s: int


class BrowserSessions:
    def __init__(self, database: Database, limits: SessionLimits) -> None:
        self._database = database
        self._limits = limits

    async def begin(self, presented: str, caller: Caller) -> str:
        """The cookie's value, which is kept nowhere; `presented` is the caller's key."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        async with self._database.write() as session:
            await session.execute(delete(BrowserSession).where(self._is_forgotten()))
            session.add(
                BrowserSession(
                    token_sha256=_digest(token),
                    key_id=caller.key_id,
                    secret_sha256=secret_digest(presented),
                    csrf_token=secrets.token_urlsafe(TOKEN_BYTES),
                )
            )
        return token

    async def identify(self, token: str, *, attended: bool = True) -> Session:
        """Whose browser this is. Raises Unauthorized, and SessionEnded where it was somebody's."""
        row, key = await self._find(token)
        if not holds_secret(key, row.secret_sha256):
            raise SessionEnded("The key of this session has ended")
        caller = caller_of(key)
        if self._limits.is_over(row, caller.role):
            raise SessionEnded("The session has ended")
        idle = self._limits.idle_of(caller.role)
        if attended:
            await self._note_use(row, min(NOTED_EVERY, idle / NOTED_WITHIN))
        return Session(caller, key.name, row.csrf_token, int(idle.total_seconds()))

    async def end(self, token: str) -> None:
        async with self._database.write() as session:
            ours = BrowserSession.token_sha256 == _digest(token)
            await session.execute(delete(BrowserSession).where(ours))

    async def _find(self, token: str) -> tuple[BrowserSession, ApiKey]:
        both = select(BrowserSession, ApiKey).join(ApiKey, ApiKey.id == BrowserSession.key_id)
        async with self._database.read() as session:
            ours = both.where(BrowserSession.token_sha256 == _digest(token))
            found = (await session.execute(ours)).first()
        if found is None:
            raise Unauthorized("There is no such session")
        return found[0], found[1]

    async def _note_use(self, row: BrowserSession, every: timedelta) -> None:
        if row.seen_at > now() - every:
            return
        ours = update(BrowserSession).where(BrowserSession.token_sha256 == row.token_sha256)
        with suppress(DatabaseUnavailable):
            async with self._database.write() as session:
                await session.execute(ours.values(seen_at=now()))

    def _is_forgotten(self) -> ColumnElement[bool]:
        longest_idle = max(self._limits.idle, self._limits.idle_mobile)
        return BrowserSession.seen_at < now() - longest_idle


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
