"""The result cache: a port and its two adapters. It may forget anything, and it never fails.

`turn` makes those who miss the same result wait for the one who is finding it: they look again.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from gateway_server.problems import CacheUnavailable
from gateway_server.settings import SettingsError

if TYPE_CHECKING:
    from redis.asyncio import Redis

REDIS_TIMEOUT_S = 0.25
TURN_LASTS_S = 30.0
AWAY_FOR_S = 2.0  # after a failure nobody asks Redis
_REDIS_PREFIX = "reunite:result:"
_TURN_PREFIX = "reunite:turn:"
_log = logging.getLogger(__name__)


class Cache(Protocol):
    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes) -> None: ...

    async def clear(self) -> None:
        """Raises CacheUnavailable where it cannot be told that nothing is left."""

    def turn(self, key: str) -> AbstractAsyncContextManager[None]: ...

    async def close(self) -> None: ...


class Turns:
    """One at a time for each key, within this process."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def take(self, key: str) -> AsyncIterator[None]:
        lock, others = self._waiting.get(key, (asyncio.Lock(), 0))
        self._waiting[key] = lock, others + 1
        try:
            async with lock:
                yield
        finally:
            lock, others = self._waiting.pop(key)
            if others > 1:
                self._waiting[key] = lock, others - 1


class MemoryCache:
    """Least recently used out first; entries older than `ttl_s` are not answered."""

    def __init__(
        self, entries: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._entries = entries
        self._ttl_s = ttl_s
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._turns = Turns()

    async def get(self, key: str) -> bytes | None:
        expires_at_s, value = self._kept.get(key, (0.0, b""))
        if key not in self._kept or expires_at_s <= self._clock():
            self._kept.pop(key, None)
            return None
        self._kept.move_to_end(key)
        return value

    async def put(self, key: str, value: bytes) -> None:
        self._kept[key] = (self._clock() + self._ttl_s, value)
        self._kept.move_to_end(key)
        if len(self._kept) > self._entries:
            self._kept.popitem(last=False)

    async def clear(self) -> None:
        self._kept.clear()

    def turn(self, key: str) -> AbstractAsyncContextManager[None]:
        return self._turns.take(key)

    async def close(self) -> None:
        self._kept.clear()


class RedisCache:
    """Shared by several gateways. A dead Redis costs speed, never an answer.

    While it is away nobody waits for it again and again; only who has to know that something is
    out of it (`clear`) is told.
    """

    def __init__(self, redis: "Redis", ttl_s: float) -> None:
        self._redis = redis
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._turns = Turns()
        self._away_until_s = 0.0

    async def get(self, key: str) -> bytes | None:
        value: bytes | str | None = await self._ask(lambda: self._redis.get(_REDIS_PREFIX + key))
        return value.encode() if isinstance(value, str) else value

    async def put(self, key: str, value: bytes) -> None:
        await self._ask(lambda: self._redis.set(_REDIS_PREFIX + key, value, px=self._ttl_ms))

    async def clear(self) -> None:
        from redis.exceptions import RedisError

        try:
            async for key in self._redis.scan_iter(match=_REDIS_PREFIX + "*", count=1000):
                await self._redis.unlink(key)
        except (RedisError, OSError) as error:
            raise CacheUnavailable(type(error).__name__) from error

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Within this process, then among all; a holder that dies holds nobody up for long."""
        async with self._turns.take(key):
            lock = self._redis.lock(
                _TURN_PREFIX + key, timeout=TURN_LASTS_S, blocking_timeout=TURN_LASTS_S
            )
            held = await self._ask(lock.acquire)
            try:
                yield
            finally:
                if held:  # it may have lasted longer than its turn
                    await self._ask(lock.release)

    async def close(self) -> None:
        await self._redis.aclose()

    async def _ask(self, question: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - Redis's
        """Its answer; None while it is away."""
        from redis.exceptions import LockError, RedisError

        if time.monotonic() < self._away_until_s:
            return None
        try:
            return await question()
        except LockError:
            return None
        except (RedisError, OSError) as error:
            self._away_until_s = time.monotonic() + AWAY_FOR_S
            _log.warning("the cache is away: %s", type(error).__name__)
            return None


def open_cache(url: str, *, entries: int, ttl_s: float) -> Cache:
    """`memory://` or `redis://host:port/number`."""
    if url == "memory://":
        return MemoryCache(entries, ttl_s)
    if url.startswith(("redis://", "rediss://", "unix://")):
        return RedisCache(connect_redis(url), ttl_s)
    raise SettingsError("CACHE_URL must be memory:// or redis://…")


def connect_redis(url: str) -> "Redis":
    """Connects on first use; tries once, so that a dead Redis costs one short timeout."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis.from_url(
        url,
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
