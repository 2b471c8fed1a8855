"""What is kept no longer goes, and nothing else: not the enrolled, not the unfinished, no audit."""

import asyncio
import os
import time
from dataclasses import astuple
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select, update

from gateway_server.audit_chain import verify
from gateway_server.caretaker import DAILY, LEASE, Caretaker
from gateway_server.cli import main
from gateway_server.database import Database
from gateway_server.one_time import AnswersKept
from gateway_server.retention import Swept
from gateway_server.settings import Settings
from gateway_server.tables import (
    Audit,
    Chore,
    Failure,
    Feedback,
    Job,
    OneTime,
    Photo,
    Removal,
    Search,
    new_id,
    now,
)
from tests.gateway_server.conftest import ONE_ENGINE, Running, run_gateway, search
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.photos import make_photo

NOTHING = Swept(0, 0, 0, 0, 0, 0, 0, [])
LONG_AGO = timedelta(days=31)


@pytest.fixture
def database(running: Running) -> Database:
    """The one that the gateway has open."""
    return running.gateway.workers._database


async def age(database: Database, kind, *, by: timedelta = LONG_AGO, **same) -> None:
    """Everything of a kind is so much older."""
    async with database.write() as session:
        for row in await session.scalars(select(kind).filter_by(**same)):
            for name in ("created_at", "resolved_at", "done_at", "requested_at"):
                if getattr(row, name, None) is not None:
                    setattr(row, name, getattr(row, name) - by)


async def count(database: Database, kind) -> int:
    async with database.read() as session:
        return await session.scalar(select(func.count()).select_from(kind)) or 0


def files_in(photo_dir: Path) -> list[Path]:
    return sorted(path for path in photo_dir.rglob("*.jpg"))


async def test_a_gateway_with_nothing_old_loses_nothing(running, phone, enrol, database):
    await enrol("Ada", make_photo(1))
    await search(phone, make_photo(2))

    assert await running.gateway.retention.preview() == NOTHING
    assert await running.gateway.retention.run() == NOTHING
    assert await count(database, Search) == 1


async def test_old_searches_go_with_their_verdicts_and_photos(
    running, phone, enrol, database, photo_dir
):
    person = await enrol("Ada", make_photo(1))
    old = await search(phone, make_photo(2))
    judged = {"person_id": person["id"], "verdict": "same"}
    await phone.post(f"{old.headers['location']}/feedback", json=judged)
    await age(database, Search)
    young = await search(phone, make_photo(3))

    assert (await phone.get(old.headers["location"])).status_code == 200
    swept = await running.gateway.retention.run()

    assert (swept.searches, swept.photos) == (1, 1)
    assert (await phone.get(old.headers["location"])).status_code == 404
    assert (await phone.get(young.headers["location"])).status_code == 200
    assert await count(database, Feedback) == 0
    assert len(files_in(photo_dir)) == 2


async def test_a_photo_that_somebody_is_enrolled_with_stays(
    running, phone, operator, enrol, database, photo_dir
):
    person = await enrol("Ada", make_photo(1))
    await search(phone, make_photo(1))
    await age(database, Search)

    swept = await running.gateway.retention.run()

    assert (swept.searches, swept.photos) == (1, 0)
    assert len(files_in(photo_dir)) == 1
    assert (await operator.get(f"/v1/persons/{person['id']}")).status_code == 200


async def test_a_photo_of_a_younger_search_stays(running, phone, database, photo_dir):
    old = await search(phone, make_photo(1))
    await age(database, Search)
    young = await search(phone, make_photo(1))

    swept = await running.gateway.retention.run()

    assert (swept.searches, swept.photos) == (1, 0)
    assert (await phone.get(old.headers["location"])).status_code == 404
    assert (await phone.get(young.headers["location"] + "/photo")).content


async def test_a_search_that_has_not_ended_stays_whatever_its_age(
    running, phone, inference, database
):
    inference.fail("match", internal_error)
    queued = await search(phone, make_photo(1))
    assert queued.json()["status"] == "queued"
    await age(database, Search)

    assert (await running.gateway.retention.run()).searches == 0
    async with database.write() as session:  # given up, and asked for again by an operator
        await session.execute(update(Search).values(status="failed"))
    assert (await running.gateway.retention.run()).searches == 0
    assert await count(database, Job) == 1


