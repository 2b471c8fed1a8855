"""Every access leaves a row, and no row can be changed, cut out or moved unnoticed."""

import asyncio
import re

import httpx
import pytest
from sqlalchemy import delete, select, text, update

from gateway_server.audit import Access, AuditLog, Wanted, append
from gateway_server.audit_chain import BEFORE_THE_FIRST, Entry, link, verify
from gateway_server.cli import main
from gateway_server.database import Database
from gateway_server.problems import DatabaseUnavailable
from gateway_server.tables import Audit, Search
from tests.gateway_server.conftest import ONE_ENGINE, Running, run_gateway, search, slug_of
from tests.gateway_server.fake_inference import FakeInference, internal_error
from tests.gateway_server.photos import make_photo

NOBODY = "00000000-0000-4000-8000-000000000000"


def routes(app) -> list[str]:
    return [
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
        if path.startswith("/v1/")
    ]


async def rows_of(running: Running) -> list[Audit]:
    async with running.gateway.workers._database.read() as session:
        return list(await session.scalars(select(Audit).order_by(Audit.seq)))


async def test_every_route_leaves_a_row_of_whoever_was_let_in(running: Running):
    async with running.client(running.keys["admin"]) as admin:
        for route in routes(running.app):
            method, path = route.split()
            before = await rows_of(running)
            answer = await admin.request(
                method, re.sub(r"{\w+}", NOBODY, path), headers={"X-Request-Id": "walk"}
            )
            (row,) = (await rows_of(running))[len(before) :]

            assert (row.key_id, row.role) == (running.keys["admin"].split("_")[1], "admin"), route
            assert row.request_id == "walk"
            if answer.status_code < 400:
                assert (row.outcome, row.reason) == ("allowed", None), route
            else:
                assert (row.outcome, row.reason) == ("refused", slug_of(answer)), route


async def test_every_route_leaves_a_row_of_whoever_was_not_let_in(running: Running):
    async with running.client(running.keys["mobile"]) as phone:
        for route in routes(running.app):
            method, path = route.split()
            before = await rows_of(running)
            answer = await phone.request(method, re.sub(r"{\w+}", NOBODY, path))
            (row,) = (await rows_of(running))[len(before) :]

            assert (row.role, row.outcome, row.reason) == ("mobile", "refused", slug_of(answer))


@ONE_ENGINE
async def test_strangers_reach_nothing_and_leave_no_row(running: Running):
    before = len(await rows_of(running))
    async with running.client(None) as stranger:
        await stranger.get(f"/v1/persons/{NOBODY}")

    assert len(await rows_of(running)) == before


async def test_a_search_leaves_one_row_and_its_photo_another(running, phone, enrol):
    await enrol("Ada", make_photo(1))
    before = len(await rows_of(running))

    found = await search(phone, make_photo(2), purpose="case 7", case_reference="secret")
    address = found.headers["location"]
    await phone.get(address)
    await phone.get(f"{address}/photo")
    await phone.get(f"{address}/heatmap")
    person_id = found.json()["candidates"][0]["person_id"]
    await phone.get(f"{address}/candidates/{person_id}/heatmap")
    judged = {"person_id": person_id, "verdict": "same"}
    await phone.post(f"{address}/feedback", json=judged)

    rows = (await rows_of(running))[before:]
    assert [row.action for row in rows] == [
        "search",
        "read",
        "photo",
        "heatmap",
        "heatmap",
        "judge",
    ]
    assert {row.search_id for row in rows} == {found.json()["id"]}
    assert [row.person_id for row in rows] == [None] * 4 + [person_id] * 2
    assert {row.outcome for row in rows} == {"allowed"}
    searched, _, seen, explained, matched, _ = rows
    assert searched.purpose == "case 7"
    assert searched.photo_sha256 == seen.photo_sha256 == explained.photo_sha256
    assert matched.photo_sha256 != searched.photo_sha256


