"""A search whose answer the cache holds: the same guarantees, in one transaction."""

import asyncio
import secrets
from contextlib import asynccontextmanager

import httpx
import pytest
from sqlalchemy import func, select

from gateway_server import search_service
from gateway_server.audit_chain import verify
from gateway_server.database import Database
from gateway_server.journal import current_request_id
from gateway_server.tables import Audit, Job, OneTime, Photo, Search
from tests.gateway_server.conftest import run_gateway, search, until
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.photos import make_photo
from tests.gateway_server.test_one_time import REPLAYED, ask, count

SAME = {"Idempotency-Key": "the-same"}


@pytest.fixture
async def known(phone) -> dict:
    """What the first search for the photo was answered; the cache holds it now."""
    answer = await search(phone, make_photo(1))
    assert (answer.status_code, answer.json()["cached"]) == (201, False)
    return answer.json()


@pytest.fixture
def transactions(running, monkeypatch) -> list[str]:
    """From now on, for whom each transaction that writes is begun: a request's id."""
    begun: list[str] = []
    write = Database.write

    @asynccontextmanager
    async def counted(database):
        begun.append(current_request_id())
        async with write(database) as session:
            yield session

    monkeypatch.setattr(Database, "write", counted)
    return begun


async def value(running, wanted):
    async with running.gateway.queue._database.read() as session:
        return await session.scalar(wanted)


async def test_all_of_it_is_one_transaction_and_no_job(running, phone, known, transactions):
    answer = await ask(phone, headers=SAME)

    assert transactions.count(answer.headers["x-request-id"]) == 1
    assert (answer.status_code, answer.json()["cached"]) == (201, True)
    search_id = answer.json()["id"]
    assert answer.headers["location"] == f"/v1/searches/{search_id}"
    assert await count(running, Job) == 0
    row = await value(running, select(Search).where(Search.id == search_id))
    assert (row.status, row.cached, row.request_id) == ("done", True, answer.json()["request_id"])
    assert row.finished_at is not None
    kept = await value(running, select(OneTime))
    assert (kept.subject_id, kept.body, kept.status) == (search_id, answer.text, 201)


async def test_it_says_the_same_as_the_long_way(phone, operator, enrol):
    await enrol("Ada")
    first = (await search(phone, make_photo(1), case_reference="17", purpose="a case")).json()
    answer = await search(phone, make_photo(1), case_reference="17", purpose="a case")

    again = answer.json()
    assert again["candidates"][0]["name"] == "Ada"
    its_own = ("id", "cached", "request_id", "created_at", "timings_ms")
    assert {name: first[name] for name in first if name not in its_own} == {
        name: again[name] for name in again if name not in its_own
    }
    assert set(again["timings_ms"]) == {"total"}
    assert (await phone.get(answer.headers["location"])).json() == again


async def test_the_access_has_its_row_in_the_chain(running, phone, known):
    answer = await search(phone, make_photo(1), purpose="a case")

    rows = select(Audit).where(Audit.search_id == answer.json()["id"])
    row = await value(running, rows)
    assert (row.action, row.outcome, row.purpose) == ("search", "allowed", "a case")
    assert row.request_id == answer.headers["x-request-id"]
    assert row.photo_sha256 == await value(running, select(Photo.sha256))
    assert await value(running, select(func.count()).select_from(rows.subquery())) == 1
    assert (await verify(running.gateway.queue._database)).fault is None


async def test_a_repeated_request_gets_the_answer_that_was_kept(running, phone, known):
    first = await ask(phone, headers=SAME)
    again = await ask(phone, headers=SAME)

    assert first.json()["cached"]
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers[REPLAYED] == "true"
    assert await count(running, Search) == 2


async def test_the_key_of_another_request_is_refused(running, phone, known):
    await ask(phone, 2, headers=SAME)

    answer = await ask(phone, 1, headers=SAME)

    assert answer.json()["type"] == "urn:reunite:problem:idempotency-key-reused"
    assert await count(running, Search) == 2


async def test_many_that_come_at_once_with_one_key_make_one(running, phone, known):
    answers = await asyncio.gather(*(ask(phone, headers=SAME) for _ in range(8)))

    assert {one.status_code for one in answers} <= {201, 409}
    assert len({one.json()["id"] for one in answers if one.status_code == 201}) == 1
    assert await count(running, Search) == 2


async def test_many_that_come_at_once_with_keys_of_their_own_are_all_answered(
    running, phone, known
):
    keys = [{"Idempotency-Key": f"key-{number}"} for number in range(20)]

    answers = await asyncio.gather(*(ask(phone, headers=key) for key in keys))

    assert [one.status_code for one in answers] == [201] * 20
    assert all(one.json()["cached"] for one in answers)
    assert len({one.json()["id"] for one in answers}) == 20
    assert await count(running, Search) == 21
    found = await verify(running.gateway.queue._database)
    assert found.fault is None


async def test_whoever_is_found_is_in_no_cached_answer(phone, operator, enrol, inference):
    person = await enrol("Ada")
    assert (await search(phone, make_photo(1))).json()["candidates"]
    inference.fail("delete_face", internal_error)  # so that it has not heard of it yet
    await operator.patch(f"/v1/persons/{person['id']}", json={"status": "found"})

    answer = (await search(phone, make_photo(1))).json()

    assert (answer["cached"], answer["candidates"]) == (True, [])


