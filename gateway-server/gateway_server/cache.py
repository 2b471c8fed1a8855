"""The result cache: a port and its two adapters. It may forget anything, and it never fails."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gateway_server.settings import SettingsError

if TYPE_CHECKING:
    from redis.asyncio import Redis

REDIS_TIMEOUT_S = 0.25
_REDIS_PREFIX = "reunite:result:"
_log = logging.getLogger(__name__)


class Cache(Protocol):
    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes) -> None: ...

    async def close(self) -> None: ...


class MemoryCache:
    """Least recently used out first; entries older than `ttl_s` are not answered."""

    def __init__(
        self, entries: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._entries = entries
        self._ttl_s = ttl_s
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

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

    async def close(self) -> None:
        self._kept.clear()


class RedisCache:
    """Shared by several gateways. A dead Redis costs speed, never an error."""

    def __init__(self, redis: "Redis", ttl_s: float) -> None:
        self._redis = redis
        self._ttl_ms = max(1, round(ttl_s * 1000))

    async def get(self, key: str) -> bytes | None:
        from redis.exceptions import RedisError

        try:
            value = await self._redis.get(_REDIS_PREFIX + key)
        except (RedisError, OSError) as error:
            _warn(error)
            return None
        return value.encode() if isinstance(value, str) else value

    async def put(self, key: str, value: bytes) -> None:
        from redis.exceptions import RedisError

        try:
            await self._redis.set(_REDIS_PREFIX + key, value, px=self._ttl_ms)
        except (RedisError, OSError) as error:
            _warn(error)

    async def close(self) -> None:
        await self._redis.aclose()


def _warn(error: Exception) -> None:
    _log.warning("the cache is away: %s", type(error).__name__)


def open_cache(url: str, *, entries: int, ttl_s: float) -> Cache:
    """`memory://` or `redis://host:port/number`."""
    if url == "memory://":
        return MemoryCache(entries, ttl_s)
    if url.startswith(("redis://", "rediss://", "unix://")):
        return RedisCache(_connect_redis(url), ttl_s)
    raise SettingsError("CACHE_URL must be memory:// or redis://…")


def _connect_redis(url: str) -> "Redis":
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
