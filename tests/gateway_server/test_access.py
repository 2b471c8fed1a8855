"""Who may do what: every route against every role, and the life of a key."""

import hashlib
import re

import pytest
from sqlalchemy import select

from gateway_server.auth import ROLES, Keyring
from gateway_server.database import Database
from gateway_server.problems import Unauthorized
from gateway_server.tables import ApiKey
from tests.gateway_server.conftest import ONE_ENGINE, Running, search, slug_of
from tests.gateway_server.photos import make_photo

EVERYONE, OPERATORS, ANYBODY = set(ROLES), {"operator", "admin"}, set(ROLES) | {None}
ROUTES = {
    "POST /v1/searches": EVERYONE,
    "GET /v1/searches": OPERATORS,
    "GET /v1/searches/{search_id}": EVERYONE,
    "GET /v1/searches/{search_id}/events": EVERYONE,
    "GET /v1/searches/{search_id}/photo": EVERYONE,
    "GET /v1/searches/{search_id}/heatmap": EVERYONE,
    "GET /v1/searches/{search_id}/candidates/{person_id}/photo": EVERYONE,
    "GET /v1/searches/{search_id}/candidates/{person_id}/heatmap": EVERYONE,
    "POST /v1/searches/{search_id}/feedback": EVERYONE,
    "GET /v1/searches/{search_id}/report": OPERATORS,
    "POST /v1/persons": OPERATORS,
    "GET /v1/persons": OPERATORS,
    "GET /v1/persons/{person_id}": OPERATORS,
    "PATCH /v1/persons/{person_id}": OPERATORS,
    "DELETE /v1/persons/{person_id}": OPERATORS,
    "POST /v1/persons/{person_id}/merge": OPERATORS,
    "POST /v1/persons/{person_id}/faces": OPERATORS,
    "GET /v1/persons/{person_id}/faces/{face_id}/photo": OPERATORS,
    "POST /v1/photos/check": OPERATORS,
    "DELETE /v1/persons/{person_id}/faces/{face_id}": OPERATORS,
    "GET /v1/leads": OPERATORS,
    "GET /v1/failures": OPERATORS,
    "POST /v1/failures/retry": OPERATORS,
    "POST /v1/failures/{failure_id}/retry": OPERATORS,
    "GET /v1/removals/{removal_id}": OPERATORS,
    "GET /healthz": ANYBODY,
    "GET /readyz": ANYBODY,
    "GET /metrics": ANYBODY,
    "GET /docs": ANYBODY,
    "GET /docs/start.js": ANYBODY,
    "GET /docs/swagger-ui-bundle.js": ANYBODY,
    "GET /docs/swagger-ui.css": ANYBODY,
    "GET /openapi.json": ANYBODY,
    "GET /v1/keys": {"admin"},
    "POST /v1/keys": {"admin"},
    "POST /v1/keys/{key_id}/rotate": {"admin"},
    "DELETE /v1/keys/{key_id}": {"admin"},
    "GET /v1/audit": {"admin"},
    "POST /v1/imports": OPERATORS,
    "GET /v1/imports": OPERATORS,
    "GET /v1/imports/{import_id}": OPERATORS,
    "GET /v1/imports/{import_id}/rows": OPERATORS,
}
NOBODY = "00000000-0000-4000-8000-000000000000"


async def test_the_table_names_every_documented_route(running: Running):
    documented = {
        f"{method.upper()} {path}"
        for path, methods in running.app.openapi()["paths"].items()
        for method in methods
    }

    assert documented == {
        route for route in ROUTES if not route.startswith(("GET /docs", "GET /openapi.json"))
    }


@ONE_ENGINE
@pytest.mark.parametrize("route", ROUTES)
async def test_a_route_lets_in_the_roles_that_it_is_for(running: Running, route: str):
    method, path = route.split()
    address = re.sub(r"{\w+}", NOBODY, path)
    let_in = set()
    for role in (*ROLES, None):
        async with running.client(running.keys.get(role)) as client:
            answer = await client.request(method, address)
        if answer.status_code in {401, 403}:
            assert slug_of(answer) == ("forbidden" if role else "unauthorized")
        else:
            let_in.add(role)

    assert let_in == ROUTES[route]


async def test_a_refused_caller_is_told_how_to_come_in(running: Running):
    async with running.client(None) as nobody:
        answer = await search(nobody, make_photo(1))

    assert answer.headers["www-authenticate"] == 'Bearer realm="reunite"'


async def test_a_phone_reads_no_private_field_of_a_person(phone, enrol):
    await enrol("Ada", make_photo(1), notes="secret", reference="2024/17", birth_date="1815-12-10")

    found = await search(phone, make_photo(1))

    assert "Ada" in found.text
    assert not any(private in found.text for private in ("secret", "2024/17", "1815-12-10"))


async def test_a_key_lets_in_until_it_is_revoked(database: Database):
    keyring = Keyring(database)
    key = await keyring.create("desk 1", "operator")
    caller = await keyring.identify(key)

    assert (caller.role, key.split("_")[1]) == ("operator", caller.key_id)
    assert await keyring.revoke(caller.key_id)
    assert not await keyring.revoke(caller.key_id)
    with pytest.raises(Unauthorized):
        await keyring.identify(key)


async def test_a_key_is_256_random_bits_of_which_the_sha256_is_stored(database: Database):
    key = await Keyring(database).create("desk 1", "operator")
    prefix, key_id, secret = key.split("_", 2)

    async with database.read() as session:
        (row,) = (await session.scalars(select(ApiKey))).all()

    assert prefix == "rk"
    assert len(secret) == 43  # 256 bits in base64
    assert row.id == key_id
    assert row.secret_sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in str(vars(row))


async def test_every_wrong_key_is_refused_in_the_same_words(database: Database):
    keyring = Keyring(database)
    key = await keyring.create("desk 1", "operator")
    _, key_id, secret = key.split("_", 2)
    wrong = [
        f"rk_{key_id}_",
        f"rk_{key_id}_{secret[:-1]}",
        f"rk_{key_id}_{secret}x",
        f"rk_{'0' * 12}_{secret}",
        f"rk_{key_id.upper()}Z_{secret}",
        f"rk_\0_{secret}",
        f"xx_{key_id}_{secret}",
        "ключ",
        "_",
    ]

    said = set()
    for one in wrong:
        with pytest.raises(Unauthorized) as refused:
            await keyring.identify(one)
        said.add(refused.value.detail)

    assert said == {"The API key is not valid"}


@ONE_ENGINE
@pytest.mark.parametrize("route", [one for one in ROUTES if one.startswith(("POST", "PATCH"))])
async def test_a_body_is_not_read_for_a_caller_who_is_not_let_in(running: Running, route: str):
    read = []

    async def body():
        read.append("asked")
        yield b"x"

    method, path = route.split()
    async with running.client(None) as nobody:
        answer = await nobody.request(method, re.sub(r"{\w+}", NOBODY, path), content=body())

    assert (answer.status_code, read) == (401, [])
