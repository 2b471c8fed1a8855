"""What a killed process has left half done is found, recorded and made good; living work is not."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import update

from gateway_server.database import Database
from gateway_server.failures import FailureLedger
from gateway_server.leftovers import Leftovers
from gateway_server.settings import Settings
from gateway_server.tables import Face, Failure, Search, now
from tests.gateway_server.conftest import run_gateway, search
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.photos import make_photo

OLD = timedelta(days=1)
YOUNG = timedelta(0)


@pytest.fixture
def leftovers(database: Database, environment: dict[str, str]) -> Leftovers:
    age_s = Settings.from_mapping(environment).abandoned_after_s
    return Leftovers(database, FailureLedger(database), age_s)


async def leave_running(database: Database, search_id: str, age: timedelta) -> None:
    """As a process does that is killed during this search."""
    began = now() - age
    async with database.write() as session:
        wanted = update(Search).where(Search.id == search_id)
        await session.execute(
            wanted.values(status="running", created_at=began, finished_at=None, answer=None)
        )


async def leave_pending(database: Database, age: timedelta) -> None:
    async with database.write() as session:
        await session.execute(update(Face).values(status="pending", created_at=now() - age))


async def list_open(operator: httpx.AsyncClient) -> list[dict[str, object]]:
    answer = await operator.get("/v1/failures", params={"open": True})
    failures: list[dict[str, object]] = answer.json()["failures"]
    return failures


async def test_an_interrupted_search_fails_at_the_next_start_and_can_be_retried(
    environment, inference, database
):
    transport = httpx.ASGITransport(inference.app)
    async with run_gateway(environment, transport) as first:
        phone_key = first.keys["mobile"]
        async with first.client(phone_key) as phone:
            found = (await search(phone, make_photo(1))).json()
    await leave_running(database, found["id"], OLD)

    async with (
        run_gateway(environment, transport) as second,
        second.client(phone_key) as phone,
        second.client(second.keys["operator"]) as operator,
    ):
        kept = (await phone.get(f"/v1/searches/{found['id']}")).json()
        (failure,) = await list_open(operator)
        retried = await operator.post(f"/v1/failures/{failure['id']}/retry")
        done = (await phone.get(f"/v1/searches/{found['id']}")).json()

    assert (kept["status"], failure["reason"]) == ("failed", "interrupted")
    assert (failure["kind"], failure["search_id"]) == ("search", found["id"])
    assert (retried.json()["outcome"], done["status"]) == ("done", "done")
    assert "problem" not in done


async def test_an_interrupted_enrolment_can_be_retried(database, leftovers, operator, enrol):
    person = await enrol("Ada", make_photo(1))
    await leave_pending(database, OLD)

    await leftovers.adopt()

    (failure,) = await list_open(operator)
    assert (failure["kind"], failure["reason"]) == ("enrolment", "interrupted")
    assert failure["face_id"] == person["faces"][0]["face_id"]
    answer = await operator.post(f"/v1/failures/{failure['id']}/retry")
    assert answer.json()["outcome"] == "enrolled"


async def test_young_work_is_left_to_whoever_does_it(database, leftovers, phone, operator, enrol):
    await enrol("Ada", make_photo(1))
    found = (await search(phone, make_photo(1))).json()
    await leave_running(database, found["id"], YOUNG)
    await leave_pending(database, YOUNG)

    await leftovers.adopt()

    assert await list_open(operator) == []
    assert (await phone.get(f"/v1/searches/{found['id']}")).json()["status"] == "running"


async def test_the_retry_of_an_old_search_is_young_work(
    database, leftovers, phone, operator, inference
):
    inference.fail("match", internal_error)
    failed = (await search(phone, make_photo(1))).json()
    inference.recover()
    async with database.write() as session:
        await session.execute(update(Search).values(created_at=now() - OLD))
        await session.execute(update(Failure).values(last_attempt_at=now() - OLD))
    during: list[str] = []

    async def adopt_meanwhile(operation):
        if operation == "match":
            await leftovers.adopt()
            kept = (await phone.get(f"/v1/searches/{failed['search_id']}")).json()
            during.append(kept["status"])

    inference.before_answer = adopt_meanwhile
    await operator.post(f"/v1/failures/{failed['failure_id']}/retry")

    assert during == ["running"]


async def test_a_search_that_was_given_up_too_early_is_done_all_the_same(
    database, phone, operator, inference
):
    hasty = Leftovers(database, FailureLedger(database), age_s=0)

    async def give_up(operation):
        if operation == "match":
            await hasty.adopt()

    inference.before_answer = give_up
    found = (await search(phone, make_photo(1))).json()

    assert found["status"] == "done"
    assert "problem" not in found
    assert await list_open(operator) == []


async def test_what_is_adopted_is_adopted_once(database, leftovers, phone, operator, enrol):
    await enrol("Ada", make_photo(1))
    found = (await search(phone, make_photo(1))).json()
    await leave_running(database, found["id"], OLD)
    await leave_pending(database, OLD)

    await leftovers.adopt()
    await leftovers.adopt()

    assert [failure["attempts"] for failure in await list_open(operator)] == [1, 1]


async def test_leftovers_that_were_young_at_the_start_are_found_later(
    database, phone, operator, inference
):
    found = (await search(phone, make_photo(1))).json()
    await leave_running(database, found["id"], YOUNG)
    watch = asyncio.create_task(Leftovers(database, FailureLedger(database), age_s=0.01).watch())

    async with asyncio.timeout(10):
        while not await list_open(operator):  # noqa: ASYNC110 - a database has no event
            await asyncio.sleep(0.01)

    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch
