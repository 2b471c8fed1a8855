"""API keys `rk_<id>_<secret>`: shown once, kept as the sha256 of 256 random bits; their roles."""

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.audit import append
from gateway_server.database import Database
from gateway_server.paging import Page, read_page
from gateway_server.problems import (
    DatabaseUnavailable,
    Forbidden,
    KeyEnded,
    KeyNotFound,
    LastAdminKey,
    Unauthorized,
)
from gateway_server.rounds import Rounds
from gateway_server.tables import ApiKey, now

Role = Literal["mobile", "operator", "admin"]
KeyStatus = Literal["valid", "expired", "revoked"]
ROLES: tuple[Role, ...] = get_args(Role)
SECRET_BYTES = 32
ID_BYTES = 6
KEY_STAYS: Final = {"key_share": True}  # a search by the key may be recorded meanwhile
USE_NOTED_EVERY_S: Final = 60.0
MOST_AT_ONCE = 500
_WITH_IDS = select(ApiKey).where(ApiKey.id.in_(bindparam("ids", expanding=True)))
_PREFIX = "rk"


@dataclass(frozen=True)
class Caller:
    key_id: str
    role: Role

    @property
    def is_operator(self) -> bool:
        """An admin may do whatever an operator may."""
        return self.role in {"operator", "admin"}

    def must_be(self, roles: Sequence[Role]) -> None:
        if self.role not in roles:
            raise Forbidden(f"This needs a key of {' or '.join(roles)}; yours is of {self.role}")


class Keyring:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted_at_s: dict[str, float] = {}
        self._lookups = Rounds(self._look_up, MOST_AT_ONCE)

    async def create(
        self,
        name: str,
        role: Role,
        *,
        expires_days: int | None = None,
        key_id: str | None = None,
    ) -> str:
        """The new key. It cannot be shown again.

        `key_id`: chosen by the caller, so that a repeated request finds what it made and never
        got to show: that key gets another secret.
        """
        key_id, secret = key_id or secrets.token_hex(ID_BYTES), _new_secret()
        async with self._database.write() as session:
            key = await session.get(ApiKey, key_id, with_for_update=KEY_STAYS)
            if key is None:
                key = ApiKey(id=key_id)
                session.add(key)
            key.name, key.role, key.secret_sha256 = name, role, _digest(secret)
            key.expires_at = _in_days(expires_days)
            await append(session, "key.create", subject_id=key_id)
        return _written(key_id, secret)

    async def rotate(
        self, key_id: str, *, grace_s: float = 0, expires_days: int | None = None
    ) -> str:
        """The same key with a new secret, which cannot be shown again: searches stay its own.

        The secret before is good for `grace_s` more, by default not at all, and any older one
        ends at once; `expires_days` from now, by default when it would have anyway.
        """
        secret = _new_secret()
        async with self._database.write() as session:
            key = await session.get(ApiKey, key_id, with_for_update=KEY_STAYS)
            if key is None:
                raise KeyNotFound(f"No key has the id {key_id}")
            if status_of(key) != "valid":
                raise KeyEnded(f"The key is {status_of(key)}")
            key.previous_sha256, key.previous_until = None, None
            if grace_s > 0:
                key.previous_sha256 = key.secret_sha256
                key.previous_until = now() + timedelta(seconds=grace_s)
            key.secret_sha256 = _digest(secret)
            key.expires_at = _in_days(expires_days) or key.expires_at
            await append(session, "key.rotate", subject_id=key_id)
        return _written(key_id, secret)

    async def revoke(self, key_id: str, *, spare_last_admin: bool = False) -> bool:
        """False if there is no such key, or it has been revoked before.

        `spare_last_admin`: LastAdminKey, where nobody would be left to make keys from afar.
        """
        async with self._database.write() as session:
            admins = await _lock_admins(session) if spare_last_admin else []
            key = await session.get(ApiKey, key_id, with_for_update=KEY_STAYS)
            if key is None or key.revoked_at is not None:
                return False
            if admins == [key_id]:
                raise LastAdminKey("Create another admin's key first")
            key.revoked_at = now()
            await append(session, "key.revoke", subject_id=key_id)
            return True

    async def list(self) -> Sequence[ApiKey]:
        async with self._database.read() as session:
            return (await session.scalars(select(ApiKey).order_by(ApiKey.created_at))).all()

    async def names(self) -> Mapping[str, str]:
        """Of all keys, the ended ones too, by their ids."""
        async with self._database.read() as session:
            rows = await session.execute(select(ApiKey.id, ApiKey.name))
        return {row.id: row.name for row in rows}

    async def page(self, cursor: str | None, limit: int) -> Page[ApiKey]:
        """Newest first."""
        async with self._database.read() as session:
            return await read_page(session, ApiKey, [], cursor, limit)

    async def get(self, key_id: str) -> ApiKey:
        async with self._database.read() as session:
            key = await session.get(ApiKey, key_id)
        if key is None:
            raise KeyNotFound(f"No key has the id {key_id}")
        return key

    async def identify(self, presented: str | None) -> Caller:
        """Whose key this is. Every wrong key meets the same comparison and the same words."""
        key_id, secret = _split(presented)
        key = await self._lookups.join(key_id)
        matches = _matches(_digest(secret), key)
        if key is None or status_of(key) != "valid" or not matches:
            raise Unauthorized("The API key is not valid")
        caller = caller_of(key)
        await self._note_use(key)
        return caller

    async def _look_up(self, key_ids: Sequence[str]) -> Sequence[ApiKey | None]:
        """As they are now: a revoked key opens nothing any more."""
        async with self._database.read() as session:
            rows = await session.scalars(_WITH_IDS, {"ids": sorted(set(key_ids))})
            known = {key.id: key for key in rows}
        return [known.get(one) for one in key_ids]

    async def _note_use(self, key: ApiKey) -> None:
        """At most once a minute for each key, and never in the way of what it is used for."""
        noted_at_s = self._noted_at_s.get(key.id, -math.inf)
        if time.monotonic() - noted_at_s < USE_NOTED_EVERY_S:
            return
        self._noted_at_s[key.id] = time.monotonic()
        used_before = ApiKey.last_used_at < now() - timedelta(seconds=USE_NOTED_EVERY_S)
        unnoted = or_(ApiKey.last_used_at.is_(None), used_before)
        with suppress(DatabaseUnavailable):
            async with self._database.write() as session:
                noting = update(ApiKey).where(ApiKey.id == key.id, unnoted)
                await session.execute(noting.values(last_used_at=now()))


