"""After repeated failures calls are refused at once, until one has succeeded."""

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from gateway_server.breaker import LONGEST_PAUSE_S, Breaker, BreakerSettings
from gateway_server.inference_client import InferenceClient
from gateway_server.metrics import Metrics
from gateway_server.problems import InferenceUnavailable
from tests.gateway_server.conftest import (
    ONE_ENGINE,
    RETRIED_SOON,
    list_failures,
    run_gateway,
    search,
    until,
)
from tests.gateway_server.fake_inference import TOKEN, FakeInference, internal_error
from tests.gateway_server.import_files import ended, make_archive, make_table, post_import
from tests.gateway_server.photos import make_photo

FAILURES = 3
PAUSE_S = 2.0
EARLIEST, JITTER = 0.8, 1.2
A_MOMENT_S = 0.001  # more than what rounding takes


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(BreakerSettings(FAILURES, PAUSE_S), clock)


def fail(breaker: Breaker, times: int = FAILURES) -> None:
    for _ in range(times):
        assert breaker.begin()
        breaker.failed()


def test_it_stays_closed_below_its_number_of_failures(breaker):
    fail(breaker, FAILURES - 1)

    assert (breaker.state, breaker.refuses_for_s) == ("closed", 0)
    assert breaker.begin()


def test_a_success_between_them_starts_the_count_anew(breaker):
    fail(breaker, FAILURES - 1)
    assert breaker.begin()
    breaker.succeeded()
    fail(breaker, FAILURES - 1)

    assert breaker.state == "closed"


def test_failures_in_a_row_open_it_for_its_pause(breaker, clock):
    fail(breaker)

    assert breaker.state == "open"
    assert not breaker.begin()
    assert PAUSE_S * EARLIEST <= breaker.refuses_for_s + A_MOMENT_S <= PAUSE_S * JITTER + A_MOMENT_S
    clock.now_s += PAUSE_S * JITTER + A_MOMENT_S
    assert (breaker.state, breaker.refuses_for_s) == ("half-open", 0)


def test_one_call_alone_finds_out(breaker, clock):
    fail(breaker)
    clock.now_s += PAUSE_S * JITTER + A_MOMENT_S

    assert [breaker.begin() for _ in range(3)] == [True, False, False]
    assert breaker.refuses_for_s > 0


def test_that_one_is_told_and_no_other(breaker, clock):
    assert breaker.begin()
    assert not breaker.is_probing
    breaker.abandoned()
    fail(breaker)
    assert not breaker.is_probing
    clock.now_s += PAUSE_S * JITTER + A_MOMENT_S
    assert breaker.begin()
    assert breaker.is_probing
    breaker.abandoned()
    assert not breaker.is_probing


def test_the_success_of_that_one_closes_it(breaker, clock):
    fail(breaker)
    clock.now_s += PAUSE_S * JITTER + A_MOMENT_S
    breaker.begin()
    breaker.succeeded()

    assert breaker.state == "closed"
    assert [breaker.begin() for _ in range(3)] == [True, True, True]


def test_its_failure_opens_it_for_longer_each_time_up_to_a_limit(breaker, clock):
    fail(breaker)
    pauses = []
    for _ in range(10):
        clock.now_s += breaker.refuses_for_s + A_MOMENT_S
        assert breaker.begin()
        breaker.failed()
        assert breaker.state == "open"
        pauses.append(breaker.refuses_for_s)

    assert pauses[0] >= 2 * PAUSE_S * EARLIEST - A_MOMENT_S
    assert pauses[1] > pauses[0] / JITTER
    assert max(pauses) <= LONGEST_PAUSE_S * JITTER + A_MOMENT_S
    assert pauses[-1] >= LONGEST_PAUSE_S * EARLIEST - A_MOMENT_S


def test_after_a_success_the_next_pause_is_the_short_one_again(breaker, clock):
    fail(breaker)
    for _ in range(3):
        clock.now_s += breaker.refuses_for_s + A_MOMENT_S
        breaker.begin()
        breaker.failed()
    clock.now_s += breaker.refuses_for_s + A_MOMENT_S
    breaker.begin()
    breaker.succeeded()

    fail(breaker)

    assert breaker.refuses_for_s <= PAUSE_S * JITTER + A_MOMENT_S


def test_a_call_that_told_nothing_lets_the_next_one_find_out(breaker, clock):
    fail(breaker)
    clock.now_s += PAUSE_S * JITTER + A_MOMENT_S
    breaker.begin()

    breaker.abandoned()

    assert breaker.state == "half-open"
    assert breaker.begin()


def test_calls_that_were_under_way_when_it_opened_do_not_lengthen_its_pause(breaker):
    for _ in range(10):
        assert breaker.begin()
    for _ in range(10):
        breaker.failed()

    assert breaker.refuses_for_s <= PAUSE_S * JITTER + A_MOMENT_S