async def test_what_is_done_to_a_person_can_be_read_of_them(running, operator, enrol):
    person = await enrol("Ada", make_photo(1), notes="secret")
    address = f"/v1/persons/{person['id']}"
    await operator.get(address)
    await operator.patch(address, json={"notes": "another secret"})
    files = {"photo": ("p.jpg", make_photo(2))}
    face = (await operator.post(f"{address}/faces", files=files)).json()
    await operator.delete(f"{address}/faces/{face['face_id']}")
    await operator.delete(address)
    await operator.get(address)

    rows = [row for row in await rows_of(running) if row.person_id == person["id"]]
    assert [(row.action, row.outcome) for row in rows] == [
        ("create", "allowed"),
        ("read", "allowed"),
        ("change", "allowed"),
        ("create", "allowed"),
        ("delete", "allowed"),
        ("delete", "allowed"),
        ("read", "refused"),
    ]
    assert rows[3].subject_id == rows[4].subject_id == face["face_id"]
    assert rows[0].photo_sha256
    assert not any("secret" in str(vars(row)) or "Ada" in str(vars(row)) for row in rows)


async def test_reaching_for_anothers_search_is_told(running, phone):
    found = await search(phone, make_photo(1))
    keyring = running.gateway.keyring
    async with running.client(await keyring.create("another phone", "mobile")) as other:
        for part in ("", "/photo", "/events"):
            answer = await other.get(found.headers["location"] + part)
            assert slug_of(answer) == "search-not-found"

    rows = (await rows_of(running))[-3:]
    assert {row.search_id for row in rows} == {found.json()["id"]}
    assert {(row.outcome, row.reason) for row in rows} == {("refused", "search-not-found")}


@ONE_ENGINE
async def test_a_repeated_request_names_what_it_is_answered_of(running, phone):
    keyed = {"Idempotency-Key": "once"}
    files = {"photo": ("p.jpg", make_photo(1))}
    first = await phone.post("/v1/searches", files=files, headers=keyed)
    again = await phone.post("/v1/searches", files=files, headers=keyed)

    assert again.headers["idempotent-replayed"] == "true"
    rows = [row for row in await rows_of(running) if row.search_id == first.json()["id"]]
    assert [row.action for row in rows] == ["search", "search"]


@ONE_ENGINE
async def test_an_outage_behind_the_gateway_is_a_failed_access(
    running, phone, inference: FakeInference
):
    found = await search(phone, make_photo(1))
    inference.fail("*", internal_error)
    await phone.get(found.headers["location"] + "/heatmap")

    row = (await rows_of(running))[-1]
    assert (row.outcome, row.reason) == ("failed", "inference-unavailable")


@ONE_ENGINE
async def test_a_defect_of_ours_is_a_failed_access(running, phone, monkeypatch):
    def break_down(*_args, **_kwargs):
        raise ZeroDivisionError

    found = await search(phone, make_photo(1))
    monkeypatch.setattr(running.gateway.search_reader, "get", break_down)
    answer = await phone.get(found.headers["location"])

    row = (await rows_of(running))[-1]
    assert answer.status_code == 500
    assert (row.outcome, row.reason) == ("failed", "internal-error")


async def test_without_a_row_there_is_no_answer(running, phone, operator, enrol):
    found = await search(phone, make_photo(1))
    async with running.gateway.workers._database.write() as session:
        await session.execute(text("ALTER TABLE audit RENAME TO elsewhere"))

    read = await phone.get(found.headers["location"])
    made = await search(phone, make_photo(2))
    changed = await operator.post("/v1/persons", data={"name": "Ada"}, files=[_photo()])

    assert {one.status_code for one in (read, made, changed)} <= {500, 503}
    async with running.gateway.workers._database.write() as session:
        await session.execute(text("ALTER TABLE elsewhere RENAME TO audit"))
    listed = (await operator.get("/v1/persons")).json()["persons"]
    assert listed == []
    async with running.gateway.workers._database.read() as session:
        assert len((await session.scalars(select(Search))).all()) == 1


def _photo():
    return ("photos[]", ("face.jpg", make_photo(3)))


