"""How much may be asked: by each key, by strangers, with Redis, and without it when it is away."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from limits import parse

from gateway_server.auth import Keyring
from gateway_server.browser_sessions import BrowserSessions, SessionLimits
from gateway_server.cache import connect_redis
from gateway_server.database import Database
from gateway_server.door import Door
from gateway_server.limits import (
    OwnCounter,
    RateLimits,
    SharedCounter,
    open_limits,
    site_of,
)
from gateway_server.problems import RateLimited, Unauthorized
from gateway_server.settings import Settings, SettingsError
from gateway_server.tables import new_id
from tests.gateway_server.conftest import run_gateway, search, slug_of
from tests.gateway_server.photos import make_photo

NOBODY = "00000000-0000-4000-8000-000000000000"
REQUIRED = {"INTERNAL_TOKEN": "secret"}
DEAD_REDIS = "redis://127.0.0.1:9/0"


@pytest.fixture
def database_url(sqlite_url):
    """Limits are not in the database."""
    return sqlite_url


@pytest.fixture
def environment(environment):
    return environment | {
        "RATE_MOBILE": "12/hour",
        "RATE_OPERATOR": "none",
        "RATE_STRANGERS": "3/hour",
    }


@pytest.fixture(params=["own", "redis", "dead redis"])
async def counter(request):
    if request.param == "own":
        counter = OwnCounter()
    elif request.param == "redis":
        counter = SharedCounter(connect_redis(request.getfixturevalue("redis_url")))
    else:
        counter = SharedCounter(connect_redis(DEAD_REDIS))
    yield counter
    await counter.close()


async def test_a_counter_counts_down_to_nothing_and_tells_when_it_begins_again(counter):
    limits = RateLimits({"mobile": parse("7/minute")}, counter)
    who = new_id()

    first = await limits.of_key(who, "mobile", 5)
    second = await limits.of_key(who, "mobile", 2)
    third = await limits.of_key(who, "mobile", 1)
    another = await limits.of_key(new_id(), "mobile", 1)

    assert [one.remaining for one in (first, second, third, another)] == [2, 0, 0, 6]
    assert [one.is_exceeded for one in (first, second, third, another)] == [
        False,
        False,
        True,
        False,
    ]
    assert (first.quota, first.window_s) == (7, 60)
    assert all(0 < one.resets_in_s <= 60 for one in (first, second, third))
    assert await limits.of_key(who, "operator", 1) is None


async def test_gateways_that_share_a_redis_count_together(redis_url):
    counters = [SharedCounter(connect_redis(redis_url)) for _ in range(2)]
    who = new_id()

    standings = [await one.count(parse("9/minute"), who, 1) for one in counters]

    assert [one.remaining for one in standings] == [8, 7]
    for one in counters:
        await one.close()


async def test_a_redis_that_is_away_is_left_alone_for_a_while():
    clock_s = [100.0]
    counter = SharedCounter(connect_redis(DEAD_REDIS), lambda: clock_s[0])
    tried = []
    incr = counter._shared.storage.incr

    async def watched(*args, **kwargs):
        tried.append(clock_s[0])
        return await incr(*args, **kwargs)

    counter._shared.storage.incr = watched
    for moment_s in (100.0, 101.0, 104.0, 106.0):
        clock_s[0] = moment_s
        standing = await counter.count(parse("9/minute"), "who", 1)

    assert tried == [100.0, 106.0]
    assert standing.remaining == 5
    await counter.close()


async def test_every_answer_to_a_key_tells_how_it_stands(running, phone, operator):
    found = await search(phone, make_photo(1))
    missing = await phone.get(f"/v1/searches/{NOBODY}")
    forbidden = await phone.get("/v1/persons")
    unlimited = await operator.get("/v1/persons")

    assert {one.headers["ratelimit-policy"] for one in (found, missing, forbidden)} == {
        '"default";q=12;w=3600'
    }
    told = [one.headers["ratelimit"] for one in (found, missing, forbidden)]
    assert [one.partition(";t=")[0] for one in told] == [
        '"default";r=7',
        '"default";r=6',
        '"default";r=5',
    ]
    assert "ratelimit" not in unlimited.headers


async def test_whoever_asks_too_much_is_told_when_to_come_again(phone):
    for _ in range(2):
        assert (await search(phone, make_photo(1))).status_code == 201

    refused = await search(phone, make_photo(2))

    assert (refused.status_code, slug_of(refused)) == (429, "rate-limited")
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["ratelimit"].startswith('"default";r=0;t=')


async def test_what_is_too_much_is_not_even_read(running):
    read = []

    async def body():
        read.append("asked")
        yield b"x"

    async with running.client(running.keys["mobile"]) as phone:
        for _ in range(12):
            await phone.get(f"/v1/searches/{NOBODY}")
        answer = await phone.post("/v1/searches", content=body())

    assert (answer.status_code, read) == (429, [])


async def test_guessing_ends_soon_and_working_phones_go_on(running, phone):
    await phone.get(f"/v1/searches/{NOBODY}")
    statuses = []
    for guess in range(5):
        async with running.client(f"rk_{'0' * 12}_{guess}") as stranger:
            answer = await stranger.get("/v1/persons")
            statuses.append(answer.status_code)
    async with running.client(running.keys["admin"]) as unseen:
        turned_away = await unseen.get("/v1/persons")
    known = await phone.get(f"/v1/searches/{NOBODY}")

    assert statuses == [401, 401, 401, 429, 429]
    assert slug_of(answer) == "rate-limited"
    assert turned_away.status_code == 429
    assert known.status_code == 404


def door_of(database: Database, keyring: Keyring) -> Door:
    day = timedelta(days=1)
    sessions = BrowserSessions(database, SessionLimits(day, day, day))
    return Door(keyring, sessions, RateLimits({"strangers": parse("1/hour")}, OwnCounter()))


async def test_a_right_guess_is_not_let_in_once_the_door_is_shut(database):
    keyring = Keyring(database)
    key = await keyring.create("phone", "mobile")
    door = door_of(database, keyring)
    with pytest.raises(Unauthorized):
        await door.enter("rk_guess", "192.0.2.1", 1)
    with pytest.raises(RateLimited):
        await door.enter("rk_guess", "192.0.2.1", 1)

    with pytest.raises(RateLimited):
        await door.enter(key, "192.0.2.1", 1)
    assert (await door.enter(key, "192.0.2.2", 1)).caller.role == "mobile"
    assert (await door.enter(key, "192.0.2.1", 1)).caller.role == "mobile"


async def test_a_key_that_was_let_in_and_revoked_is_a_strangers(database):
    keyring = Keyring(database)
    key = await keyring.create("phone", "mobile")
    door = door_of(database, keyring)
    await door.enter(key, "192.0.2.1", 1)
    await keyring.revoke(key.split("_")[1])

    with pytest.raises(Unauthorized):
        await door.enter(key, "192.0.2.1", 1)
    with pytest.raises(RateLimited):
        await door.enter(key, "192.0.2.1", 1)


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("-", "-"),
    ],
)
def test_a_subscriber_is_one_address_or_one_network(address, site):
    assert site_of(address) == site


@pytest.mark.parametrize("rate", ["60", "0/minute", "60/fortnight", "-1/minute", "60/minute;1/day"])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(SettingsError, match="RATE_MOBILE is"):
        Settings.from_mapping({**REQUIRED, "RATE_MOBILE": rate})


async def test_no_limit_is_said_by_name_and_an_empty_variable_says_nothing():
    limits = open_limits(Settings.from_mapping({**REQUIRED, "RATE_MOBILE": "none"}))
    assert await limits.of_key("k", "mobile", 1) is None
    assert Settings.from_mapping({**REQUIRED, "RATE_MOBILE": ""}).rate_mobile == "300/minute"


async def test_a_gateway_with_a_dead_redis_answers(environment, inference):
    environment["CACHE_URL"] = DEAD_REDIS
    transport = httpx.ASGITransport(inference.app)
    async with (
        run_gateway(environment, transport) as running,
        running.client(running.keys["mobile"]) as phone,
    ):
        answers = await asyncio.gather(*(search(phone, make_photo(1)) for _ in range(2)))

    assert {one.status_code for one in answers} == {201}
    assert min(one.headers["ratelimit"] for one in answers).startswith('"default";r=2')
