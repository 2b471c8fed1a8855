"""A search that is not answered at once is answered later, whatever dies meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from gateway_server import search_desk
from gateway_server.gateway import Gateway
from tests.gateway_server.conftest import (
    RETRIED_SOON,
    Running,
    list_failures,
    run_gateway,
    search,
    slug_of,
    until,
)
from tests.gateway_server.fake_inference import FakeInference, internal_error
from tests.gateway_server.photos import make_photo

ASYNC = {"Prefer": "respond-async"}


class Gate:
    """Holds the inference tier's answers to one operation back until it is opened."""

    def __init__(self, inference: FakeInference, operation: str = "match") -> None:
        self._operation = operation
        self._opened = asyncio.Event()
        self.waiting = 0
        inference.before_answer = self._wait

    async def _wait(self, operation: str) -> None:
        if operation == self._operation:
            self.waiting += 1
            await self._opened.wait()

    def open(self) -> None:
        self._opened.set()

    async def has_somebody(self) -> bool:
        return self.waiting > 0


@pytest.fixture
def gate(inference: FakeInference) -> Gate:
    return Gate(inference)


def photo(seed: int = 1) -> dict[str, tuple[str, bytes]]:
    return {"photo": ("p.jpg", make_photo(seed))}


def ended(phone: httpx.AsyncClient, location: str) -> Callable[[], Awaitable[dict | None]]:
    async def look() -> dict | None:
        read = (await phone.get(location)).json()
        return read if read["status"] in {"done", "failed"} else None

    return look


def die_instead_of_draining(gateway: Gateway) -> None:
    """As a killed process: what runs is cut off, and nothing is given back."""

    async def die() -> None:
        running = list(gateway.workers._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    gateway.workers._drain = die


@asynccontextmanager
async def killed_with(
    running: Running, request: Awaitable[httpx.Response], gate: Gate
) -> AsyncIterator[None]:
    """`request` is under way when the process dies; nobody reads its answer."""
    phone = asyncio.ensure_future(request)
    await until(gate.has_somebody)
    die_instead_of_draining(running.gateway)
    yield
    phone.cancel()
    with suppress(asyncio.CancelledError):
        await phone


async def test_whoever_prefers_it_does_not_wait(phone, gate):
    answer = await phone.post("/v1/searches", files=photo(), headers=ASYNC)

    waiting = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/searches/{waiting['id']}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert answer.headers["retry-after"] == "1"
    assert waiting["status"] == "running"
    assert waiting.keys() == {"id", "status", "cached", "request_id", "created_at"}
    gate.open()
    found = await until(ended(phone, answer.headers["location"]))
    assert (found["id"], found["status"]) == (waiting["id"], "done")
    assert found["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        ("respond-async", 202),
        ("Respond-Async, wait=10", 202),
        ("wait=10; foo, respond-async", 202),
        ("respond-synchronously", 201),
        ("", 201),
    ],
)
async def test_the_preference_is_read_as_rfc_7240_writes_it(phone, gate, prefer, status):
    if status == 201:
        gate.open()
    answer = await phone.post("/v1/searches", files=photo(), headers={"Prefer": prefer})

    assert answer.status_code == status
    assert ("preference-applied" in answer.headers) == (status == 202)


async def test_the_refusal_of_a_photo_that_nobody_waited_for_is_read_later(
    phone, operator, inference, gate
):
    inference.refuse(make_photo(1), "no-face")

    answer = await phone.post("/v1/searches", files=photo(), headers=ASYNC)

    assert answer.status_code == 202
    gate.open()
    found = await until(ended(phone, answer.headers["location"]))
    assert found["status"] == "failed"
    assert found["problem"]["type"] == "urn:reunite:problem:no-face"
    assert await list_failures(operator) == []


async def test_a_slow_tier_is_waited_for_a_while_and_its_answer_comes_later(
    environment, inference, gate
):
    environment["ANSWER_WAIT_S"] = "0.05"
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["mobile"]) as phone,
        running.client(running.keys["operator"]) as operator,
    ):
        answer = await search(phone, make_photo(1))
        gate.open()
        found = await until(ended(phone, answer.headers["location"]))

        assert (answer.status_code, answer.json()["status"]) == (202, "running")
        assert answer.headers["retry-after"] == "1"
        assert "preference-applied" not in answer.headers
        assert found["status"] == "done"
        assert await list_failures(operator) == [], "being slow is no failure"
        assert inference.called("match") == 1


async def test_a_search_for_which_there_is_no_place_is_queued_and_done_in_its_turn(
    environment, inference, gate
):
    environment |= {"ANSWER_WAIT_S": "0.05", "JOB_CONCURRENCY": "1"}
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["mobile"]) as phone,
    ):
        first, second = [await search(phone, make_photo(seed)) for seed in (1, 2)]
        gate.open()
        found = [await until(ended(phone, one.headers["location"])) for one in (first, second)]

    assert [one.json()["status"] for one in (first, second)] == ["running", "queued"]
    assert [one["status"] for one in found] == ["done", "done"]


