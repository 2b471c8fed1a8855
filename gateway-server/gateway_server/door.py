"""The door: whose request it is, and whether they have asked too much of late.

Whoever guesses keys is turned away before the next guess is looked at, with everybody else at that
address whose key has not been seen here before: a phone that works goes on working, though another
behind the same router offers a revoked key all day.
"""

import hashlib
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TypeVar

from gateway_server.auth import Caller, Keyring
from gateway_server.limits import RateLimits, Standing, site_of
from gateway_server.problems import RateLimited, Unauthorized

MOST_REMEMBERED = 10_000
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Visit:
    caller: Caller
    standing: Standing | None
    """After this request; None without a limit."""

    def check(self) -> None:
        if self.standing is not None and self.standing.is_exceeded:
            raise _too_much(self.standing)


class Door:
    def __init__(self, keyring: Keyring, limits: RateLimits) -> None:
        self._keyring = keyring
        self._limits = limits
        self._let_in: OrderedDict[bytes, None] = OrderedDict()
        self._shut: OrderedDict[str, tuple[float, Standing]] = OrderedDict()

    async def enter(self, presented: str | None, address: str, weight: int) -> Visit:
        """Raises Unauthorized, and RateLimited in its place; a key's own limit is for `check`."""
        site = site_of(address)
        fingerprint = hashlib.sha256((presented or "").encode()).digest()
        if fingerprint not in self._let_in:
            self._refuse_where_shut(site)
        try:
            caller = await self._keyring.identify(presented)
        except Unauthorized:
            self._let_in.pop(fingerprint, None)
            await self._count_stranger(site)
            raise
        _remember(self._let_in, fingerprint, None)
        return Visit(caller, await self._limits.of_key(caller.key_id, caller.role, weight))

    def _refuse_where_shut(self, site: str) -> None:
        until_s, standing = self._shut.get(site, (0.0, None))
        left_s = math.ceil(until_s - time.monotonic())
        if standing is not None and left_s > 0:
            raise _too_much(replace(standing, resets_in_s=left_s))

    async def _count_stranger(self, site: str) -> None:
        standing = await self._limits.of_stranger(site)
        if standing is not None and standing.is_exceeded:
            _remember(self._shut, site, (time.monotonic() + standing.resets_in_s, standing))
            raise _too_much(standing)


def _remember(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > MOST_REMEMBERED:
        kept.popitem(last=False)


def _too_much(standing: Standing) -> RateLimited:
    rule = f"{standing.quota} in {standing.window_s} s are allowed"
    return RateLimited(rule, retry_after_s=standing.resets_in_s)
