"""How much may be asked in a while: by a key, and by an address that has none.

Counted in fixed windows, which begin with the first request. Several gateways count together where
there is a Redis; while it is away each counts for itself, and no request fails of it.
"""

import ipaddress
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError

from gateway_server.cache import connect_redis
from gateway_server.settings import NO_LIMIT, Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis

STRANGERS = "strangers"
REDIS_LEFT_ALONE_S: Final = 5.0
IPV6_SITE_BITS = 64  # what one subscriber has; the addresses within are theirs to choose
_REDIS_PREFIX = "reunite:rate"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    quota: int
    window_s: int
    remaining: int
    resets_in_s: int
    is_exceeded: bool

    def headers(self) -> Mapping[str, str]:
        """As in draft-ietf-httpapi-ratelimit-headers."""
        return {
            "RateLimit-Policy": f'"default";q={self.quota};w={self.window_s}',
            "RateLimit": f'"default";r={self.remaining};t={self.resets_in_s}',
        }


class Counter(Protocol):
    async def count(self, rate: RateLimitItem, who: str, weight: int) -> Standing: ...

    async def close(self) -> None: ...


class OwnCounter:
    """Of this process alone."""

    def __init__(self) -> None:
        self._windows = FixedWindowRateLimiter(MemoryStorage())

    async def count(self, rate: RateLimitItem, who: str, weight: int) -> Standing:
        return await _count(self._windows, rate, who, weight)

    async def close(self) -> None:
        pass


class SharedCounter:
    """Of all gateways that share a Redis; each for itself while it is away."""

    def __init__(self, redis: "Redis", clock_s: Callable[[], float] = time.monotonic) -> None:
        from limits.aio.storage import RedisStorage

        storage = RedisStorage(
            "redis://",
            implementation="redispy",
            wrap_exceptions=True,
            key_prefix=_REDIS_PREFIX,
            connection_pool=redis.connection_pool,  # type: ignore[arg-type] # passed to redis-py
        )
        self._redis = redis
        self._shared = FixedWindowRateLimiter(storage)
        self._own = OwnCounter()
        self._clock_s = clock_s
        self._left_alone_until_s = -math.inf

    async def count(self, rate: RateLimitItem, who: str, weight: int) -> Standing:
        if self._clock_s() < self._left_alone_until_s:
            return await self._own.count(rate, who, weight)
        try:
            return await _count(self._shared, rate, who, weight)
        except (StorageError, OSError) as error:
            _log.warning("requests are counted here alone: %s", type(error).__name__)
            self._left_alone_until_s = self._clock_s() + REDIS_LEFT_ALONE_S
            return await self._own.count(rate, who, weight)

    async def close(self) -> None:
        await self._redis.aclose()


async def _count(
    windows: FixedWindowRateLimiter, rate: RateLimitItem, who: str, weight: int
) -> Standing:
    is_within = await windows.hit(rate, who, cost=weight)
    stats = await windows.get_window_stats(rate, who)
    resets_in_s = math.ceil(stats.reset_time - time.time())
    window_s = rate.get_expiry()
    return Standing(
        rate.amount,
        window_s,
        stats.remaining,
        min(max(1, resets_in_s), window_s),
        is_exceeded=not is_within,
    )


class RateLimits:
    def __init__(self, rates: Mapping[str, RateLimitItem], counter: Counter) -> None:
        """`rates` by role, and of strangers; who is not in it has no limit."""
        self._rates = rates
        self._counter = counter

    async def of_key(self, key_id: str, role: str, weight: int) -> Standing | None:
        """After this request; None without a limit."""
        return await self._count(role, key_id, weight)

    async def of_stranger(self, site: str) -> Standing | None:
        return await self._count(STRANGERS, site, 1)

    async def _count(self, kind: str, who: str, weight: int) -> Standing | None:
        rate = self._rates.get(kind)
        return None if rate is None else await self._counter.count(rate, f"{kind}/{who}", weight)

    async def close(self) -> None:
        await self._counter.close()


def open_limits(settings: Settings) -> RateLimits:
    named = {
        "mobile": settings.rate_mobile,
        "operator": settings.rate_operator,
        "admin": settings.rate_admin,
        STRANGERS: settings.rate_strangers,
    }
    rates = {kind: parse(rate) for kind, rate in named.items() if rate != NO_LIMIT}
    if settings.cache_url == "memory://":
        return RateLimits(rates, OwnCounter())
    return RateLimits(rates, SharedCounter(connect_redis(settings.cache_url)))


def site_of(address: str) -> str:
    """What a subscriber has: one IPv4 address, or a network of IPv6 ones."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket, or a name that a proxy gave
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return str(known)
    mapped = known.ipv4_mapped
    return str(mapped or ipaddress.ip_network((known, IPV6_SITE_BITS), strict=False))