async def test_an_audit_that_is_away_refuses_the_access():
    log = AuditLog(Database("postgresql://nobody@127.0.0.1:9/nothing"))
    access = Access("read", "key", "mobile")

    async def reach():
        async with log.recorded(access):
            return "an answer"

    with pytest.raises(DatabaseUnavailable):
        await reach()


async def test_rows_that_come_together_share_a_transaction_and_one_chain(database: Database):
    log = AuditLog(database)

    await asyncio.gather(*(log.keep(entry(f"r{number}")) for number in range(40)))

    found = await verify(database)
    assert (found.rows, found.fault) == (40, None)


async def test_a_row_is_kept_though_whoever_waits_for_it_has_left(database: Database):
    log = AuditLog(database)
    waiting = [asyncio.create_task(log.keep(entry(f"r{number}"))) for number in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[3].cancel()
    ended = await asyncio.gather(*waiting, return_exceptions=True)

    await log.keep(entry("last"))
    assert [one for one in ended if not isinstance(one, asyncio.CancelledError)] == [None] * 3
    assert (await verify(database)).rows == 6


async def test_several_gateways_write_one_chain(database_url):
    databases = [Database(database_url) for _ in range(3)]
    await databases[0].prepare()
    logs = [AuditLog(one) for one in databases]

    async def work(database: Database) -> None:
        async with database.write() as session:
            await append(session, "change", person_id=NOBODY)

    await asyncio.gather(
        *(log.keep(entry("r")) for log in logs for _ in range(10)),
        *(work(database) for database in databases for _ in range(5)),
    )

    found = await verify(databases[0])
    assert (found.rows, found.fault) == (45, None)
    for one in databases:
        await one.close()


async def test_a_transaction_that_fails_leaves_no_row(database: Database):
    async def fail():
        async with database.write() as session:
            await append(session, "change", person_id=NOBODY)
            raise KeyError

    access = Access("change", "key", "operator")
    with pytest.raises(KeyError):
        async with AuditLog(database).recorded(access):
            await fail()

    (row,) = (await AuditLog(database).list(Wanted(), None, 10)).rows
    assert (row.outcome, row.reason) == ("failed", "internal-error")


def entry(request_id: str) -> Entry:
    return Entry("key", "mobile", "read", request_id, "allowed")


@pytest.fixture
async def chain(database: Database) -> Database:
    for number in range(1, 6):
        async with database.write() as session:
            await link(session, [entry(f"r{number}")])
    return database


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (update(Audit).where(Audit.seq == 3).values(outcome="refused"), "row 3 was changed"),
        (update(Audit).where(Audit.seq == 3).values(person_id=NOBODY), "row 3 was changed"),
        (update(Audit).where(Audit.seq == 3).values(sha256="0" * 64), "row 3 was changed"),
        (delete(Audit).where(Audit.seq == 2), "row 2 is missing: the next is row 3"),
        (delete(Audit).where(Audit.seq == 1), "row 1 is missing: the next is row 2"),
        (update(Audit).where(Audit.seq == 5).values(seq=9), "row 5 is missing: the next is row 9"),
    ],
)
async def test_damage_is_named_by_the_first_row_that_it_shows_in(chain: Database, damage, fault):
    assert (await verify(chain)).fault is None
    async with chain.write() as session:
        await session.execute(damage)

    assert fault in ((await verify(chain)).fault or "")


async def test_rows_that_have_changed_places_are_named(chain: Database):
    async with chain.write() as session:
        for old, new in ((4, 99), (5, 4), (99, 5)):
            await session.execute(update(Audit).where(Audit.seq == old).values(seq=new))

    assert "row 4 does not follow the one before it" in ((await verify(chain)).fault or "")


async def test_an_end_that_was_cut_off_shows_by_the_noted_head(chain: Database):
    head = (await verify(chain)).head
    async with chain.write() as session:
        await session.execute(delete(Audit).where(Audit.seq == 5))

    assert (await verify(chain)).fault is None
    assert "the end was cut off" in ((await verify(chain, head)).fault or "")


async def test_a_head_that_was_noted_stays_in_the_chain(chain: Database):
    noted = (await verify(chain)).head
    async with chain.write() as session:
        await link(session, [entry("r6")])

    assert (await verify(chain, noted)).fault is None
    assert (await verify(chain, "f" * 64)).fault


