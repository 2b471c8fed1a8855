"""API keys `rk_<id>_<secret>`: shown once, kept as the sha256 of 256 random bits; their roles."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import select

from gateway_server.database import Database
from gateway_server.problems import Forbidden, Unauthorized
from gateway_server.tables import ApiKey, now

Role = Literal["mobile", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
SECRET_BYTES = 32
ID_BYTES = 6
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

    async def create(self, name: str, role: Role) -> str:
        """The new key. It cannot be shown again."""
        key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
        async with self._database.write() as session:
            session.add(ApiKey(id=key_id, name=name, role=role, secret_sha256=_digest(secret)))
        return f"{_PREFIX}_{key_id}_{secret}"

    async def list(self) -> Sequence[ApiKey]:
        async with self._database.read() as session:
            return (await session.scalars(select(ApiKey).order_by(ApiKey.created_at))).all()

    async def revoke(self, key_id: str) -> bool:
        """False if there is no such key, or it has been revoked before."""
        async with self._database.write() as session:
            key = await session.get(ApiKey, key_id)
            if key is None or key.revoked_at is not None:
                return False
            key.revoked_at = now()
            return True

    async def identify(self, presented: str | None) -> Caller:
        """Whose key this is. Every wrong key meets the same comparison and the same words."""
        key_id, secret = _split(presented)
        async with self._database.read() as session:
            key = await session.get(ApiKey, key_id)
        expected = key.secret_sha256 if key else _digest("")
        matches = hmac.compare_digest(_digest(secret), expected)
        if key is None or key.revoked_at is not None or not matches:
            raise Unauthorized("The API key is not valid")
        return Caller(key.id, _role(key.role))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _split(presented: str | None) -> tuple[str, str]:
    if not presented:
        raise Unauthorized("Send `Authorization: Bearer rk_…`")
    prefix, _, rest = presented.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != _PREFIX or not _is_id(key_id) or not secret:
        raise Unauthorized("The API key is not valid")
    return key_id, secret


def _is_id(text: str) -> bool:
    return len(text) == 2 * ID_BYTES and set(text) <= set("0123456789abcdef")


def _role(text: str) -> Role:
    for role in ROLES:
        if text == role:
            return role
    raise Unauthorized("The API key is not valid")
