"""Idempotency-Key: the same answer again, and nothing is made twice."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import func, select, update

from gateway_server.tables import Face, OneTime, Person, Search, now
from tests.gateway_server.conftest import (
    RETRIED_SOON,
    list_failures,
    run_gateway,
    search_in_vain,
    slug_of,
    until,
)
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.photos import make_photo
from tests.gateway_server.test_async_searches import Gate, die_instead_of_draining, ended

KEY = {"Idempotency-Key": "7d3f-first"}
REPLAYED = "idempotent-replayed"


async def ask(client: httpx.AsyncClient, seed: int = 1, headers=KEY, **options) -> httpx.Response:
    files = {"photo": ("p.jpg", make_photo(seed))}
    return await client.post("/v1/searches", files=files, data=options, headers=headers)


async def register(client: httpx.AsyncClient, *seeds: int, headers=KEY) -> httpx.Response:
    files = [("photos[]", ("p.jpg", make_photo(seed))) for seed in seeds or (1,)]
    return await client.post("/v1/persons", data={"name": "Ada"}, files=files, headers=headers)


async def count(running, what) -> int:
    async with running.gateway.queue._database.read() as session:
        return await session.scalar(select(func.count()).select_from(what)) or 0


def is_replay_of(again: httpx.Response, first: httpx.Response) -> bool:
    kept = ("location", "content-type", "retry-after", "preference-applied")
    assert REPLAYED not in first.headers
    return (
        again.headers[REPLAYED] == "true"
        and (again.status_code, again.content) == (first.status_code, first.content)
        and [again.headers.get(name) for name in kept] == [first.headers.get(name) for name in kept]
    )


async def test_a_search_that_is_sent_again_gets_the_same_answer(running, phone, inference):
    first = await ask(phone)
    again = await ask(phone)

    assert first.status_code == 201
    assert is_replay_of(again, first)
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert (await count(running, Search), inference.called("match")) == (1, 1)


async def test_without_a_key_each_is_another(running, phone):
    first, again = await ask(phone, headers={}), await ask(phone, headers={})

    assert REPLAYED not in again.headers
    assert first.json()["id"] != again.json()["id"]
    assert await count(running, Search) == 2


async def test_a_person_a_face_and_a_verdict_are_made_once(running, operator, inference):
    first = await register(operator, 1, 2)
    again = await register(operator, 1, 2)
    assert is_replay_of(again, first)
    faces = f"{first.headers['location']}/faces"
    file = {"photo": ("p.jpg", make_photo(3))}
    added = [await operator.post(faces, files=file, headers=KEY | {"Idempotency-Key": "2"})]
    added += [await operator.post(faces, files=file, headers=KEY | {"Idempotency-Key": "2"})]
    assert added[0].status_code == 201
    assert is_replay_of(added[1], added[0])
    made = await ask(operator, headers={})
    verdict = {"person_id": first.json()["id"], "verdict": "same"}
    address = f"{made.headers['location']}/feedback"
    judged = [
        await operator.post(address, json=verdict, headers={"Idempotency-Key": "3"})
        for _ in range(2)
    ]
    assert judged[0].status_code == 201
    assert is_replay_of(judged[1], judged[0]), "not 200, as without a key"
    assert (await count(running, Person), await count(running, Face)) == (1, 3)
    assert inference.called("enrol") == 3


async def test_a_retry_is_asked_for_once(phone, operator, inference):
    inference.fail("match", internal_error)
    failed = await search_in_vain(phone, operator, make_photo(1))
    addresses = (f"/v1/failures/{failed['id']}/retry", "/v1/failures/retry")

    for number, address in enumerate(addresses):
        key = {"Idempotency-Key": str(number)}
        first = await operator.post(address, headers=key)
        again = await operator.post(address, headers=key)
        assert first.status_code in {200, 202}
        assert is_replay_of(again, first)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"top_k": "4"},
        {"case_reference": "17"},
    ],
    ids=["photo", "option", "text"],
)
async def test_the_key_of_another_request_is_refused(running, phone, other):
    await ask(phone)

    answer = await ask(phone, **other)

    assert (answer.status_code, slug_of(answer)) == (422, "idempotency-key-reused")
    assert await count(running, Search) == 1


async def test_the_key_of_another_address_is_refused(operator):
    await register(operator, 1)

    answer = await ask(operator, 1)

    assert (answer.status_code, slug_of(answer)) == (422, "idempotency-key-reused")


async def test_while_the_first_is_under_way_the_second_is_told_to_wait(running, phone, inference):
    gate = Gate(inference)
    first = asyncio.ensure_future(ask(phone))
    await until(gate.has_somebody)

    second = await ask(phone)
    other = await ask(phone, 2)
    gate.open()

    assert (second.status_code, slug_of(second)) == (409, "idempotency-key-in-use")
    assert second.headers["retry-after"] == "1"
    assert (other.status_code, slug_of(other)) == (422, "idempotency-key-reused")
    answered = await first
    assert is_replay_of(await ask(phone), answered)
    assert await count(running, Search) == 1


async def test_many_that_come_at_once_make_one(running, phone):
    answers = await asyncio.gather(*(ask(phone) for _ in range(8)))

    assert {one.status_code for one in answers} <= {201, 409}
    assert len({one.json()["id"] for one in answers if one.status_code == 201}) == 1
    assert await count(running, Search) == 1


async def test_a_refusal_is_answered_again(running, phone, inference):
    inference.refuse(make_photo(1), "no-face")
    first = await ask(phone)
    inference.refusals.clear()

    again = await ask(phone)

    assert first.json()["type"] == "urn:reunite:problem:no-face"
    assert first.headers["content-type"] == "application/problem+json"
    assert is_replay_of(again, first)
    assert await count(running, Search) == 1


async def test_a_person_who_was_refused_is_refused_again(operator, inference):
    inference.refuse(make_photo(1), "no-face")
    first = await register(operator)

    again = await register(operator)

    assert first.status_code == 422
    assert is_replay_of(again, first)


async def test_what_was_accepted_for_later_is_accepted_again(running, phone, operator, inference):
    inference.fail("match", internal_error)

    first, again = await ask(phone), await ask(phone)

    assert first.status_code == 202
    assert is_replay_of(again, first)
    assert await count(running, Search) == 1
    (failure,) = await list_failures(operator)
    assert failure["attempts"] == 1


async def test_an_outage_is_no_answer_to_be_kept(running, phone, photo_dir):
    aside = photo_dir.with_name("aside")
    away = photo_dir / "nowhere"
    store = running.gateway.search_desk._searches._archive._store
    photo_dir.rename(aside)
    (photo_dir / "arriving").mkdir(parents=True)
    store._folder = away
    outage = await ask(phone)
    store._folder = photo_dir
    answer = await ask(phone)

    assert (outage.status_code, slug_of(outage)) == (503, "photo-store-unavailable")
    assert answer.status_code == 201
    assert REPLAYED not in answer.headers
    assert await count(running, Search) == 1


@pytest.mark.parametrize("ends", [KeyError, asyncio.CancelledError])
async def test_a_request_that_ends_without_an_answer_gives_its_key_back(
    running, phone, monkeypatch, ends
):
    """A defect, or a client that has gone."""

    async def stumble(*_args: object, **_kwargs: object) -> None:
        raise ends

    with monkeypatch.context() as broken, suppress(ends):
        broken.setattr(running.gateway.search_desk, "hand_in", stumble)
        await ask(phone)
    answer = await ask(phone)

    assert answer.status_code == 201, answer.text
    assert REPLAYED not in answer.headers


async def test_an_answer_is_kept_as_long_as_was_said(environment, inference):
    environment["IDEMPOTENCY_KEPT_MOBILE_S"] = "0"
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["mobile"]) as phone,
    ):
        first, again = await ask(phone), await ask(phone, 2)

        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json()["id"] != again.json()["id"]
        assert REPLAYED not in again.headers
        assert await running.gateway.one_time.forget_old() == 1
        assert await count(running, OneTime) == 0


async def test_keys_of_two_callers_do_not_meet(running, phone, operator):
    mine, theirs = await ask(phone), await ask(operator, 2)

    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["id"] != theirs.json()["id"]
    assert is_replay_of(await ask(phone), mine)
    assert is_replay_of(await ask(operator, 2), theirs)
    assert await count(running, Search) == 2


@pytest.mark.parametrize(
    "key", [b"", b"k" * 256, b"two words", b"schl\xc3\xbcssel", b"tab\tbed"], ids=repr
)
async def test_a_key_that_is_none_is_refused(running, phone, key):
    answer = await ask(phone, headers={b"Idempotency-Key": key})

    assert (answer.status_code, slug_of(answer)) == (422, "invalid-idempotency-key")
    assert (await count(running, Search), await count(running, OneTime)) == (0, 0)


@pytest.mark.parametrize("key", ["k", "k" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "~!@"])
async def test_a_key_is_any_word_of_ascii(phone, key):
    assert (await ask(phone, headers={"Idempotency-Key": key})).status_code == 201


async def test_nothing_that_a_request_said_is_kept_but_its_fingerprint(running, operator):
    await register(operator)

    async with running.gateway.queue._database.read() as session:
        row = (await session.scalars(select(OneTime))).one()
    assert len(row.fingerprint) == 64
    assert (row.holder, row.leased_until) == (None, None)


async def crash_during(running, request, gate: Gate) -> None:
    """The process dies while the request is under way; its leases run out."""
    phone = asyncio.ensure_future(request)
    await until(gate.has_somebody)
    die_instead_of_draining(running.gateway)
    phone.cancel()
    with suppress(asyncio.CancelledError):
        await phone
    async with running.gateway.queue._database.write() as session:
        await session.execute(update(OneTime).values(leased_until=now() - timedelta(seconds=1)))


@RETRIED_SOON
async def test_a_search_that_a_crash_broke_off_is_taken_up_and_not_made_twice(
    environment, inference
):
    gate = Gate(inference)
    environment["JOB_LEASE_S"] = "0.2"
    transport = httpx.ASGITransport(inference.app)
    async with run_gateway(environment, transport) as first:
        key = first.keys["mobile"]
        async with first.client(key) as phone:
            await crash_during(first, ask(phone), gate)
    gate.open()

    async with run_gateway(environment, transport) as second, second.client(key) as phone:
        answer = await ask(phone)
        found = await until(ended(phone, answer.headers["location"]))
        again = await ask(phone)
        searches = await count(second, Search)

    assert answer.status_code in {201, 202}
    assert found["status"] == "done"
    assert is_replay_of(again, answer)
    assert searches == 1


@RETRIED_SOON
async def test_a_person_whom_a_crash_broke_off_is_taken_up_and_not_made_twice(
    environment, inference
):
    gate = Gate(inference, "enrol")
    environment["JOB_LEASE_S"] = "0.2"
    transport = httpx.ASGITransport(inference.app)
    async with run_gateway(environment, transport) as first:
        key = first.keys["operator"]
        async with first.client(key) as operator:
            await crash_during(first, register(operator, 1, 2), gate)
    gate.open()

    async with run_gateway(environment, transport) as second, second.client(key) as operator:
        answer = await register(operator, 1, 2)
        person_id = answer.json()["id"]

        async def are_enrolled():
            person = (await operator.get(f"/v1/persons/{person_id}")).json()
            return [face["status"] for face in person["faces"]] == ["enrolled"] * 2

        await until(are_enrolled)
        again = await register(operator, 1, 2)
        made = (await count(second, Person), await count(second, Face))

    assert answer.status_code in {201, 202}
    assert is_replay_of(again, answer)
    assert made == (1, 2)
    assert {person: len(faces) for person, faces in inference.gallery.items()} == {person_id: 2}


@RETRIED_SOON
async def test_a_face_that_a_crash_broke_off_is_taken_up_and_not_made_twice(environment, inference):
    environment["JOB_LEASE_S"] = "0.2"
    transport = httpx.ASGITransport(inference.app)

    async def add(operator, person_id):
        file = {"photo": ("p.jpg", make_photo(2))}
        address = f"/v1/persons/{person_id}/faces"
        return await operator.post(address, files=file, headers={"Idempotency-Key": "face"})

    async with run_gateway(environment, transport) as first:
        key = first.keys["operator"]
        async with first.client(key) as operator:
            person_id = (await register(operator, 1)).json()["id"]
            gate = Gate(inference, "enrol")
            await crash_during(first, add(operator, person_id), gate)
    gate.open()

    async with run_gateway(environment, transport) as second, second.client(key) as operator:
        answer = await add(operator, person_id)

        async def are_enrolled():
            return len(inference.gallery[person_id]) == 2

        await until(are_enrolled)
        again = await add(operator, person_id)
        faces = await count(second, Face)

    assert answer.status_code in {201, 202}
    assert is_replay_of(again, answer)
    assert faces == 2
    assert answer.json()["face_id"] in inference.gallery[person_id]