async def test_a_tier_that_is_not_ready_is_asked_for_nothing_else(breaker, clock, inference):
    inference.fail("*", internal_error)
    transport = httpx.ASGITransport(inference.app)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://tier", headers=headers
    ) as http:
        client = InferenceClient(http, Metrics(), breaker)
        for _ in range(FAILURES):
            with pytest.raises(InferenceUnavailable) as met:
                await client.gallery()
            assert not met.value.is_unasked
        clock.now_s += breaker.refuses_for_s + A_MOMENT_S
        with pytest.raises(InferenceUnavailable) as met:
            await client.gallery()
        state = breaker.state
        inference.recover()
        clock.now_s += breaker.refuses_for_s + A_MOMENT_S
        await client.gallery()

    assert (met.value.is_unasked, met.value.reason, state) == (True, "inference-failed", "open")
    asked = [operation for operation, _ in inference.calls]
    assert asked == ["gallery"] * FAILURES + ["ready", "ready", "gallery"]
    assert breaker.state == "closed"


@ONE_ENGINE
@RETRIED_SOON
async def test_a_tier_that_failed_again_and_again_is_left_alone_and_then_found_back(
    environment, inference
):
    inference.fail("*", internal_error)
    environment |= {"BREAKER_FAILURES": "1", "BREAKER_PAUSE_S": "0.01", "JOB_ATTEMPTS": "2"}
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["mobile"]) as phone,
        running.client(running.keys["operator"]) as operator,
    ):
        waiting = [(await search(phone, make_photo(seed))) for seed in range(2)]
        told = (await phone.get("/metrics")).text

        async def have_waited_long():
            return max(one["attempts"] for one in await list_failures(operator)) > 3

        await until(have_waited_long)
        calls, given_up = len(inference.calls), await list_failures(operator, given_up=True)
        reasons = {one["reason"] for one in await list_failures(operator)}
        inference.recover()

        async def are_done():
            return not await list_failures(operator, open=True)

        await until(are_done)
        ends = [(await phone.get(one.headers["location"])).json()["status"] for one in waiting]

    assert {one.status_code for one in waiting} == {202}
    assert 'gateway_breaker_state{state="closed"} 0.0' in told
    assert calls < 15, "most attempts met the breaker, not the tier"
    assert given_up == [], "attempts that the breaker refused are not counted"
    assert reasons == {"inference-failed"}, "one alone finds out, the others wait"
    assert ends == ["done"] * 2


def break_on_a_search(inference: FakeInference, *, restarts: bool) -> None:
    """Each match fails; then, where it `restarts`, the tier is not ready for a moment."""

    def come_back(_request: Request) -> Response:
        del inference.faults["ready"]
        return internal_error(_request)

    def break_down(request: Request) -> Response:
        if restarts:
            inference.fail("ready", come_back)
        return internal_error(request)

    inference.fail("match", break_down)


@ONE_ENGINE
@RETRIED_SOON
@pytest.mark.parametrize("restarts", [False, True])
async def test_a_photo_that_breaks_the_tier_each_time_is_given_up_and_other_work_goes_on(
    environment, inference, restarts
):
    break_on_a_search(inference, restarts=restarts)
    environment |= {"BREAKER_FAILURES": "1", "BREAKER_PAUSE_S": "0.01", "JOB_ATTEMPTS": "4"}
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["mobile"]) as phone,
        running.client(running.keys["operator"]) as operator,
    ):
        search_address = (await search(phone, make_photo(1))).headers["location"]
        files = {"photos[]": ("face.jpg", make_photo(2))}
        answer = await operator.post("/v1/persons", data={"name": "Ada"}, files=files)

        async def has_failed():
            read = (await phone.get(search_address)).json()
            return read if read["status"] == "failed" else None

        async def is_enrolled():
            read = (await operator.get(answer.headers["location"])).json()
            return [face["status"] for face in read["faces"]] == ["enrolled"]

        failed = await until(has_failed)
        await until(is_enrolled)
        (failure,) = await list_failures(operator, given_up=True)

    assert failed["problem"]["type"].endswith("inference-unavailable")
    assert (failure["reason"], inference.called("match")) == ("inference-failed", 4)


@RETRIED_SOON
async def test_a_row_whose_photo_breaks_the_tier_each_time_has_its_reason(environment, inference):
    poison, photos = make_photo(1), {f"{seed}.jpg": make_photo(seed) for seed in (1, 2, 3)}
    inference.refuse(poison, "internal-error", 500)
    environment |= {"BREAKER_FAILURES": "1", "BREAKER_PAUSE_S": "0.01", "JOB_ATTEMPTS": "3"}
    table = make_table([{"name": f"Person {name}", "photo": name} for name in photos])
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["operator"]) as operator,
    ):
        address = (await post_import(operator, table, make_archive(photos))).headers["location"]
        run = await ended(operator, address)
        rows = (await operator.get(f"{address}/rows")).json()["rows"]
        failed = (await operator.get(f"{address}/rows", params={"outcome": "failed"})).json()

    counts = {name: count for name, count in run["rows"].items() if count}
    assert (run["status"], run["progress"], counts) == ("done", 1.0, {"enrolled": 2, "failed": 1})
    assert [row["outcome"] for row in rows] == ["failed", "enrolled", "enrolled"]
    assert failed["rows"] == rows[:1]
    assert rows[0]["problem"]["type"].endswith("inference-unavailable")
    assert "500" in rows[0]["problem"]["detail"]