@pytest.mark.parametrize("seed", [1, 2], ids=["cached", "asked"])
async def test_whoever_is_deleted_is_in_no_answer_from_then_on(
    phone, operator, enrol, inference, seed
):
    person = await enrol("Ada")
    await search(phone, make_photo(1))
    inference.fail("delete", internal_error)
    begun = await operator.delete(f"/v1/persons/{person['id']}")
    assert begun.json()["status"] == "deleting"

    answer = (await search(phone, make_photo(seed))).json()

    assert (answer["cached"], answer["candidates"]) == (seed == 1, [])


async def test_a_gallery_that_has_changed_meanwhile_is_asked_anew(phone, enrol, inference, known):
    """Through another gateway: this one has not seen the version since."""
    inference.version += 1

    answer = (await search(phone, make_photo(1))).json()

    assert (answer["cached"], inference.called("match")) == (False, 2)


async def test_a_photo_whose_file_is_lost_is_stored_again(phone, known, photo_dir):
    (file,) = photo_dir.glob("??/??/*.jpg")
    content = file.read_bytes()
    file.unlink()

    answer = await search(phone, make_photo(1))

    assert (answer.status_code, answer.json()["cached"]) == (201, True)
    assert file.read_bytes() == content


async def test_a_photo_whose_row_is_gone_is_stored_again(running, phone, known, photo_dir):
    """Its searches have expired, while the cache still holds the answer."""
    async with running.gateway.queue._database.write() as session:
        await session.delete(await session.get_one(Search, known["id"]))
    assert await running.gateway.retention._archive.forget([await _only_photo(running)]) == 1

    answer = await search(phone, make_photo(1))

    assert (answer.status_code, answer.json()["cached"]) == (201, True)
    assert len(list(photo_dir.glob("??/??/*.jpg"))) == 1


async def _only_photo(running) -> str:
    sha256 = await value(running, select(Photo.sha256))
    assert isinstance(sha256, str)
    return sha256


async def test_while_the_gallery_cannot_be_asked_nothing_is_answered_from_the_cache(
    phone, known, inference
):
    inference.fail("*", internal_error)

    answer = await search(phone, make_photo(1))

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


async def test_a_silent_inference_tier_does_not_keep_the_photo_from_being_stored(
    running, phone, known, inference, monkeypatch
):
    monkeypatch.setattr(search_service, "KNOWN_WITHIN_S", 0.01)
    answering = asyncio.Event()

    async def stay_silent(_operation):
        await answering.wait()

    inference.before_answer = stay_silent
    asked = asyncio.ensure_future(search(phone, make_photo(1)))
    searches = select(func.count()).select_from(Search)

    async def is_stored():
        return await value(running, searches) == 2

    await until(is_stored)
    assert not asked.done()
    answering.set()
    assert (await asked).status_code == 201


async def test_where_the_lead_is_gone_there_is_no_lead(phone, operator, enrol, inference):
    person = await enrol("Ada", make_photo(1))
    first = (await search(phone, make_photo(1))).json()
    assert first["verdict"] == "lead"
    inference.fail("delete_face", internal_error)  # so that it has not heard of it yet
    await operator.patch(f"/v1/persons/{person['id']}", json={"status": "found"})

    again = (await search(phone, make_photo(1))).json()

    assert (again["candidates"], again["verdict"]) == ([], "no_credible_lead")


async def test_whoever_does_not_want_to_wait_is_not_made_to(phone, known):
    answer = await ask(phone, headers={"Prefer": "respond-async"})

    assert answer.status_code in {201, 202}
    assert answer.headers["preference-applied"] == "respond-async"


async def test_a_hit_is_counted_once(phone, known):
    await search(phone, make_photo(1))

    told = (await phone.get("/metrics")).text
    assert 'gateway_cache_total{outcome="hit"} 1.0' in told
    assert 'gateway_cache_total{outcome="miss"} 1.0' in told
    assert 'gateway_searches_total{outcome="cached"} 1.0' in told


async def test_those_who_ask_at_once_share_one_look_at_the_gallery(phone, known, inference):
    asked_before = inference.called("gallery")
    waiting = asyncio.Event()

    async def hold(operation: str) -> None:
        if operation == "gallery":
            await waiting.wait()

    inference.before_answer = hold
    searches = [asyncio.create_task(search(phone, make_photo(1))) for _ in range(12)]

    async def is_asked():
        return inference.called("gallery") > asked_before

    await until(is_asked)
    await asyncio.sleep(0.3)  # the others come meanwhile
    waiting.set()
    answers = await asyncio.gather(*searches)

    assert [one.json()["cached"] for one in answers] == [True] * 12
    assert inference.called("gallery") - asked_before < 12


async def test_two_gateways_answer_one_key_once(environment, inference, redis_url):
    environment["CACHE_URL"] = redis_url
    inference.version = secrets.randbits(62)  # nothing of an earlier run counts
    transport = httpx.ASGITransport(inference.app)
    async with (
        run_gateway(environment, transport) as one,
        run_gateway(environment, transport) as other,
    ):
        key = one.keys["mobile"]
        async with one.client(key) as here, other.client(key) as there:
            for client in (here, there):
                await search(client, make_photo(1))
            answers = await asyncio.gather(
                *(ask(client, headers=SAME) for client in (here, there) * 4)
            )
            searches = await count(one, Search)

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({a.json()["id"] for a in answers if a.status_code == 201}) == 1
    assert searches == 3