async def test_what_an_old_search_has_left_undone_is_closed(
    running, phone, operator, inference, database
):
    inference.fail("match", internal_error)
    await search(phone, make_photo(1))
    async with database.write() as session:
        await session.execute(update(Search).values(status="failed"))
        await session.execute(Job.__table__.delete())
    await age(database, Search)

    assert (await running.gateway.retention.run()).searches == 1
    (failure,) = (await operator.get("/v1/failures")).json()["failures"]
    assert failure["outcome"] == "expired"
    assert failure["resolved_at"]


async def test_settled_failures_and_removals_go_and_open_ones_stay(
    running, operator, enrol, database
):
    person = await enrol("Ada", make_photo(1))
    await operator.delete(f"/v1/persons/{person['id']}")
    settled = {"kind": "search", "reason": "r", "detail": "d", "request_id": "q"}
    async with database.write() as session:
        session.add(Failure(**settled, resolved_at=now(), outcome="done"))
        session.add(Failure(**settled))
        session.add(Removal(person_id=new_id(), key_id="k", photo_sha256s=[]))
    await age(database, Failure)
    await age(database, Removal)

    swept = await running.gateway.retention.run()

    assert (swept.failures, swept.removals) == (1, 1)
    assert (await count(database, Failure), await count(database, Removal)) == (1, 1)


@pytest.mark.parametrize(("role", "days"), [("operator", 1), ("mobile", 30)])
async def test_answers_kept_for_a_repetition_go_after_a_day_and_those_to_phones_after_30(
    running, database, role, days
):
    async with running.client(running.keys[role]) as caller:

        async def ask(key: str) -> str:
            files = {"photo": ("p.jpg", make_photo(1))}
            made = await caller.post("/v1/searches", files=files, headers={"Idempotency-Key": key})
            return str(made.json()["id"])

        first = await ask("old")
        await age(database, OneTime, by=timedelta(days=days, hours=-1))
        assert (await running.gateway.retention.run()).answers == 0
        assert await ask("old") == first
        await age(database, OneTime, by=timedelta(hours=2))
        await ask("new")
        assert (await running.gateway.retention.run()).answers == 1
        assert await count(database, OneTime) == 1


async def test_no_answer_is_kept_longer_than_its_search(environment):
    kept = AnswersKept.by(Settings.from_mapping({**environment, "RETENTION_DAYS": "2"}))

    assert (kept.usual, kept.phones) == (timedelta(days=1), timedelta(days=2))


def lay(photo_dir: Path, name: str, *, hours_old: float) -> Path:
    path = photo_dir / name[:2] / name[2:4] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"whose is it?")
    moment_s = time.time() - hours_old * 3600
    os.utime(path, (moment_s, moment_s))
    return path


async def test_files_without_a_row_go_unless_a_row_may_still_come(
    running, phone, database, photo_dir
):
    kept = await search(phone, make_photo(1))
    for path in files_in(photo_dir):
        os.utime(path, (0, 0))
    orphan = lay(photo_dir, "ab" * 32 + ".jpg", hours_old=2)
    arriving = lay(photo_dir, "cd" * 32 + ".jpg", hours_old=0.5)
    foreign = [lay(photo_dir, name, hours_old=9) for name in ("notes.txt", "ab" * 32 + ".gif")]

    assert (await running.gateway.retention.preview()).orphans == 1
    assert orphan.exists()
    assert (await running.gateway.retention.run()).orphans == 1

    assert not orphan.exists()
    assert all(path.exists() for path in (arriving, *foreign))
    assert (await phone.get(kept.headers["location"] + "/photo")).status_code == 200
    assert await count(database, Photo) == 1


async def test_a_photo_that_comes_while_its_orphan_is_swept_is_not_lost(running, phone, photo_dir):
    first = await search(phone, make_photo(1))
    (path,) = files_in(photo_dir)
    sha256, archive = path.stem, running.gateway.retention._archive
    (orphan,) = [name async for names in archive._store.files(time.time() + 9) for name in names]

    swept = await archive.sweep(orphan)

    assert (orphan.sha256, swept) == (sha256, False)
    assert (await phone.get(first.headers["location"] + "/photo")).status_code == 200