async def test_a_chain_without_rows_is_in_order(database: Database):
    found = await verify(database)

    assert (found.rows, found.head, found.fault) == (0, BEFORE_THE_FIRST, None)


async def test_admins_read_the_audit_page_by_page(running, operator, enrol):
    person = await enrol("Ada", make_photo(1))
    for _ in range(4):
        await operator.get(f"/v1/persons/{person['id']}")

    async with running.client(running.keys["admin"]) as admin:
        asked = {"person_id": person["id"], "limit": 2}
        first = (await admin.get("/v1/audit", params=asked)).json()
        asked["cursor"] = first["next_cursor"]
        second = (await admin.get("/v1/audit", params=asked)).json()
        later = await admin.get("/v1/audit", params={"since": "2999-01-01"})
        wrong = [await admin.get("/v1/audit", params={"since": said}) for said in ("yesterday", "")]
        crooked = await admin.get("/v1/audit", params={"cursor": "WyIiXQ"})

    rows = [*first["rows"], *second["rows"]]
    assert [row["action"] for row in rows] == ["read"] * 4
    assert [row["seq"] for row in rows] == sorted((row["seq"] for row in rows), reverse=True)
    assert later.json() == {"rows": [], "next_cursor": None}
    assert [slug_of(answer) for answer in wrong] == ["invalid-date"] * 2
    assert slug_of(crooked) == "invalid-cursor"


@ONE_ENGINE
async def test_the_commands_verify_and_list(environment, inference, monkeypatch, capsys):
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["mobile"]) as phone,
    ):
        found = await search(phone, make_photo(1), purpose="case 7")
    monkeypatch.setenv("DATABASE_URL", environment["DATABASE_URL"])

    assert await asyncio.to_thread(main, ["audit", "verify"]) == 0
    told = capsys.readouterr().out
    assert "rows in order, head " in told
    head = told.split()[-1]
    assert await asyncio.to_thread(main, ["audit", "verify", "--head", head]) == 0
    assert await asyncio.to_thread(main, ["audit", "verify", "--head", "0" * 64]) == 1
    capsys.readouterr()
    assert await asyncio.to_thread(main, ["audit", "list", "--search", found.json()["id"]]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert all(word in line for word in ("mobile", "search", "allowed", "purpose case 7"))
    assert await asyncio.to_thread(main, ["audit", "list", "--since", "then"]) == 1
    assert "`since` is 'then'" in capsys.readouterr().err


@ONE_ENGINE
async def test_a_phone_that_hangs_up_leaves_a_row(running):
    key = running.keys["mobile"]
    headers = [
        (b"authorization", f"Bearer {key}".encode()),
        (b"content-type", b"multipart/form-data; boundary=x"),
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/searches",
        "raw_path": b"/v1/searches",
        "query_string": b"",
        "headers": headers,
    }

    async def hang_up():
        return {"type": "http.disconnect"}

    async def send(_message):
        raise AssertionError("nobody is there")

    await running.app(scope, hang_up, send)

    row = (await rows_of(running))[-1]
    assert (row.action, row.outcome, row.reason) == ("search", "failed", "client-disconnected")


async def test_verdicts_and_new_secrets_do_not_hold_each_other_up(running, phone, enrol):
    """Both write the chain; a verdict also refers to the key's row, which a rotation holds."""
    person = await enrol("Ada", make_photo(1))
    found = await search(phone, make_photo(1))
    keyring, reader = running.gateway.keyring, running.gateway.search_reader
    caller = await keyring.identify(running.keys["mobile"])

    await asyncio.gather(
        *(
            reader.judge(found.json()["id"], person["id"], verdict, caller)
            for verdict in ("same", "different", "unsure") * 4
        ),
        *(keyring.rotate(caller.key_id, grace_s=60) for _ in range(12)),
    )

    async with running.gateway.workers._database.read() as session:
        rows = (await session.scalars(select(Audit.action))).all()
    assert (rows.count("judge"), rows.count("key.rotate")) == (12, 12)
