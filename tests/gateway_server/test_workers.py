"""The tasks that work off the queue: bounded, renewed, tried again, drained at the end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server import workers as workers_module
from gateway_server.database import Database
from gateway_server.jobs import Claim, JobQueue, LeaseLost
from gateway_server.journal import current_request_id, in_request
from gateway_server.problems import DatabaseUnavailable, InferenceUnavailable, NoFace, Outage
from gateway_server.tables import Job, new_id, now
from gateway_server.workers import Pace, Workers
from tests.gateway_server.conftest import until

LEASE_S = 30.0
PACE = Pace(
    concurrency=3,
    lease_s=LEASE_S,
    attempts=4,
    first_pause_s=0.01,
    longest_pause_s=0.05,
    drain_s=0.1,
)
Work = Callable[[Claim], Awaitable[None]]


@pytest.fixture(autouse=True)
def looks_for_work_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "IDLE_POLL_S", 0.02)


@dataclass
class House:
    """A process: its queue, its workers, and a handler that notes what it is given."""

    database: Database
    pace: Pace = PACE
    work: Work | None = None
    held_up_s: float = 0.0
    in_doubt: bool = False
    seen: list[Claim] = field(default_factory=list)
    missed: list[tuple[str, datetime | None]] = field(default_factory=list)
    spoken_under: list[str] = field(default_factory=list)
    at_work: int = 0
    most_at_work: int = 0

    def __post_init__(self) -> None:
        self.queue = JobQueue(self.database, self.pace.lease_s, self.pace.longest_pause_s)
        handlers = {"search": self}
        self.workers = Workers(
            self.database,
            self.queue,
            handlers,
            self.pace,
            lambda: self.held_up_s,
            lambda: self.in_doubt,
        )

    async def run(self, claim: Claim) -> None:
        self.seen.append(claim)
        self.spoken_under.append(current_request_id())
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            if self.work:
                await self.work(claim)
        finally:
            self.at_work -= 1
        async with self.database.write() as session:
            await self.queue.finish(session, claim)

    async def miss(
        self, _session: AsyncSession, _claim: Claim, outage: Outage, later: datetime | None
    ) -> None:
        self.missed.append((outage.reason, later))

    async def add(self, *, held: bool = False, request_id: str = "r") -> Claim:
        with in_request(request_id):
            async with self.database.write() as session:
                return await self.queue.add(session, "search", new_id(), held=held)

    async def jobs(self) -> list[Job]:
        async with self.database.read() as session:
            return list(await session.scalars(select(Job)))

    async def is_empty(self) -> bool:
        return not await self.jobs()


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


@pytest.fixture
async def next_door(database: Database, database_url: str) -> AsyncIterator[House]:
    """Another process on the same database."""
    opened = Database(database_url)
    yield House(opened)
    await opened.close()


async def fail(_claim: Claim) -> None:
    raise InferenceUnavailable("no answer", reason="inference-timeout")


async def hang(_claim: Claim) -> None:
    await asyncio.Event().wait()


async def test_all_jobs_are_done_and_no_more_at_a_time_than_there_are_places(house):
    async def take_a_while(_claim: Claim) -> None:
        await asyncio.sleep(0.01)

    house.work = take_a_while
    subjects = {(await house.add()).subject_id for _ in range(12)}

    async with house.workers.at_work():
        await until(house.is_empty)

    assert {claim.subject_id for claim in house.seen} == subjects
    assert (len(house.seen), house.most_at_work) == (12, PACE.concurrency)


async def test_two_processes_do_each_job_once(house, next_door):
    subjects = [(await house.add()).subject_id for _ in range(20)]

    async with house.workers.at_work(), next_door.workers.at_work():
        await until(house.is_empty)

    done = [claim.subject_id for claim in (*house.seen, *next_door.seen)]
    assert sorted(done) == sorted(subjects)


async def test_what_is_begun_here_ends_while_its_request_waits(house):
    async with house.workers.at_work():
        with house.workers.room_for(1) as held:
            claim = await house.add(held=held)
            begun = house.workers.begin([claim])
        ended = await house.workers.wait(begun, 5)

    assert ended == {claim.subject_id: None}
    assert house.spoken_under == ["r"]


async def test_more_than_there_are_places_are_held_and_bounded(house):
    async def take_a_while(_claim: Claim) -> None:
        await asyncio.sleep(0.01)

    house.work = take_a_while
    async with house.workers.at_work():
        with house.workers.room_for(10) as held:
            begun = house.workers.begin([await house.add(held=held) for _ in range(10)])
        ended = await house.workers.wait(begun, 5)

    assert (len(ended), house.most_at_work) == (10, PACE.concurrency)


async def test_there_is_no_room_where_every_place_is_taken_or_promised(house):
    house.work = hang
    house_of_one = House(house.database, replace(PACE, concurrency=1), hang)
    async with house_of_one.workers.at_work():
        with house_of_one.workers.room_for(1) as first, house_of_one.workers.room_for(1) as second:
            assert (first, second) == (True, False)
        with house_of_one.workers.room_for(1) as held:
            assert held, "a promise ends with its block"
            house_of_one.workers.begin([await house_of_one.add(held=True)])
        with house_of_one.workers.room_for(1) as held:
            assert not held


async def test_a_promised_place_is_not_taken_by_the_queue(house):
    house_of_one = House(house.database, replace(PACE, concurrency=1))
    async with house_of_one.workers.at_work():
        with house_of_one.workers.room_for(1):
            await house_of_one.add()
            house_of_one.workers.begin([])
            await asyncio.sleep(0.1)  # time enough to take it
            assert house_of_one.seen == []
        await until(house_of_one.is_empty)


async def test_nothing_begins_while_the_tier_is_away(house):
    house.held_up_s = 1.0
    async with house.workers.at_work():
        with house.workers.room_for(1) as held:
            assert not held
        await house.add()
        await asyncio.sleep(0.1)  # time enough to take it
        assert house.seen == []
        house.held_up_s = 0.0
        await until(house.is_empty)


async def test_one_alone_finds_out_whether_the_tier_is_back(house):
    async def take_a_while(_claim: Claim) -> None:
        await asyncio.sleep(0.01)

    house.work, house.in_doubt = take_a_while, True
    for _ in range(6):
        await house.add()
    async with house.workers.at_work():
        await until(house.is_empty)
        with house.workers.room_for(2) as several, house.workers.room_for(1) as one:
            assert (several, one) == (False, True)

    assert (len(house.seen), house.most_at_work) == (6, 1)


async def test_an_outage_is_tried_again_and_in_the_end_given_up(house):
    house.work = fail
    await house.add()
    begun_at = now()

    async with house.workers.at_work():
        await until(house.is_empty)

    assert [claim.attempts for claim in house.seen] == [0, 1, 2, 3]
    assert [reason for reason, _ in house.missed] == ["inference-timeout"] * 4
    laters = [later for _, later in house.missed]
    assert all(later > begun_at for later in laters[:3])
    assert laters[3] is None, "there will be no other"


def test_pauses_double_up_to_a_limit_and_are_never_the_same():
    pace = replace(PACE, first_pause_s=1.0, longest_pause_s=60.0)
    for attempts, longest_s in ((0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (1000, 60)):
        pauses = {pace.pause_s(attempts) for _ in range(50)}
        assert longest_s / 2 <= min(pauses) < max(pauses) <= longest_s


async def test_attempts_are_not_counted_while_the_tier_is_away(house):
    async def find_the_tier_away(_claim: Claim) -> None:
        house.held_up_s = 0.05
        raise InferenceUnavailable("not asked", reason="inference-breaker-open", unasked=True)

    house.work = find_the_tier_away
    await house.add()
    async with house.workers.at_work():
        for _ in range(2 * PACE.attempts):
            before = len(house.seen)
            house.held_up_s = 0.0
            house.workers.begin([])

            async def was_tried(before=before):
                return len(house.missed) > before

            await until(was_tried)

    assert {claim.attempts for claim in house.seen} == {0}
    assert None not in [later for _, later in house.missed]


async def test_an_attempt_that_was_made_is_counted_even_if_it_took_the_tier_away(house):
    def come_back() -> None:
        house.held_up_s = 0.0

    async def break_the_tier(claim: Claim) -> None:
        house.held_up_s = 0.02
        asyncio.get_running_loop().call_later(house.held_up_s, come_back)
        await fail(claim)

    house.work = break_the_tier
    await house.add()
    async with house.workers.at_work():
        await until(house.is_empty)

    assert [claim.attempts for claim in house.seen] == [0, 1, 2, 3]
    assert house.missed[-1] == ("inference-timeout", None), "there will be no other"


async def test_a_refusal_is_told_to_whoever_waits(house):
    async def refuse(claim: Claim) -> None:
        async with house.database.write() as session:
            await house.queue.finish(session, claim)
        raise NoFace("nobody in it")

    house.work = refuse
    async with house.workers.at_work():
        claim = await house.add(held=True)
        ended = await house.workers.wait(house.workers.begin([claim]), 5)

    assert isinstance(ended[claim.subject_id], NoFace)
    assert house.missed == []
    assert await house.is_empty()


async def test_nobody_waits_longer_than_they_said(house):
    house.work = hang
    async with house.workers.at_work():
        begun = house.workers.begin([await house.add(held=True)])

        assert await house.workers.wait(begun, 0.01) == {}


async def test_a_job_is_left_to_its_lease_where_the_database_is_away(house):
    async def find_the_database_away(_claim: Claim) -> None:
        raise DatabaseUnavailable

    house.work = find_the_database_away
    async with house.workers.at_work():
        claim = await house.add(held=True)
        ended = await house.workers.wait(house.workers.begin([claim]), 5)

    assert isinstance(ended[claim.subject_id], DatabaseUnavailable)
    assert house.missed == []
    (job,) = await house.jobs()
    assert (job.holder, job.attempts) == (claim.holder, 0)
    assert job.leased_until > now()


async def test_a_defect_is_written_down_with_its_traceback_and_left_to_the_lease(house, caplog):
    async def stumble(_claim: Claim) -> None:
        raise KeyError("a defect")

    house.work = stumble
    async with house.workers.at_work():
        claim = await house.add(held=True)
        assert await house.workers.wait(house.workers.begin([claim]), 5) == {}
        house.work = None
        other = await house.add(held=True)
        assert await house.workers.wait(house.workers.begin([other]), 5) == {other.subject_id: None}

    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.message == "a job was left to its lease"
    assert record.exc_info
    assert [job.holder for job in await house.jobs()] == [claim.holder]


async def test_a_lost_lease_is_no_defect(house, caplog):
    async def lose_it(_claim: Claim) -> None:
        raise LeaseLost

    house.work = lose_it
    async with house.workers.at_work():
        claim = await house.add(held=True)
        assert await house.workers.wait(house.workers.begin([claim]), 5) == {}

    assert house.missed == []
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_the_lease_of_long_work_is_renewed(house):
    brief = House(house.database, replace(PACE, lease_s=1.5), hang)
    claim = await brief.add(held=True)
    first = (await brief.jobs())[0].leased_until

    async def has_been_renewed() -> bool:
        (job,) = await brief.jobs()
        return job.leased_until > first and job.holder == claim.holder

    async with brief.workers.at_work():
        brief.workers.begin([claim])
        await until(has_been_renewed)


async def test_what_does_not_end_in_time_is_given_back_when_the_process_stops(house, next_door):
    house.work = hang
    async with house.workers.at_work():
        for _ in range(2):
            await house.add()

        async def are_at_work() -> bool:
            return house.at_work == 2

        await until(are_at_work)

    assert house.workers.running == 0
    assert {(job.holder, job.leased_until, job.attempts) for job in await house.jobs()} == {
        (None, None, 0)
    }
    assert len(await next_door.queue.claim(9)) == 2, "at once, without waiting for a lease"


async def test_what_ends_in_time_is_finished_when_the_process_stops(house):
    async def take_a_while(_claim: Claim) -> None:
        await asyncio.sleep(0.03)

    patient = House(house.database, replace(PACE, drain_s=5), take_a_while)
    async with patient.workers.at_work():
        patient.workers.begin([await patient.add(held=True)])

    assert await patient.is_empty()


async def test_a_process_that_stops_takes_nothing_more(house):
    async with house.workers.at_work():
        pass
    await house.add()

    with house.workers.room_for(1) as held:
        assert not held
    await asyncio.sleep(0.1)  # time enough to take it
    assert house.seen == []


async def test_what_is_claimed_while_the_process_stops_is_not_left_to_its_lease(
    house, next_door, monkeypatch
):
    claimed, claim = asyncio.Event(), house.queue.claim

    async def claim_slowly(most: int) -> list[Claim]:
        claims = list(await claim(most))
        if claims:
            claimed.set()
            await asyncio.sleep(0.02)
        return claims

    monkeypatch.setattr(house.queue, "claim", claim_slowly)
    house.work = hang
    added = await house.add()

    async with house.workers.at_work():
        await claimed.wait()

    async with next_door.workers.at_work():
        await until(house.is_empty)
    assert [one.subject_id for one in next_door.seen] == [added.subject_id]
