"""The queue: one holder for each job, and none that is lost when its holder dies."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from gateway_server.database import Database
from gateway_server.jobs import Claim, JobQueue, LeaseLost
from gateway_server.journal import in_request
from gateway_server.tables import ApiKey, Job, new_id, now

LEASE_S = 30.0
LONGEST_WAIT_S = 60.0
PAST, SOON = timedelta(seconds=-1), timedelta(seconds=20)


@pytest.fixture
def queue(database: Database) -> JobQueue:
    return JobQueue(database, LEASE_S, LONGEST_WAIT_S)


@pytest.fixture
async def another(database: Database, database_url: str) -> AsyncIterator[JobQueue]:
    """Another process's queue on the same database."""
    opened = Database(database_url)
    yield JobQueue(opened, LEASE_S, LONGEST_WAIT_S)
    await opened.close()


async def add(queue: JobQueue, subject_id: str | None = None, *, held: bool = False) -> Claim:
    async with queue._database.write() as session:
        return await queue.add(session, "search", subject_id or new_id(), held=held)


async def finish(queue: JobQueue, claim: Claim) -> None:
    async with queue._database.write() as session:
        session.add(ApiKey(id=claim.holder[:16], name="", role="mobile", secret_sha256=""))
        await session.flush()
        await queue.finish(session, claim)


async def change(queue: JobQueue, **values: object) -> None:
    """As if time had passed, or a clock had been set."""
    async with queue._database.write() as session:
        await session.execute(update(Job).values(values))


async def only_job(queue: JobQueue) -> Job:
    async with queue._database.read() as session:
        return (await session.scalars(select(Job))).one()


async def count(queue: JobQueue, what: type[Job | ApiKey]) -> int:
    async with queue._database.read() as session:
        return await session.scalar(select(func.count()).select_from(what)) or 0


async def test_each_job_is_claimed_by_one_alone(queue, another):
    subjects = {(await add(queue)).subject_id for _ in range(40)}
    claimed: list[Claim] = []

    async def claim_all(one: JobQueue) -> None:
        while claims := await one.claim(3):
            claimed.extend(claims)

    await asyncio.gather(*(claim_all(one) for one in (queue, another, queue, another)))

    assert sorted(claim.subject_id for claim in claimed) == sorted(subjects)
    assert len({claim.holder for claim in claimed}) == len(subjects)


async def test_the_longest_due_come_first_and_no_more_than_asked_for(queue):
    subjects = [(await add(queue)).subject_id for _ in range(5)]

    first = await queue.claim(2)

    assert [claim.subject_id for claim in first] == subjects[:2]
    assert [claim.subject_id for claim in await queue.claim(9)] == subjects[2:]


async def test_what_is_held_from_its_beginning_is_claimed_by_nobody(queue, another):
    claim = await add(queue, held=True)

    assert claim.holder
    assert await another.claim(9) == []
    await finish(queue, claim)
    assert await count(queue, Job) == 0


async def test_a_job_speaks_under_the_id_of_the_request_that_made_it(queue, another):
    with in_request("from-the-phone"):
        await add(queue)

    (claim,) = await another.claim(1)

    assert claim.request_id == "from-the-phone"


async def test_a_lease_that_ran_out_is_anothers(queue, another):
    lost = await add(queue, held=True)
    await change(queue, leased_until=now() + PAST)

    (taken,) = await another.claim(9)

    assert (taken.job_id, taken.subject_id) == (lost.job_id, lost.subject_id)
    assert taken.holder != lost.holder


async def test_whoever_lost_a_lease_changes_nothing_any_more(queue, another):
    lost = await add(queue, held=True)
    await change(queue, leased_until=now() + PAST)
    (taken,) = await another.claim(9)

    with pytest.raises(LeaseLost):
        await finish(queue, lost)
    with pytest.raises(LeaseLost):
        await queue.give_back(lost)
    with pytest.raises(LeaseLost):
        async with queue._database.write() as session:
            await queue.postpone(session, lost, now())
    await change(queue, leased_until=now() + SOON)
    before = await only_job(queue)
    await queue.renew([lost])

    after = await only_job(queue)
    assert await count(queue, ApiKey) == 0, "what was to be recorded with it is undone"
    assert (after.holder, after.leased_until) == (taken.holder, before.leased_until)
    await finish(another, taken)


async def test_a_finished_job_is_not_finished_again(queue):
    claim = await add(queue, held=True)
    await finish(queue, claim)

    with pytest.raises(LeaseLost):
        await queue.give_back(claim)


