"""One look at all parts serves everybody who asks within five seconds."""

import asyncio

import pytest

from gateway_server.photo_store import PhotoFolder
from gateway_server.problems import InferenceUnavailable, NotReady
from gateway_server.readiness import SHARED_FOR_S, Readiness

READY = {"database": "ok", "photos": "ok", "inference": "ok"}


class Tiers:
    """Database and inference; counts the inferences that it is asked for."""

    def __init__(self) -> None:
        self.inferences = 0
        self.is_away = False

    async def ping(self) -> None:
        pass

    async def check_ready(self) -> None:
        self.inferences += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise InferenceUnavailable


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def tiers() -> Tiers:
    return Tiers()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def readiness(tiers: Tiers, clock: Clock, tmp_path) -> Readiness:
    store = PhotoFolder(tmp_path)
    store.prepare()
    return Readiness(tiers, store, tiers, clock)


async def test_many_who_ask_at_once_cost_one_inference(readiness: Readiness, tiers: Tiers):
    answers = await asyncio.gather(*(readiness.check() for _ in range(20)))

    assert answers == [READY] * 20
    assert tiers.inferences == 1


async def test_an_answer_is_shared_until_it_is_too_old(
    readiness: Readiness, tiers: Tiers, clock: Clock
):
    await readiness.check()
    clock.now_s = SHARED_FOR_S - 0.001
    await readiness.check()
    assert tiers.inferences == 1

    clock.now_s = SHARED_FOR_S
    await readiness.check()
    assert tiers.inferences == 2


async def test_that_something_is_away_is_shared_as_well(
    readiness: Readiness, tiers: Tiers, clock: Clock
):
    tiers.is_away = True
    for _ in range(3):
        with pytest.raises(NotReady, match="inference"):
            await readiness.check()
    assert tiers.inferences == 1

    tiers.is_away = False
    clock.now_s = SHARED_FOR_S
    assert await readiness.check() == READY
