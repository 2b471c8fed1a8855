"""PostgreSQL: every transaction locks its rows in the one order that tables.py names."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, event, select, update
from sqlalchemy import text as sql

from gateway_server import audit_chain, removals
from gateway_server.database import Database
from gateway_server.imports.importer import Importer
from gateway_server.jobs import JobQueue, LeaseLost
from gateway_server.tables import ImportRow, ImportRun, Job, Search, new_id, now
from tests.gateway_server.conftest import (
    RETRIED_SOON,
    list_failures,
    run_gateway,
    search,
    until,
)
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.import_files import (
    ended,
    import_all,
    make_archive,
    make_table,
    post_import,
    reason,
)
from tests.gateway_server.photos import make_photo

pytestmark = [
    RETRIED_SOON,
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
]
ORDER = (
    ("import_run",), ("person",), ("photo",), ("search", "face", "removal"), ("lead",),
    ("import_row",), ("failure",), ("job",), ("audit's end",),
)  # fmt: skip
RANKS = {table: rank for rank, tables in enumerate(ORDER) for table in tables}
AUDIT_LOCK = audit_chain._CHAIN_LOCK
WAITING = """
    SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE NOT granted AND datname = current_database()
"""
LOCKING = re.compile(
    r"(?:UPDATE|DELETE FROM) (\w+)"
    r"|INSERT INTO (\w+).* ON CONFLICT"  # waits for whoever is about to insert the same
    r"|SELECT .*\sFROM (\w+).* FOR (?:NO KEY )?UPDATE$"
    r"|SELECT .*?\sFROM (\w+).* SKIP LOCKED$",
    re.DOTALL,
)


@pytest.fixture
def transactions() -> Iterator[Sequence[Sequence[str]]]:
    """Of each transaction, the tables of which it has locked rows, by their first."""
    seen: list[list[str]] = []

    def begin(connection: Any) -> None:
        connection.info["locked"] = []
        seen.append(connection.info["locked"])

    def note(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        table = _locked_by(statement)
        if table in RANKS and table not in connection.info["locked"]:
            connection.info["locked"].append(table)

    event.listen(Engine, "begin", begin)
    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "begin", begin)
    event.remove(Engine, "before_cursor_execute", note)


def _locked_by(statement: str) -> str | None:
    if f"({AUDIT_LOCK})" in statement:
        return "audit's end"
    found = LOCKING.match(statement)
    return next(filter(None, found.groups())) if found else None


def out_of_order(transactions: Sequence[Sequence[str]]) -> set[tuple[str, ...]]:
    return {
        tuple(locked)
        for locked in transactions
        if any(RANKS[one] > RANKS[other] for one, other in pairwise(locked))
    }


async def test_every_transaction_locks_in_one_order(
    environment, inference, transactions, photo_dir
):
    environment |= {"JOB_ATTEMPTS": "2", "IMPORT_BATCH": "2"}
    faceless = make_photo(9)
    inference.refuse(faceless, "no-face")
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["operator"]) as operator,
    ):
        gateway = running.gateway
        ada = await register(operator, 1, 2)
        found = await search(operator, make_photo(1))
        said = {"person_id": ada.rpartition("/")[2], "verdict": "same"}
        await operator.post(f"{found.headers['location']}/feedback", json=said)
        await search(operator, faceless)
        rows = [
            {"name": "Ada", "reference": "1", "photo": f"{seed}.jpg"} for seed in (3, 4, 9, 9, 5)
        ]
        photos = {f"{seed}.jpg": make_photo(seed) for seed in (3, 4, 5)} | {"9.jpg": faceless}
        run, told = await import_all(operator, make_table(rows), photos)
        await import_all(operator, make_table(rows[:2]), photos)
        inference.fail("*", internal_error)
        await search(operator, make_photo(6))
        await operator.post(f"{ada}/faces", files={"photo": make_photo(7)})
        await operator.patch(ada, json={"status": "found"})
        inference.recover()
        await operator.post("/v1/failures/retry")

        async def is_settled():
            return not await list_failures(operator, open=True)

        await until(is_settled)
        await operator.patch(ada, json={"status": "missing"})
        face = (await operator.get(ada)).json()["faces"][0]["face_id"]
        await operator.delete(f"{ada}/faces/{face}")
        bob = (await register(operator, 1, 8)).rpartition("/")[2]
        await search(operator, make_photo(8))
        merged = await operator.post(f"{ada}/merge", json={"from": bob})
        assert merged.status_code in {200, 202}, merged.text
        await operator.delete(ada)
        await operator.delete(f"/v1/persons/{told[0]['person_id']}")
        await gateway.queue.renew(await gateway.queue.claim(9))
        await make_old(gateway.queue._database)
        await gateway.retention.run()

    assert run["status"] == "done"
    locked = {table for one in transactions for table in one}
    assert set(RANKS) <= locked, "the scenario reaches for every table"
    assert out_of_order(transactions) == set()


async def register(operator: httpx.AsyncClient, *seeds: int) -> str:
    files = [("photos[]", ("p.jpg", make_photo(seed))) for seed in seeds]
    answer = await operator.post("/v1/persons", data={"name": "Bob"}, files=files)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def make_old(database: Database) -> None:
    long_ago = now() - timedelta(days=99)
    for aged in (
        update(Search).values(created_at=long_ago),
        update(ImportRun).values(finished_at=long_ago),
    ):
        async with database.write() as session:
            await session.execute(aged)


async def somebody_waits(database: Database) -> bool:
    async with database.read() as session:
        return bool(await session.scalar(sql(WAITING)))


async def test_a_job_that_ends_while_it_is_asked_for_again_is_made_anew(database, monkeypatch):
    """It is there when it is asked for, and gone before it is locked."""
    queue, subject = JobQueue(database, 30, 60), new_id()
    async with database.write() as session:
        claim = await queue.add(session, "enrolment", subject, held=True)

    async def end() -> None:
        with suppress(LeaseLost):
            async with database.write() as session:
                await queue.finish(session, claim)

    ending: asyncio.Task[None] | None = None
    async with database.write() as session:
        read = session.scalars

        async def read_after_the_end(query: Any) -> Any:
            nonlocal ending
            ending = asyncio.create_task(end())

            async def has_ended_or_waits() -> bool:
                return ending.done() or await somebody_waits(database)

            await until(has_ended_or_waits)
            return await read(query)

        monkeypatch.setattr(session, "scalars", read_after_the_end)
        again = await queue.add(session, "enrolment", subject, held=False)

    assert ending
    await ending
    assert again.subject_id == subject
    async with database.read() as session:
        assert [job.holder for job in await session.scalars(select(Job))] == [None]


@pytest.mark.parametrize("third", [make_photo(3), b""], ids=["good", "refused"])
async def test_a_deletion_and_an_import_of_the_same_person_never_wait_for_each_other(
    environment, inference, monkeypatch, third
):
    """The deletion has the person, and the import's next batch is about to take them."""
    environment |= {"IMPORT_BATCH": "2"}
    check, forget = Importer._check, removals.forget_person
    has_the_person, may_go_on = asyncio.Event(), asyncio.Event()

    async def check_the_third_late(importer: Importer, source: Any, row: ImportRow, *rest: Any):
        if row.file == "3.jpg":
            await has_the_person.wait()
        return await check(importer, source, row, *rest)

    async def forget_late(*args: Any) -> None:
        has_the_person.set()
        await may_go_on.wait()
        await forget(*args)

    monkeypatch.setattr(Importer, "_check", check_the_third_late)
    monkeypatch.setattr(removals, "forget_person", forget_late)
    photos = {f"{number}.jpg": make_photo(number) for number in (1, 2, 3, 4)} | {"3.jpg": third}
    table = make_table([{"name": "Ada", "photo": name} for name in photos])
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["operator"]) as operator,
    ):
        begun = await post_import(operator, table, make_archive(photos))

        async def the_person():
            return (await operator.get("/v1/persons")).json()["persons"]

        (person,) = await until(the_person)
        deleting = asyncio.ensure_future(operator.delete(f"/v1/persons/{person['id']}"))

        await until(partial(somebody_waits, running.gateway.queue._database))
        may_go_on.set()
        run = await ended(operator, begun.headers["location"])
        rows = (await operator.get(f"{begun.headers['location']}/rows")).json()["rows"]

        assert (await deleting).status_code in {200, 202}
        assert [reason(row) for row in rows] == [None, None, *["person-not-found"] * 2]
        assert run["status"] == "done"
        assert await the_person() == []
