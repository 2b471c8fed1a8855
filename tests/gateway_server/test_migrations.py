"""The schema: from nothing, from the first release with all its rows, and as tables.py has it."""

import json
from datetime import UTC, datetime

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from gateway_server.database import Database
from gateway_server.migrations import FIRST, current_version, newest_version, upgrade
from gateway_server.tables import Row
from tests.gateway_server.conftest import list_failures, run_gateway, until

THEN = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
PHOTO = b"\xff\xd8\xff\xe0 a photo of the first release"
SHA256 = "a" * 64
SEARCHES = {
    f"00000000-0000-4000-8000-00000000000{number}": status
    for number, status in enumerate(("running", "queued", "done", "failed"))
}
PERSON = "00000000-0000-4000-8000-00000000000a"
OTHER = "00000000-0000-4000-8000-00000000000b"
UNLIKELY = "00000000-0000-4000-8000-00000000000c"
FACES = {
    "00000000-0000-4000-8000-0000000000f0": "pending",
    "00000000-0000-4000-8000-0000000000f1": "enrolled",
}


@pytest.fixture
def database_url(bare_database_url: str) -> str:
    return bare_database_url


@pytest.fixture
async def opened(database_url: str, tmp_path):
    """The database as a release left it: no table yet."""
    (tmp_path / "data").mkdir()
    database = Database(database_url)
    yield database
    await database.close()


async def run(database: Database, work, *arguments):
    async with database.write() as session:
        return await (await session.connection()).run_sync(work, *arguments)


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Row.metadata))


def fill(connection: Connection) -> None:
    """Rows as the first release wrote them."""

    def insert(table: str, **values: object) -> None:
        names = ", ".join(values)
        slots = ", ".join(f":{name}" for name in values)
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({slots})"), values)

    moment = THEN if connection.dialect.name == "postgresql" else THEN.strftime("%F %T.%f")
    insert(
        "api_key", id="k", name="a phone", role="mobile", secret_sha256="0" * 64, created_at=moment
    )
    for sha256 in (SHA256, "b" * 64):
        photo = {"media_type": "image/jpeg", "bytes": len(PHOTO), "width": 1, "height": 1}
        insert("photo", sha256=sha256, created_at=moment, **photo)
    for search_id, status in SEARCHES.items():
        insert(
            "search",
            id=search_id,
            status=status,
            created_at=moment,
            key_id="k",
            request_id="from-then",
            photo_sha256=SHA256,
            top_k=5,
            model="heatmap",
            cached=False,
        )
    named = {"name": "Ada", "search_text": "ada"}
    insert("person", id=PERSON, created_at=moment, updated_at=moment, **named)
    for (face_id, status), sha256 in zip(FACES.items(), (SHA256, "b" * 64), strict=True):
        known = {"person_id": PERSON, "photo_sha256": sha256, "status": status}
        insert("face", id=face_id, created_at=moment, **known)


def read(connection: Connection, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.execute(text(query))]


async def test_from_nothing_to_the_newest_version(opened):
    await opened.prepare()

    assert await run(opened, current_version) == newest_version()
    assert await run(opened, differences) == []
    await opened.prepare()
    assert await run(opened, current_version) == newest_version()


async def test_step_by_step_it_comes_to_the_same(opened):
    await run(opened, upgrade, FIRST)
    assert await run(opened, current_version) == FIRST
    await run(opened, upgrade)

    assert await run(opened, differences) == []


@pytest.mark.parametrize("is_stamped", [True, False], ids=["0001", "before there were versions"])
async def test_what_the_first_release_left_undone_is_work_to_do(opened, is_stamped):
    await run(opened, upgrade, FIRST)
    if not is_stamped:
        await run(opened, lambda one: one.execute(text("DROP TABLE alembic_version")))
    await run(opened, fill)

    await opened.prepare()

    assert await run(opened, current_version) == newest_version()
    assert await run(opened, differences) == []
    statuses = dict(await run(opened, read, "SELECT id, status FROM search"))
    assert sorted(statuses.values()) == ["done", "failed", "queued", "queued"]
    jobs = await run(opened, read, "SELECT kind, subject_id, request_id, attempts, holder FROM job")
    pending = [face_id for face_id, status in FACES.items() if status == "pending"]
    assert sorted(jobs) == sorted(
        [("search", one, "from-then", 0, None) for one in list(SEARCHES)[:2]]
        + [("enrolment", one, "-", 0, None) for one in pending]
    )
    faces = await run(opened, read, "SELECT id, status FROM face ORDER BY id")
    assert faces == list(FACES.items())


