"""Rows survive restarts, writers take turns, a missing database is told in our own words."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import httpx
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from gateway_server.database import Database
from gateway_server.paging import Cursor, read_page
from gateway_server.problems import DatabaseUnavailable, InvalidCursor
from gateway_server.tables import ApiKey, Failure, Person, Photo, Search, is_id, new_id
from tests.gateway_server.conftest import run_gateway, search
from tests.gateway_server.photos import make_photo


async def test_tables_are_made_once_however_many_start_together(bare_database_url):
    databases = [Database(bare_database_url) for _ in range(4)]

    await asyncio.gather(*(one.prepare() for one in databases))

    for one in databases:
        await one.ping()
        await one.close()


async def test_writers_take_turns(database_url):
    """Each reads a figure and writes it back one higher: no turn may be lost, on any engine."""
    databases = [Database(database_url) for _ in range(2)]
    await databases[0].prepare()
    async with databases[0].write() as session:
        session.add(Photo(sha256="a", media_type="image/jpeg", bytes=0, width=1, height=1))

    async def count_up(database: Database) -> None:
        for _ in range(10):
            async with database.write() as session:
                row = await session.get_one(Photo, "a", with_for_update=True)
                row.bytes += 1

    await asyncio.gather(*(count_up(one) for one in databases for _ in range(3)))

    async with databases[1].read() as session:
        assert (await session.get_one(Photo, "a")).bytes == 60
    for one in databases:
        await one.close()


async def test_a_moment_comes_back_in_utc(database):
    tokyo = datetime(2024, 2, 29, 9, 30, 0, 123456, tzinfo=timezone(timedelta(hours=9)))
    async with database.write() as session:
        session.add(ApiKey(id="k", name="n", role="mobile", secret_sha256="", created_at=tokyo))

    async with database.read() as session:
        row = await session.get_one(ApiKey, "k")

    assert row.created_at == tokyo
    assert row.created_at.tzinfo is UTC or row.created_at.utcoffset() == timedelta(0)


async def test_a_failed_transaction_leaves_nothing(database):
    async def fail():
        async with database.write() as session:
            session.add(ApiKey(id="k", name="n", role="mobile", secret_sha256=""))
            await session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        await fail()

    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(ApiKey)) == 0


async def test_a_search_without_its_photo_cannot_be_written(database):
    async def add():
        async with database.write() as session:
            session.add(ApiKey(id="k", name="n", role="mobile", secret_sha256=""))
            session.add(
                Search(
                    status="done",
                    key_id="k",
                    request_id="r",
                    photo_sha256="missing",
                    top_k=5,
                    model="base",
                )
            )

    with pytest.raises(IntegrityError):
        await add()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://nobody@127.0.0.1:9/nothing",
        "sqlite:////dev/null/gateway.db",
    ],
)
async def test_a_database_that_is_away_is_an_outage(url):
    database = Database(url)

    with pytest.raises(DatabaseUnavailable) as outage:
        await database.prepare()

    assert outage.value.status == 503
    assert "127.0.0.1" not in outage.value.detail
    await database.close()


async def test_a_defect_in_a_statement_is_no_outage(database):
    from sqlalchemy.exc import DBAPIError

    async def ask():
        async with database.write() as session:
            await session.execute(text("INSERT INTO api_key (id) VALUES (NULL)"))

    with pytest.raises(DBAPIError):
        await ask()


async def test_everything_survives_a_restart(environment, inference):
    transport = httpx.ASGITransport(inference.app)
    async with run_gateway(environment, transport) as running:
        key = running.keys["mobile"]
        async with running.client(key) as phone:
            before = await search(phone, make_photo(1))

    async with run_gateway(environment, transport) as running, running.client(key) as phone:
        after = await phone.get(before.headers["location"])
        photo = await phone.get(f"{before.headers['location']}/photo")

    assert after.json() == before.json()
    assert photo.content == make_photo(1)


async def test_pages_hold_every_row_once_though_all_are_of_one_moment(database):
    moment = datetime(2024, 2, 29, tzinfo=UTC)
    ids = {new_id() for _ in range(7)}
    async with database.write() as session:
        for one in ids:
            session.add(Person(id=one, name="n", search_text="n", created_at=moment))

    seen, cursor = [], None
    async with database.read() as session:
        for _ in range(4):
            page = await read_page(session, Person, [], cursor, 2)
            seen += [row.id for row in page.rows]
            cursor = page.next_cursor

    assert cursor is None
    assert len(seen) == 7
    assert set(seen) == ids


async def test_a_page_is_not_moved_by_what_is_new(database):
    def failure() -> Failure:
        return Failure(kind="search", reason="r", detail="d", request_id="q")

    async with database.write() as session:
        session.add_all([failure() for _ in range(4)])
    async with database.read() as session:
        first = await read_page(session, Failure, [], None, 2)
    async with database.write() as session:
        session.add_all([failure() for _ in range(3)])
    async with database.read() as session:
        second = await read_page(session, Failure, [], first.next_cursor, 2)

    assert {row.id for row in first.rows}.isdisjoint(row.id for row in second.rows)
    assert len(second.rows) == 2
    assert second.next_cursor is None


def test_a_cursor_comes_back():
    cursor = Cursor(datetime(2024, 2, 29, 12, tzinfo=UTC), new_id())

    assert Cursor.decode(cursor.encode()) == cursor


@pytest.mark.parametrize(
    "text", ["", "x", "%%%", "bnVsbA", "W10", "WzEsMl0", "e30", "IiI", "WyIiLCIiXQ", "é", "W" * 200]
)
def test_a_cursor_that_no_list_gave_is_refused(text):
    with pytest.raises(InvalidCursor):
        Cursor.decode(text)


@pytest.mark.parametrize(
    "text", ["", "x", "../..", "0190F0E4-8C1B-4A3D-9E2F-4B5C6D7E8F90", new_id() + "\n", "\0" * 36]
)
def test_what_is_no_id_is_told_apart(text):
    assert is_id(new_id())
    assert not is_id(text)
