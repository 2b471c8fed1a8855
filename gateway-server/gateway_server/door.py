"""The door: whose request it is, and whether they have asked too much of late.

Whoever guesses keys is turned away before the next guess is looked at, with everybody else at that
address whose key has not been seen here before: a phone that works goes on working, though another
behind the same router offers a revoked key all day.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from gateway_server.auth import Caller, Keyring
from gateway_server.browser_sessions import BrowserSessions, Session
from gateway_server.limits import RateLimits, Standing, site_of
from gateway_server.problems import RateLimited, SessionEnded, Unauthorized

MOST_REMEMBERED = 10_000
K = TypeVar("K")
V = TypeVar("V")
S = TypeVar("S", str, str | None)


@dataclass(frozen=True)
class Visit:
    caller: Caller
    standing: Standing | None
    """After this request; None without a limit."""

    def check(self) -> None:
        if self.standing is not None and self.standing.is_exceeded:
            raise _too_much(self.standing)


@dataclass(frozen=True)
class BrowserVisit(Visit):
    session: Session


class Door:
    def __init__(self, keyring: Keyring, sessions: BrowserSessions, limits: RateLimits) -> None:
        self._keyring = keyring
        self._sessions = sessions
        self._limits = limits
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._shut: OrderedDict[str, tuple[float, Standing]] = OrderedDict()

    async def enter(self, presented: str | None, address: str, weight: int) -> Visit:
        """Raises Unauthorized, and RateLimited in its place; a key's own limit is for `check`."""
        caller = await self._let_in(presented, address, self._keyring.identify)
        return Visit(caller, await self._limits.of_key(caller.key_id, caller.role, weight))

    async def enter_again(
        self, token: str, address: str, weight: int, *, attended: bool
    ) -> BrowserVisit:
        """By the cookie of a browser that has signed in; it counts as its key does."""
        identify = partial(self._sessions.identify, attended=attended)
        session = await self._let_in(token, address, identify)
        caller = session.caller
        standing = await self._limits.of_key(caller.key_id, caller.role, weight)
        return BrowserVisit(caller, standing, session)

    async def _let_in(self, shown: S, address: str, identify: Callable[[S], Awaitable[V]]) -> V:
        site = site_of(address)
        fingerprint = hashlib.sha256((shown or "").encode()).digest()
        if fingerprint not in self._known:
            self._refuse_where_shut(site)
        try:
            found = await identify(shown)
        except SessionEnded:
            raise
        except Unauthorized:
            self._known.pop(fingerprint, None)
            await self._count_stranger(site)
            raise
        _remember(self._known, fingerprint, None)
        return found

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