async def test_a_gateway_finishes_what_the_first_release_left_undone(
    opened, environment, inference, photo_dir
):
    await run(opened, upgrade, FIRST)
    await run(opened, fill)
    for sha256 in (SHA256, "b" * 64):
        path = photo_dir / sha256[:2] / sha256[2:4] / f"{sha256}.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(PHOTO)
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["operator"]) as operator,
    ):

        async def are_done():
            ids = list(SEARCHES)[:2]
            found = [(await operator.get(f"/v1/searches/{one}")).json() for one in ids]
            person = (await operator.get(f"/v1/persons/{PERSON}")).json()
            statuses = [one["status"] for one in (*found, *person["faces"])]
            return statuses == ["done", "done", "enrolled", "enrolled"]

        await until(are_done)
        assert await list_failures(operator) == []

    assert list(inference.gallery[PERSON]) == list(FACES)[:1], "the other was there before"


async def test_earlier_searches_are_found_by_verdict_and_case(opened):
    answer = '{"verdict": "lead", "candidates": []}'
    search_id = next(iter(SEARCHES))
    await run(opened, upgrade, FIRST)
    await run(opened, fill)

    def answer_one(connection: Connection) -> None:
        told = text("UPDATE search SET answer=:a, case_reference=:c, status='done' WHERE id=:i")
        connection.execute(told, {"a": answer, "c": "ÄRA-7", "i": search_id})

    await run(opened, answer_one)
    await opened.prepare()

    found = await run(opened, read, "SELECT id, verdict, case_text FROM search ORDER BY id")
    assert found[0] == (search_id, "lead", "ära-7")
    assert {one[1:] for one in found[1:]} == {(None, None)}


async def test_an_upgrade_that_breaks_off_has_changed_nothing(opened):
    await run(opened, upgrade, FIRST)

    def break_off(connection: Connection) -> None:
        upgrade(connection)
        raise KeyError

    with pytest.raises(KeyError):
        await run(opened, break_off)

    assert await run(opened, current_version) == FIRST
    assert "job" not in await run(opened, lambda one: inspect(one).get_table_names())


def judge_in_the_past(connection: Connection) -> None:
    """Searches with one photo and what was said of their candidates, before there were leads."""

    def insert(table: str, **values: object) -> None:
        names = ", ".join(values)
        slots = ", ".join(f":{name}" for name in values)
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({slots})"), values)

    def at(minute: int) -> object:
        moment = THEN.replace(minute=minute)
        return moment if connection.dialect.name == "postgresql" else moment.strftime("%F %T.%f")

    for name, role in (("o", "operator"), ("p", "operator"), ("a", "admin")):
        secret = {"secret_sha256": "0" * 64, "created_at": at(0)}
        insert("api_key", id=name, name=name, role=role, **secret)
    candidates = [
        {"person_id": PERSON, "confidence": 0.9},
        {"person_id": OTHER, "confidence": 0.6},
        {"person_id": UNLIKELY, "confidence": 0.1},
        {"person_id": "deleted since", "confidence": 0.8},
    ]
    for person_id in (OTHER, UNLIKELY):
        named = {"name": "Bob", "search_text": "bob"}
        insert("person", id=person_id, created_at=at(0), updated_at=at(0), **named)
    done = json.dumps({"face": 0, "candidates": candidates})
    for minute, search_id in enumerate(SEARCHES):
        answered = text("UPDATE search SET status='done', answer=:a, created_at=:c WHERE id=:i")
        connection.execute(answered, {"a": done, "c": at(minute), "i": search_id})
    first, *_, last = SEARCHES
    said = [
        (first, PERSON, "o", "same", 32),
        (last, PERSON, "o", "different", 31),  # said before that, of a newer search
        (last, PERSON, "p", "same", 33),
        (last, PERSON, "k", "different", 34),  # a phone's
        (last, OTHER, "p", "unsure", 33),
        (last, UNLIKELY, "a", "different", 33),
    ]
    for number, (search_id, person_id, key_id, verdict, minute) in enumerate(said):
        about = {"search_id": search_id, "person_id": person_id, "key_id": key_id}
        insert("feedback", id=str(number), verdict=verdict, created_at=at(minute), **about)


async def test_what_was_judged_before_there_were_leads_is_known_to_them(opened):
    await run(opened, upgrade, "0005")
    await run(opened, fill)
    await run(opened, judge_in_the_past)

    await opened.prepare()

    columns = "person_id, status, waits, unsure, search_id"
    leads = await run(opened, read, f"SELECT {columns} FROM lead ORDER BY person_id")
    last = list(SEARCHES)[-1]
    assert [(one, status, bool(waits), *rest) for one, status, waits, *rest in leads] == [
        (PERSON, "confirmed", False, 0, last),
        (OTHER, "open", True, 1, last),
        (UNLIKELY, "different", False, 0, last),
    ]
    voices = await run(opened, read, "SELECT key_id, verdict FROM lead_voice")
    assert sorted(voices) == [("a", "different"), ("o", "same"), ("p", "same"), ("p", "unsure")]
    sides = "SELECT same_at = given_at, different_at = given_at FROM lead_voice ORDER BY verdict"
    known = [tuple(side and bool(side) for side in one) for one in await run(opened, read, sides)]
    assert known == [(None, True), (True, None), (True, None), (None, None)]
