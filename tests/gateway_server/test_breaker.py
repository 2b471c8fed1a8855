"""After repeated failures calls are refused at once, until one has succeeded."""

import httpx
import pytest

from gateway_server.breaker import LONGEST_PAUSE_S, Breaker, BreakerSettings
from tests.gateway_server.conftest import (
    ONE_ENGINE,
    RETRIED_SOON,
    list_failures,
    run_gateway,
    search,
    until,
)
from tests.gateway_server.fake_inference import internal_error
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