async def test_too_many_that_wait_are_refused_before_their_photo_is_read(
    environment, inference, photo_dir, monkeypatch
):
    monkeypatch.setattr(search_desk, "DEPTH_SHARED_FOR_S", -1.0)
    environment["MAX_WAITING"] = "2"
    inference.fail("*", internal_error)
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["mobile"]) as phone,
    ):
        answers = [await search(phone, make_photo(seed)) for seed in (1, 2, 3)]

    assert [one.status_code for one in answers] == [202, 202, 503]
    assert slug_of(answers[2]) == "too-busy"
    assert answers[2].headers["retry-after"]
    assert len(list(photo_dir.glob("??/??/*"))) == 2


@RETRIED_SOON
async def test_what_a_killed_process_had_begun_another_one_finishes(
    environment, inference, enrol, gate
):
    await enrol("Ada", make_photo(1))
    environment["JOB_LEASE_S"] = "0.2"
    transport = httpx.ASGITransport(inference.app)
    async with run_gateway(environment, transport) as first:
        key = first.keys["mobile"]
        async with first.client(key) as phone:
            asked = phone.post("/v1/searches", files=photo(), headers={"X-Request-Id": "from-then"})
            async with killed_with(first, asked, gate):
                search_id = await _only_search(first)
    gate.open()

    async with run_gateway(environment, transport) as second, second.client(key) as phone:
        found = await until(ended(phone, f"/v1/searches/{search_id}"))
        kept = await phone.get(f"/v1/searches/{search_id}/photo")

    assert (found["status"], found["candidates"][0]["name"]) == ("done", "Ada")
    assert kept.content == make_photo(1)
    spoken_under = inference.request_ids[-2:]
    assert spoken_under == ["from-then", "from-then"], "the other process speaks under its id"


async def _only_search(running: Running) -> str:
    from sqlalchemy import select

    from gateway_server.tables import Search

    async with running.gateway.queue._database.read() as session:
        return (await session.scalars(select(Search.id))).one()


@RETRIED_SOON
async def test_a_process_that_stops_hands_over_what_it_could_not_finish(
    environment, inference, gate
):
    transport = httpx.ASGITransport(inference.app)
    async with run_gateway(environment, transport) as first:
        key = first.keys["mobile"]
        async with first.client(key) as phone:
            answer = await phone.post("/v1/searches", files=photo(), headers=ASYNC)
            await until(gate.has_somebody)
    gate.open()

    async with run_gateway(environment, transport) as second, second.client(key) as phone:
        found = await until(ended(phone, answer.headers["location"]))

    assert found["status"] == "done", "at once, though the lease would have lasted 30 s"


@RETRIED_SOON
async def test_each_status_is_told_in_order_until_the_end(running, phone, gate):
    made = await phone.post("/v1/searches", files=photo(), headers=ASYNC)
    caller = await running.gateway.keyring.identify(running.keys["mobile"])
    told = []

    async for seen in running.gateway.search_desk.watch(made.json()["id"], caller):
        told.append(seen.status)
        gate.open()

    assert told == ["running", "done"]


async def test_events_carry_the_search(phone, gate):
    made = await phone.post("/v1/searches", files=photo(), headers=ASYNC)
    gate.open()

    told = await phone.get(f"{made.headers['location']}/events")

    events = _read_events(told.text)
    assert told.headers["content-type"].startswith("text/event-stream")
    assert all(name == said["status"] for name, said in events)
    assert events[-1] == ("done", (await phone.get(made.headers["location"])).json())


async def test_events_of_a_search_that_has_ended_are_its_end_alone(phone, inference):
    inference.refuse(make_photo(1), "no-face")
    refused = await search(phone, make_photo(1))

    told = await phone.get(f"/v1/searches/{refused.json()['search_id']}/events")

    ((name, said),) = _read_events(told.text)
    assert (name, said["problem"]["type"]) == ("failed", "urn:reunite:problem:no-face")


async def test_events_of_anothers_search_are_not_found(running, phone):
    made = await search(phone, make_photo(1))
    other_key = await running.gateway.keyring.create("another phone", "mobile")

    async with running.client(other_key) as other:
        answer = await other.get(f"{made.headers['location']}/events")

    assert (answer.status_code, slug_of(answer)) == (404, "search-not-found")


def _read_events(text: str) -> list[tuple[str, dict]]:
    events = []
    for block in text.replace("\r\n", "\n").strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in lines:
            events.append((lines["event"], json.loads(lines["data"])))
    return events
