"""Every cache behaves the same; a dead one costs speed, never an error."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway_server import cache as cache_module
from gateway_server.cache import Cache, MemoryCache, RedisCache, open_cache
from gateway_server.problems import CacheUnavailable
from gateway_server.settings import SettingsError
from tests.gateway_server.conftest import run_gateway, search, until
from tests.gateway_server.photos import make_photo
from tests.gateway_server.test_async_searches import Gate

TTL_S = 60.0


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else "memory://"
    opened = open_cache(url, entries=100, ttl_s=TTL_S)
    yield opened
    await opened.close()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return f"test-{request.node.name}-{id(request)}"


@pytest.fixture
def dead_redis_url() -> str:
    """Names a port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{found.getsockname()[1]}/0"


async def test_what_was_never_put_is_not_there(cache: Cache, key: str):
    assert await cache.get(key) is None


async def test_what_was_put_last_comes_back(cache: Cache, key: str):
    await cache.put(key, b"first")
    await cache.put(key, b"\x00\xff last")

    assert await cache.get(key) == b"\x00\xff last"


async def test_keys_do_not_meet(cache: Cache, key: str):
    await cache.put(f"{key}-a", b"a")

    assert await cache.get(f"{key}-b") is None


async def test_an_entry_in_memory_ends_with_its_time():
    clock_s = [0.0]
    cache = MemoryCache(10, TTL_S, clock=lambda: clock_s[0])
    await cache.put("a", b"a")

    clock_s[0] = TTL_S - 0.001
    assert await cache.get("a") == b"a"
    clock_s[0] = TTL_S
    assert await cache.get("a") is None


async def test_an_entry_in_redis_ends_with_its_time(redis_url: str, key: str):
    cache = open_cache(redis_url, entries=1, ttl_s=TTL_S)
    assert isinstance(cache, RedisCache)
    await cache.put(key, b"a")

    left_ms = await cache._redis.pttl(f"reunite:result:{key}")
    await cache.close()

    assert 0 < left_ms <= TTL_S * 1000


async def test_the_least_recently_used_entry_makes_room():
    cache = MemoryCache(2, TTL_S)
    await cache.put("a", b"a")
    await cache.put("b", b"b")
    await cache.get("a")
    await cache.put("c", b"c")

    assert [await cache.get(name) for name in "abc"] == [b"a", None, b"c"]


async def test_a_dead_redis_is_an_empty_cache(dead_redis_url: str):
    cache = open_cache(dead_redis_url, entries=1, ttl_s=TTL_S)

    await cache.put("a", b"a")

    assert await cache.get("a") is None
    await cache.close()


async def test_a_silent_redis_is_an_empty_cache(monkeypatch):
    """One that takes the connection and never answers."""
    monkeypatch.setattr(cache_module, "REDIS_TIMEOUT_S", 0.1)
    hang_up = asyncio.Event()

    async def stay_silent(_reader, writer):
        await hang_up.wait()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
    cache = open_cache(
        f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", entries=1, ttl_s=TTL_S
    )

    assert await cache.get("a") is None

    await cache.close()
    hang_up.set()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("url", ["", "memory", "memcached://host", "http://host"])
def test_a_cache_of_another_kind_is_refused(url: str):
    with pytest.raises(SettingsError, match="CACHE_URL"):
        open_cache(url, entries=1, ttl_s=TTL_S)


async def test_a_search_is_answered_without_redis(environment, inference, dead_redis_url):
    environment["CACHE_URL"] = dead_redis_url

    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["mobile"]) as phone,
    ):
        answers = [(await search(phone, make_photo(1))).json() for _ in range(2)]

    assert [(one["status"], one["cached"]) for one in answers] == [("done", False)] * 2


async def test_two_gateways_share_what_is_in_redis(environment, inference, redis_url):
    environment["CACHE_URL"] = redis_url
    inference.version = secrets.randbits(62)  # nothing of an earlier run counts
    cached = []

    for _ in range(2):
        async with (
            run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
            running.client(running.keys["mobile"]) as phone,
        ):
            cached.append((await search(phone, make_photo(1))).json()["cached"])

    assert cached == [False, True]


@pytest.mark.parametrize("kept", [b"", b"noise", b'{"of": "another release"}'])
async def test_what_a_cache_holds_of_another_release_is_no_answer(
    phone, running, inference, kept, monkeypatch
):
    async def get(_key):
        return kept

    monkeypatch.setattr(running.gateway.search_desk._searches._cache, "get", get)

    answer = await search(phone, make_photo(1))

    assert (answer.status_code, answer.json()["cached"]) == (201, False)


async def test_one_at_a_time_has_its_turn(cache: Cache, key: str):
    at_once, most = 0, 0

    async def take() -> None:
        nonlocal at_once, most
        async with cache.turn(key):
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.01)
            at_once -= 1

    await asyncio.gather(*(take() for _ in range(5)))

    assert most == 1


