"""The life of a key, at the routes and on the command line: made, rotated, expired, revoked."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select, update

from gateway_server.auth import Keyring, status_of
from gateway_server.cli import main
from gateway_server.database import Database
from gateway_server.problems import KeyEnded, KeyNotFound, LastAdminKey, Unauthorized
from gateway_server.settings import Settings
from gateway_server.tables import ApiKey, Audit, OneTime, now
from tests.gateway_server.conftest import ONE_ENGINE, Running, search, slug_of
from tests.gateway_server.photos import make_photo

NO_KEY = "0" * 12


@pytest.fixture
async def admin(running: Running):
    async with running.client(running.keys["admin"]) as client:
        yield client


async def make(admin: httpx.AsyncClient, **said) -> httpx.Response:
    return await admin.post("/v1/keys", json={"name": "desk 1", "role": "operator", **said})


def id_of(key: str) -> str:
    return key.split("_")[1]


async def lets_in(running: Running, key: str) -> bool:
    async with running.client(key) as client:
        answer = await client.get(f"/v1/searches/{'0' * 8}-0000-4000-8000-{'0' * 12}")
    assert answer.status_code in {401, 404}
    return answer.status_code == 404


async def test_a_key_is_made_shown_once_listed_and_revoked(running, admin):
    made = await make(admin, expires_days=30)
    key = made.json()["key"]
    listed = (await admin.get("/v1/keys")).json()["keys"]
    revoked = await admin.delete(f"/v1/keys/{id_of(key)}")

    assert (made.status_code, made.headers["location"]) == (201, f"/v1/keys/{id_of(key)}")
    assert (made.json()["role"], made.json()["status"]) == ("operator", "valid")
    assert made.json()["expires_at"]
    assert key not in str(listed)
    assert id_of(key) in {one["id"] for one in listed}
    assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
    assert not await lets_in(running, key)
    assert slug_of(await admin.delete(f"/v1/keys/{id_of(key)}")) == "key-not-found"


@pytest.mark.parametrize(
    ("said", "slug"),
    [
        ({"role": "root"}, "invalid-body"),
        ({"name": " "}, "invalid-name"),
        ({"name": "x" * 201}, "field-too-long"),
        ({"expires_days": 0}, "invalid-body"),
        ({"expires_days": 4000}, "invalid-body"),
        ({"expires_days": "7"}, "invalid-body"),
        ({"secret": "mine"}, "invalid-body"),
    ],
)
@ONE_ENGINE
async def test_a_key_that_cannot_be_is_refused(admin, said, slug):
    assert slug_of(await make(admin, **said)) == slug


async def test_a_rotated_key_keeps_its_searches_and_loses_its_secret(running, admin):
    old = (await make(admin, role="mobile")).json()["key"]
    async with running.client(old) as phone:
        found = await search(phone, make_photo(1))

    rotated = await admin.post(f"/v1/keys/{id_of(old)}/rotate", json={})
    new = rotated.json()["key"]

    assert id_of(new) == id_of(old)
    assert new != old
    assert not await lets_in(running, old)
    async with running.client(new) as phone:
        assert (await phone.get(found.headers["location"])).status_code == 200


async def test_the_secret_before_is_good_for_the_grace_that_was_given(running, admin, database):
    old = (await make(admin)).json()["key"]
    rotated = await admin.post(f"/v1/keys/{id_of(old)}/rotate", json={"grace_s": 60})

    assert rotated.json()["previous_until"]
    assert await lets_in(running, old)
    assert await lets_in(running, rotated.json()["key"])

    async with database.write() as session:
        await session.execute(update(ApiKey).values(previous_until=now() - timedelta(seconds=1)))
    assert not await lets_in(running, old)
    assert await lets_in(running, rotated.json()["key"])


async def test_a_second_rotation_ends_the_first_secret_at_once(database: Database):
    keyring = Keyring(database)
    first = await keyring.create("desk 1", "operator")
    second = await keyring.rotate(id_of(first), grace_s=60)
    third = await keyring.rotate(id_of(first), grace_s=60)

    with pytest.raises(Unauthorized):
        await keyring.identify(first)
    for good in (second, third):
        assert (await keyring.identify(good)).key_id == id_of(first)


async def test_an_expired_key_opens_nothing_and_cannot_be_rotated(database: Database):
    keyring = Keyring(database)
    key = await keyring.create("phone", "mobile", expires_days=1)
    assert await keyring.identify(key)
    async with database.write() as session:
        await session.execute(update(ApiKey).values(expires_at=now()))

    with pytest.raises(Unauthorized, match="The API key is not valid"):
        await keyring.identify(key)
    assert status_of(await keyring.get(id_of(key))) == "expired"
    with pytest.raises(KeyEnded):
        await keyring.rotate(id_of(key))
    with pytest.raises(KeyNotFound):
        await keyring.rotate(NO_KEY)


async def test_a_rotation_may_give_a_key_longer_to_live(database: Database):
    keyring = Keyring(database)
    key = await keyring.create("phone", "mobile", expires_days=1)
    soon = (await keyring.get(id_of(key))).expires_at

    await keyring.rotate(id_of(key))
    assert (await keyring.get(id_of(key))).expires_at == soon
    await keyring.rotate(id_of(key), expires_days=9)
    assert (await keyring.get(id_of(key))).expires_at > soon


@pytest.mark.parametrize("path", ["", "/{id}/rotate"])
async def test_a_secret_is_kept_nowhere_and_its_repetition_is_refused(admin, database, path):
    other = (await make(admin)).json()["id"]
    address = "/v1/keys" + path.replace("{id}", other)
    said = {} if path else {"name": "desk 2", "role": "mobile"}
    keyed = {"Idempotency-Key": "once"}

    first = await admin.post(address, json=said, headers=keyed)
    again = await admin.post(address, json=said, headers=keyed)

    assert first.status_code in {200, 201}
    assert (again.status_code, slug_of(again)) == (409, "secret-shown-before")
    assert again.json()["location"] == f"/v1/keys/{first.json()['id']}"
    secret = first.json()["key"].split("_", 2)[2]
    async with database.read() as session:
        for table in (OneTime, ApiKey, Audit):
            rows = (await session.scalars(select(table))).all()
            assert rows
            assert not any(secret in str(vars(row)) for row in rows)


async def test_a_key_whose_answer_was_lost_in_a_crash_is_not_made_twice(database: Database):
    keyring = Keyring(database)

    lost = await keyring.create("desk 1", "operator", key_id="ab" * 6)
    again = await keyring.create("desk 1", "operator", key_id="ab" * 6)

    assert len(await keyring.list()) == 1
    assert (await keyring.identify(again)).key_id == "ab" * 6
    with pytest.raises(Unauthorized):
        await keyring.identify(lost)


async def test_the_last_admin_cannot_lock_everybody_out(running, admin):
    own = id_of(running.keys["admin"])

    refused = await admin.delete(f"/v1/keys/{own}")
    other = (await make(admin, role="admin")).json()["key"]
    allowed = await admin.delete(f"/v1/keys/{own}")

    assert (refused.status_code, slug_of(refused)) == (409, "last-admin-key")
    assert allowed.status_code == 200
    assert await lets_in(running, other)


async def test_of_two_admins_who_revoke_each_other_one_is_left(database: Database):
    keyring = Keyring(database)
    ids = [id_of(await keyring.create(name, "admin")) for name in ("one", "two")]

    ended = await asyncio.gather(
        *(keyring.revoke(one, spare_last_admin=True) for one in ids), return_exceptions=True
    )

    assert {type(one) for one in ended} == {bool, LastAdminKey}
    assert [status_of(key) for key in await keyring.list()].count("valid") == 1


async def test_an_admin_whose_key_has_expired_is_no_admin_that_is_left(database: Database):
    keyring = Keyring(database)
    gone = id_of(await keyring.create("one", "admin", expires_days=1))
    left = id_of(await keyring.create("two", "admin"))
    async with database.write() as session:
        await session.execute(update(ApiKey).where(ApiKey.id == gone).values(expires_at=now()))

    with pytest.raises(LastAdminKey):
        await keyring.revoke(left, spare_last_admin=True)


async def test_the_use_of_a_key_is_noted_once_a_minute(database: Database):
    keyring = Keyring(database)
    key = await keyring.create("phone", "mobile")
    assert (await keyring.get(id_of(key))).last_used_at is None

    await asyncio.gather(*(keyring.identify(key) for _ in range(5)))
    noted = (await keyring.get(id_of(key))).last_used_at
    await keyring.identify(key)
    await Keyring(database).identify(key)  # another gateway

    assert noted is not None
    assert (await keyring.get(id_of(key))).last_used_at == noted


async def test_keys_are_listed_page_by_page(admin, running):
    await make(admin)

    first = (await admin.get("/v1/keys", params={"limit": 3})).json()
    rest = (await admin.get("/v1/keys", params={"limit": 3, "cursor": first["next_cursor"]})).json()

    ids = [one["id"] for page in (first, rest) for one in page["keys"]]
    assert len(ids) == len(set(ids)) == 4
    assert rest["next_cursor"] is None


@pytest.fixture
def named_environment(monkeypatch, tmp_path):
    for row in Settings.rows():
        monkeypatch.delenv(row.name, raising=False)
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/gateway.db")


@pytest.mark.usefixtures("named_environment")
def test_the_command_line_rotates_and_lets_keys_expire(capsys):
    created = ["keys", "create", "--role", "mobile", "--name", "phone", "--expires-days", "7"]
    assert main(created) == 0
    old = capsys.readouterr().out.strip()
    assert main(["keys", "rotate", id_of(old)]) == 0
    new = capsys.readouterr().out.strip()
    assert (id_of(new), new == old) == (id_of(old), False)

    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(word in listed for word in ("valid", "until", "never used"))
    assert main(["keys", "rotate", NO_KEY]) == 1
    assert "No key has the id" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--expires-days", "0"], ["--grace-s", "999999999"]])
@pytest.mark.usefixtures("named_environment")
def test_a_life_that_cannot_be_is_refused_on_the_command_line(words, capsys):
    with pytest.raises(SystemExit):
        main(["keys", "rotate", NO_KEY, *words])
    assert "is not a number from" in capsys.readouterr().err