async def test_a_row_without_its_file_is_told_and_left(running, phone, database, photo_dir):
    await search(phone, make_photo(1))
    (path,) = files_in(photo_dir)
    path.unlink()

    for swept in (await running.gateway.retention.preview(), await running.gateway.retention.run()):
        assert swept.missing == [path.stem]
    assert await count(database, Photo) == 1


async def test_photos_that_a_broken_run_has_left_behind_go(running, phone, database, photo_dir):
    await search(phone, make_photo(1))
    async with database.write() as session:
        await session.execute(Job.__table__.delete())
        await session.execute(Search.__table__.delete())

    assert (await running.gateway.retention.preview()).photos == 1
    assert (await running.gateway.retention.run()).photos == 1
    assert files_in(photo_dir) == []


async def test_a_preview_counts_what_a_run_deletes_and_changes_nothing(
    running, phone, enrol, database, photo_dir
):
    await enrol("Ada", make_photo(1))
    for seed in (1, 2, 2, 3):
        await search(phone, make_photo(seed))
    await age(database, Search)
    lay(photo_dir, "ab" * 32 + ".jpg", hours_old=2)
    before = [await count(database, kind) for kind in (Search, Photo, Audit)]

    foreseen = await running.gateway.retention.preview()

    assert [await count(database, kind) for kind in (Search, Photo, Audit)] == before
    assert foreseen == await running.gateway.retention.run()
    assert astuple(foreseen)[:2] == (4, 2)


async def test_the_audit_stays_in_order_and_tells_of_the_run(running, phone, database):
    found = await search(phone, make_photo(1))
    await age(database, Search)
    before = await count(database, Audit)

    await running.gateway.retention.run()

    assert await count(database, Audit) == before + 1
    assert (await verify(database)).fault is None
    async with database.read() as session:
        rows = (await session.scalars(select(Audit).order_by(Audit.seq))).all()
    assert found.json()["id"] in {row.search_id for row in rows}
    assert (rows[-1].action, rows[-1].role, rows[-1].key_id) == ("expire", "system", None)


async def test_two_gateways_that_do_it_at_once_do_no_harm(running, phone, database):
    for seed in range(6):
        await search(phone, make_photo(seed))
    await age(database, Search)

    swept = await asyncio.gather(*(running.gateway.retention.run() for _ in range(3)))

    assert sum(one.searches for one in swept) == 6
    assert sum(one.photos for one in swept) == 6


async def test_without_an_end_to_the_days_searches_stay(environment, inference):
    environment["RETENTION_DAYS"] = "0"
    transport = httpx.ASGITransport(inference.app)
    async with (
        run_gateway(environment, transport) as running,
        running.client(running.keys["mobile"]) as phone,
    ):
        await search(phone, make_photo(1))
        await age(running.gateway.workers._database, Search, by=timedelta(days=5000))

        assert (await running.gateway.retention.run()).searches == 0


async def test_of_several_gateways_one_does_it_once_a_day(running, database):
    caretakers = [Caretaker(database, running.gateway.retention) for _ in range(3)]

    assert sorted(await asyncio.gather(*(one.look() for one in caretakers))) == [0, 0, 1]
    assert not await caretakers[0].look()
    await set_chore(database, done_at=now() - DAILY)
    assert await caretakers[1].look()


async def test_a_run_that_was_killed_is_taken_up_when_its_lease_is_over(running, database):
    caretaker = running.gateway.caretaker
    assert await caretaker._take("retention")

    assert not await caretaker.look()
    await set_chore(database, leased_until=now() - LEASE)
    assert await caretaker.look()


async def set_chore(database: Database, **values) -> None:
    async with database.write() as session:
        await session.execute(update(Chore).values(**values))


@ONE_ENGINE
async def test_the_command_counts_and_deletes(
    running, phone, database, environment, monkeypatch, capsys, photo_dir
):
    await search(phone, make_photo(1))
    await age(database, Search)
    for name in ("DATABASE_URL", "PHOTO_DIR"):
        monkeypatch.setenv(name, environment[name])

    assert await asyncio.to_thread(main, ["retention", "run", "--dry-run"]) == 0
    foreseen = capsys.readouterr().out
    assert await count(database, Search) == 1
    assert await asyncio.to_thread(main, ["retention", "run"]) == 0

    assert capsys.readouterr().out == foreseen
    assert foreseen.splitlines()[:2] == ["searches: 1", "photos: 1"]
    assert await count(database, Search) == 0
    assert files_in(photo_dir) == []