def secret_digest(presented: str) -> str:
    """sha256 of the secret in a key."""
    return _digest(_split(presented)[1])


def holds_secret(key: ApiKey, digest: str) -> bool:
    """Whether the key is valid, and this is the sha256 of a secret that is good for it."""
    return _matches(digest, key) and status_of(key) == "valid"


def caller_of(key: ApiKey) -> Caller:
    return Caller(key.id, _role(key.role))


def status_of(key: ApiKey) -> KeyStatus:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now():
        return "expired"
    return "valid"


def _matches(digest: str, key: ApiKey | None) -> bool:
    """Both secrets are compared, whether there are two, one or none: it takes the same time."""
    expected = key.secret_sha256 if key else _digest("")
    replaced = key.previous_sha256 if key and key.previous_sha256 else _digest("")
    is_in_grace = bool(key and key.previous_until and key.previous_until > now())
    is_present = hmac.compare_digest(digest, expected)
    is_previous = hmac.compare_digest(digest, replaced)
    return is_present or (is_previous and is_in_grace)


async def _lock_admins(session: AsyncSession) -> Sequence[str]:
    """Those who are left; two who revoke each other's keys take turns here."""
    valid = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now())
    admins = select(ApiKey).where(ApiKey.role == "admin", ApiKey.revoked_at.is_(None), valid)
    locked = await session.scalars(admins.order_by(ApiKey.id).with_for_update(key_share=True))
    return [key.id for key in locked]


def _new_secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def _in_days(days: int | None) -> datetime | None:
    return None if days is None else now() + timedelta(days=days)


def _written(key_id: str, secret: str) -> str:
    return f"{_PREFIX}_{key_id}_{secret}"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _split(presented: str | None) -> tuple[str, str]:
    if not presented:
        raise Unauthorized("Send `Authorization: Bearer rk_…`")
    prefix, _, rest = presented.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != _PREFIX or not is_key_id(key_id) or not secret:
        raise Unauthorized("The API key is not valid")
    return key_id, secret


def key_id_of(row_id: str) -> str:
    """Another spelling of an id's first random bits."""
    return row_id.replace("-", "")[: 2 * ID_BYTES]


def is_key_id(text: str) -> bool:
    return len(text) == 2 * ID_BYTES and set(text) <= set("0123456789abcdef")


def _role(text: str) -> Role:
    for role in ROLES:
        if text == role:
            return role
    raise Unauthorized("The API key is not valid")