async def test_turns_of_other_keys_are_not_waited_for(cache: Cache, key: str):
    async with cache.turn(f"{key}-a"), asyncio.timeout(5), cache.turn(f"{key}-b"):
        pass


async def test_a_turn_ends_however_its_block_does(cache: Cache, key: str):
    for _ in range(2):
        with pytest.raises(KeyError):
            async with asyncio.timeout(5), cache.turn(key):
                raise KeyError


async def test_whoever_gives_up_waiting_holds_nobody_up(cache: Cache, key: str):
    async with cache.turn(key):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), cache.turn(key):
                pass

    async with asyncio.timeout(5), cache.turn(key):
        pass


async def test_turns_that_are_over_leave_nothing_behind():
    cache = MemoryCache(10, TTL_S)

    async def take(key: str) -> None:
        async with cache.turn(key):
            await asyncio.sleep(0)

    await asyncio.gather(*(take(key) for key in "aaabbc"))

    assert not cache._turns._waiting


async def test_turns_are_taken_among_gateways(redis_url: str, key: str):
    caches = [open_cache(redis_url, entries=1, ttl_s=TTL_S) for _ in range(2)]
    async with caches[0].turn(key):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), caches[1].turn(key):
                pass
    async with asyncio.timeout(5), caches[1].turn(key):
        pass
    for one in caches:
        await one.close()


async def test_what_was_cleared_is_not_there(cache: Cache, key: str):
    for name in "abc":
        await cache.put(f"{key}-{name}", b"an answer")

    await cache.clear()

    assert [await cache.get(f"{key}-{name}") for name in "abc"] == [None] * 3


async def test_clearing_touches_nothing_else_in_redis(redis_url: str, key: str):
    cache = open_cache(redis_url, entries=1, ttl_s=TTL_S)
    assert isinstance(cache, RedisCache)
    await cache._redis.set(key, b"another's", ex=60)

    await cache.clear()

    assert await cache._redis.get(key) == b"another's"
    await cache._redis.delete(key)
    await cache.close()


async def test_a_dead_redis_has_turns_within_the_process(dead_redis_url: str):
    cache = open_cache(dead_redis_url, entries=1, ttl_s=TTL_S)
    at_once, most = 0, 0

    async def take() -> None:
        nonlocal at_once, most
        async with cache.turn("a"):
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.01)
            at_once -= 1

    await asyncio.gather(*(take() for _ in range(3)))

    assert most == 1
    await cache.close()


async def test_that_a_dead_redis_holds_nothing_any_more_cannot_be_told(dead_redis_url: str):
    """Whoever must know, a deletion, asks again until Redis has confirmed."""
    cache = open_cache(dead_redis_url, entries=1, ttl_s=TTL_S)

    with pytest.raises(CacheUnavailable):
        await cache.clear()
    await cache.close()


async def test_a_redis_that_was_away_is_not_waited_for_again_and_again(dead_redis_url, caplog):
    cache = open_cache(dead_redis_url, entries=1, ttl_s=TTL_S)

    for _ in range(5):
        assert await cache.get("a") is None

    assert caplog.text.count("the cache is away") == 1
    await cache.close()


@pytest.mark.parametrize("cache_url", ["memory", "dead"])
async def test_of_equal_searches_at_the_same_moment_one_asks(
    environment, inference, dead_redis_url, cache_url
):
    environment["CACHE_URL"] = dead_redis_url if cache_url == "dead" else "memory://"
    gate = Gate(inference)
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["mobile"]) as phone,
    ):
        asked = [asyncio.ensure_future(search(phone, make_photo(1))) for _ in range(4)]
        await until(gate.has_somebody)
        gate.open()
        found = [(await one).json() for one in asked]

    assert {one["status"] for one in found} == {"done"}
    if cache_url == "memory":
        assert inference.called("match") == 1
        assert sorted(one["cached"] for one in found) == [False, True, True, True]
    else:
        assert [one["cached"] for one in found] == [False] * 4, "there is nothing to look into"


async def test_of_equal_searches_at_two_gateways_one_asks(environment, inference, redis_url):
    environment["CACHE_URL"] = redis_url
    inference.version = secrets.randbits(62)  # nothing of an earlier run counts
    gate = Gate(inference)
    transport = httpx.ASGITransport(inference.app)
    async with (
        run_gateway(environment, transport) as here,
        run_gateway(environment, transport) as there,
        here.client(here.keys["mobile"]) as one,
        there.client(there.keys["mobile"]) as other,
    ):
        asked = [asyncio.ensure_future(search(phone, make_photo(1))) for phone in (one, other)]

        async def have_both_looked():
            return inference.called("gallery") == 2 and gate.waiting

        await until(have_both_looked)
        gate.open()
        found = [(await one).json() for one in asked]

    assert inference.called("match") == 1
    assert sorted(one["cached"] for one in found) == [False, True]