async def test_a_renewed_lease_lasts_longer(queue):
    claim = await add(queue, held=True)
    await change(queue, leased_until=now() + timedelta(seconds=1))

    await queue.renew([claim])
    await queue.renew([])

    left = (await only_job(queue)).leased_until - now()
    assert timedelta(seconds=LEASE_S / 2) < left <= timedelta(seconds=LEASE_S)


@pytest.mark.parametrize(("counted", "attempts"), [(True, 1), (False, 0)])
async def test_a_postponed_job_waits_for_its_turn(queue, another, counted, attempts):
    claim = await add(queue, held=True)
    async with queue._database.write() as session:
        await queue.postpone(session, claim, now() + SOON, counted=counted)

    assert await another.claim(9) == []
    await change(queue, run_at=now() + PAST)
    (again,) = await another.claim(9)
    assert (again.subject_id, again.attempts) == (claim.subject_id, attempts)


async def test_what_is_given_back_may_be_taken_at_once_and_was_no_attempt(queue, another):
    claim = await add(queue, held=True)

    await queue.give_back(claim)

    (again,) = await another.claim(9)
    assert (again.subject_id, again.attempts) == (claim.subject_id, 0)


async def test_what_is_given_back_for_later_waits_for_it(queue, another):
    claim = await add(queue, held=True)

    await queue.give_back(claim, now() + SOON)

    assert await another.claim(9) == []


async def test_the_depth_is_of_what_nobody_holds(queue):
    assert (await queue.depth()).waiting == 0
    claim = await add(queue, held=True)
    await add(queue)
    postponed = await add(queue, held=True)
    async with queue._database.write() as session:
        await queue.postpone(session, postponed, now() + SOON)

    depth = await queue.depth()
    assert (depth.waiting, depth.oldest_s < 10) == (2, True)
    await finish(queue, claim)
    await change(queue, run_at=now() - timedelta(seconds=100))
    assert 100 <= (await queue.depth()).oldest_s < 120


async def test_what_is_not_due_yet_has_not_waited(queue):
    claim = await add(queue, held=True)
    await queue.give_back(claim, now() + SOON)

    depth = await queue.depth()

    assert (depth.waiting, depth.oldest_s) == (1, 0.0)


@pytest.mark.parametrize(
    ("written", "ahead_s"), [("run_at", 3 * LONGEST_WAIT_S), ("leased_until", 3 * LEASE_S)]
)
async def test_a_clock_that_was_set_back_holds_nothing_up(queue, written, ahead_s):
    """What it has written lies further ahead than anything may be put off."""
    await add(queue, held=written == "leased_until")
    await change(queue, **{written: now() + timedelta(seconds=ahead_s)})

    assert len(await queue.claim(9)) == 1


async def test_a_job_that_comes_again_starts_anew(queue, another):
    first = await add(queue, held=True)
    async with queue._database.write() as session:
        await queue.postpone(session, first, now() + SOON)

    again = await add(queue, first.subject_id, held=True)

    assert (again.job_id, again.attempts) == (first.job_id, 0)
    assert again.holder
    assert await another.claim(9) == []
    assert await count(queue, Job) == 1


async def test_a_job_that_comes_again_while_it_is_held_waits_for_the_old_lease(queue, another):
    old = await add(queue, held=True)
    until = (await only_job(queue)).leased_until

    new = await add(another, old.subject_id, held=True)

    assert new.holder == "", "nobody begins it at once"
    job = await only_job(queue)
    assert (job.run_at, job.holder, job.leased_until) == (until, None, None)
    assert await another.claim(9) == []
    with pytest.raises(LeaseLost):
        await finish(queue, old)
    await change(queue, run_at=now() + PAST)
    assert [claim.subject_id for claim in await another.claim(9)] == [old.subject_id]


async def test_kinds_of_jobs_for_one_subject_do_not_meet(queue):
    subject_id = new_id()
    async with queue._database.write() as session:
        for kind in ("search", "enrolment", "deletion"):
            await queue.add(session, kind, subject_id, held=False)

    assert {claim.kind for claim in await queue.claim(9)} == {"search", "enrolment", "deletion"}


async def test_a_cancelled_job_tells_how_long_it_may_still_be_under_way(queue):
    held, waiting = await add(queue, held=True), await add(queue)

    async with queue._database.write() as session:
        subjects = [held.subject_id, waiting.subject_id]
        until = await queue.cancel(session, "search", subjects)
        nothing = await queue.cancel(session, "search", subjects)

    assert timedelta(0) < until - now() <= timedelta(seconds=LEASE_S)
    assert nothing is None
    assert await count(queue, Job) == 0
    with pytest.raises(LeaseLost):
        await finish(queue, held)
