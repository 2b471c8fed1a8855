"""Many people at a time: each row is worked off once, whatever dies meanwhile, and told of."""

import asyncio
import gc
import hashlib
from contextlib import suppress

import httpx
import pytest
from sqlalchemy import select

from gateway_server.imports import staging
from gateway_server.problems import PhotoStoreUnavailable
from gateway_server.tables import Audit, Face, ImportRow, Job
from tests.gateway_server.conftest import ONE_ENGINE, RETRIED_SOON, run_gateway, slug_of, until
from tests.gateway_server.fake_inference import FakeInference, internal_error
from tests.gateway_server.import_files import (
    ended,
    import_all,
    make_archive,
    make_table,
    post_import,
    reason,
)
from tests.gateway_server.photos import make_photo

pytestmark = RETRIED_SOON


def many(rows: int, photos_each: int = 2) -> tuple[bytes, dict[str, bytes]]:
    """A table of people with several photos each, and their photos."""
    photos = {f"p/{seed}.jpg": make_photo(seed) for seed in range(1, rows + 1)}
    named = [
        {"name": f"Person {index // photos_each}", "reference": "", "photo": name}
        for index, name in enumerate(photos)
    ]
    return make_table(named), photos


async def all_persons(operator: httpx.AsyncClient) -> list[dict]:
    listed = (await operator.get("/v1/persons", params={"limit": 200})).json()["persons"]
    return sorted(listed, key=lambda one: one["name"])


async def test_a_table_and_an_archive_become_people(operator, inference, environment):
    details = {"birth_date": "1815-12-10", "missing_since": "1852-11-27", "notes": "tall\nbrave"}
    rows = [
        {"name": "Ada", "reference": "17", **details, "photo": "ada/1.jpg"},
        {"name": "Ada L.", "reference": "17", "photo": "ada/2.jpg"},
        {"name": "Bob", "photo": "bob.png"},
        {"name": "Bob", "photo": "Zoë.webp"},
    ]
    photos = {
        "ada/1.jpg": make_photo(1),
        "ada/2.jpg": make_photo(2),
        "bob.png": make_photo(3, kind="PNG"),
        "Zoë.webp": make_photo(4, kind="WEBP"),
    }

    run, told = await import_all(operator, make_table(rows, list(rows[0])), photos)

    ada, bob = await all_persons(operator)
    assert (ada["name"], bob["name"]) == ("Ada", "Bob")
    assert {name: ada[name] for name in details} == details
    assert [len(one["faces"]) for one in (ada, bob)] == [2, 2]
    assert [row["person_id"] for row in told] == [ada["id"]] * 2 + [bob["id"]] * 2
    assert [(row["row"], row["outcome"], row["file"]) for row in told] == [
        (2, "enrolled", "ada/1.jpg"),
        (3, "enrolled", "ada/2.jpg"),
        (4, "enrolled", "bob.png"),
        (5, "enrolled", "Zoë.webp"),
    ]
    assert (run["status"], run["total"], run["progress"]) == ("done", 4, 1.0)
    assert run["rows"]["enrolled"] == 4
    enrolled = {sha256 for faces in inference.gallery.values() for sha256 in faces.values()}
    assert enrolled == {hashlib.sha256(photo).hexdigest() for photo in photos.values()}


async def test_each_bad_row_has_its_reason_and_stops_no_other(operator, inference):
    good, faceless, broken = make_photo(1), make_photo(2), make_photo(3)[:40]
    inference.refuse(faceless, "no-face")
    rows = [
        ({"name": "Ada", "photo": "good.jpg"}, None),
        ({"name": "", "photo": "good.jpg"}, "invalid-name"),
        ({"name": "Bob", "photo": ""}, "photo-missing"),
        ({"name": "Bob", "photo": "none.jpg"}, "photo-not-in-import"),
        ({"name": "Bob", "photo": "../good.jpg"}, "unsafe-path"),
        ({"name": "Bob", "photo": "broken.jpg"}, "unreadable-image"),
        ({"name": "Bob", "photo": "text.jpg"}, "unsupported-image-type"),
        ({"name": "Bob", "photo": "empty.jpg"}, "empty-photo"),
        ({"name": "Bob", "photo": "faceless.jpg"}, "no-face"),
        ({"name": "Bob", "photo": "large.jpg"}, "photo-too-large"),
        ({"name": "Bob", "birth_date": "yesterday", "photo": "good.jpg"}, "invalid-date"),
        ({"name": "B\0b", "photo": "good.jpg"}, "invalid-text"),
        ({"name": "x" * 201, "photo": "good.jpg"}, "field-too-long"),
        ({"name": "=1+1", "photo": "good.jpg"}, None),
    ]
    photos = {
        "good.jpg": good,
        "faceless.jpg": faceless,
        "broken.jpg": broken,
        "text.jpg": b"=HYPERLINK()" * 10,
        "empty.jpg": b"",
        "large.jpg": make_photo(5) + bytes(120_000),
    }
    columns = ["name", "birth_date", "photo"]

    run, told = await import_all(operator, make_table([row for row, _ in rows], columns), photos)

    assert [reason(row) for row in told] == [why for _, why in rows]
    assert (run["status"], run["rows"]["refused"]) == ("done", 12)
    names = [person["name"] for person in await all_persons(operator) if person["faces"]]
    assert names == ["=1+1", "Ada"]


async def test_only_the_rows_of_one_outcome_are_listed_page_by_page(operator):
    table = make_table([{"name": "Ada", "photo": "none.jpg"}] * 5)
    answer = await post_import(operator, table, make_archive({"a.jpg": make_photo(1)}))
    await ended(operator, answer.headers["location"])
    address = f"{answer.headers['location']}/rows"

    seen, cursor = [], {}
    for _ in range(3):
        query = {"outcome": "refused", "limit": 2, **cursor}
        page = (await operator.get(address, params=query)).json()
        seen += [row["row"] for row in page["rows"]]
        cursor = {"cursor": page["next_cursor"]}

    assert (seen, cursor) == ([2, 3, 4, 5, 6], {"cursor": None})
    none = await operator.get(address, params={"outcome": "enrolled"})
    assert none.json() == {"rows": [], "next_cursor": None}
    wrong = await operator.get(address, params={"outcome": "lost"})
    assert slug_of(wrong) == "invalid-parameter"
    listed = (await operator.get("/v1/imports")).json()["imports"]
    assert [one["rows"]["refused"] for one in listed] == [5]


async def test_the_same_photo_of_the_same_person_is_enrolled_once(operator, inference):
    table = make_table([{"name": "Ada", "reference": "17", "photo": "a.jpg"}] * 3)
    photos = {"a.jpg": make_photo(1)}

    _, first = await import_all(operator, table, photos)
    run, again = await import_all(operator, table, photos)

    assert [row["outcome"] for row in first] == ["enrolled", "duplicate", "duplicate"]
    assert [row["outcome"] for row in again] == ["duplicate"] * 3
    assert {row["person_id"] for row in (*first, *again)} == set(inference.gallery)
    assert (run["rows"]["duplicate"], inference.called("enrol")) == (3, 1)


async def test_a_photo_of_two_people_is_enrolled_for_both_and_warned_of(operator, enrol):
    ada = await enrol("Ada", make_photo(1))
    rows = [{"name": "Bob", "photo": "a.jpg"}, {"name": "Eve", "photo": "b.jpg"}]
    rows.append({"name": "Zoe", "photo": "b.jpg"})

    photos = {"a.jpg": make_photo(1), "b.jpg": make_photo(2)}
    run, told = await import_all(operator, make_table(rows), photos)

    assert [row["outcome"] for row in told] == ["enrolled"] * 3
    assert [row["also_of"] for row in told] == [ada["id"], None, told[1]["person_id"]]
    assert run["rows"]["also_of"] == 2
    address = f"/v1/imports/{run['id']}/rows"
    warned = (await operator.get(address, params={"outcome": "also_of"})).json()["rows"]
    assert [row["row"] for row in warned] == [2, 4]


async def test_a_reference_names_a_person_who_is_there_and_never_one_of_several(operator, enrol):
    ada = await enrol("Ada", make_photo(1), reference="17")
    for seed in (2, 3):
        await enrol("Bob", make_photo(seed), reference="twice")
    rows = [
        {"name": "Ada", "reference": "17", "photo": "a.jpg"},
        {"name": "Bob", "reference": "twice", "photo": "a.jpg"},
        {"name": "Ada", "reference": "", "photo": "a.jpg"},
    ]

    _, told = await import_all(operator, make_table(rows), {"a.jpg": make_photo(4)})

    assert told[0]["person_id"] == ada["id"]
    assert reason(told[1]) == "ambiguous-reference"
    assert told[2]["person_id"] != ada["id"]


async def test_a_found_person_gets_a_withdrawn_face(operator, enrol, inference):
    ada = await enrol("Ada", make_photo(1), reference="17")
    await operator.patch(f"/v1/persons/{ada['id']}", json={"status": "found"})
    table = make_table([{"name": "Ada", "reference": "17", "photo": "a.jpg"}])

    _, told = await import_all(operator, table, {"a.jpg": make_photo(2)})

    read = (await operator.get(f"/v1/persons/{ada['id']}")).json()
    assert [face["status"] for face in read["faces"]] == ["withdrawn", "withdrawn"]
    assert told[0]["outcome"] == "enrolled"
    assert inference.gallery[ada["id"]] == {}


async def test_what_was_deleted_since_is_told_without_what_it_was(operator, running):
    table = make_table([{"name": "Ada", "reference": "17", "photo": "ada.jpg"}])
    run, told = await import_all(operator, table, {"ada.jpg": make_photo(1)})

    await operator.delete(f"/v1/persons/{told[0]['person_id']}")

    (row,) = (await operator.get(f"/v1/imports/{run['id']}/rows")).json()["rows"]
    assert (row["outcome"], row["reference"], row["file"]) == ("deleted", None, None)
    assert (await operator.get(f"/v1/imports/{run['id']}")).json()["rows"]["deleted"] == 1


async def test_a_person_who_is_deleted_meanwhile_does_not_come_back(environment, inference):
    environment |= {"IMPORT_BATCH": "1"}
    table, photos = many(6, photos_each=6)
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["operator"]) as operator,
    ):
        deleted = asyncio.Event()

        async def delete_at_once(operation):
            if operation == "enrol" and not deleted.is_set():
                deleted.set()
                (person,) = await all_persons(operator)
                await operator.delete(f"/v1/persons/{person['id']}")

        inference.before_answer = delete_at_once
        run, told = await import_all(operator, table, photos)

        assert run["status"] == "done"
        outcomes = {row["outcome"] for row in told}  # refused: those that were read only afterwards
        assert "deleted" in outcomes
        assert outcomes <= {"deleted", "refused"}
        assert {reason(row) for row in told} <= {None, "person-not-found"}
        assert await all_persons(operator) == []


async def test_a_repeated_post_begins_no_second_import(operator, inference):
    table, photos = many(3)
    archive, key = make_archive(photos), {"Idempotency-Key": "monday"}

    first = await post_import(operator, table, archive, **key)
    again = await post_import(operator, table, archive, **key)
    other = await post_import(operator, make_table([{"name": "A", "photo": "a"}]), archive, **key)

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert slug_of(other) == "idempotency-key-reused"
    await ended(operator, first.headers["location"])
    assert len((await operator.get("/v1/imports")).json()["imports"]) == 1


async def test_the_upload_is_on_the_disk_until_the_import_ends(operator, inference, tmp_path):
    table, photos = many(2)
    inference.fail("enrol", internal_error)
    answer = await post_import(operator, table, make_archive(photos))
    run_id = answer.json()["id"]

    async def is_gone():
        return not list((tmp_path / "imports").iterdir())

    assert answer.json()["rows"]["enrolled"] == 0
    await until(is_gone)
    run = (await operator.get(f"/v1/imports/{run_id}")).json()
    assert (run["status"], run["rows"]["pending"]) == ("running", 2)
    inference.recover()
    run = await ended(operator, answer.headers["location"])
    assert run["rows"]["enrolled"] == 2


async def test_an_import_waits_while_the_breaker_is_open(environment, inference):
    environment |= {"BREAKER_FAILURES": "1", "BREAKER_PAUSE_S": "0.2", "IMPORT_BATCH": "2"}
    inference.fail("*", internal_error)
    table, photos = many(12)
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["operator"]) as operator,
    ):
        answer = await post_import(operator, table, make_archive(photos))

        async def is_open():
            return running.gateway.imports._held_up_s() > 0

        await until(is_open)
        read = (await operator.get(answer.headers["location"])).json()
        called = len(inference.calls)
        inference.recover()
        run = await ended(operator, answer.headers["location"])

    assert called <= 8 + 2  # what was on its way, and probes
    assert read["rows"]["enrolled"] == 0
    assert run["rows"]["enrolled"] == 12


async def exactly_once(environment, inference: FakeInference, location: str, rows: int) -> None:
    """Another process finishes the import; then each photo is one face of one person."""
    gc.collect()  # a process that has ended holds no lock; here its cursors would
    async with run_gateway(environment, httpx.ASGITransport(inference.app)) as running:
        async with running.client(running.keys["operator"]) as operator:
            run = await ended(operator, location)
            persons = await all_persons(operator)

        async def nothing_is_left():
            async with running.gateway.queue._database.read() as session:
                return (await session.scalars(select(Job))).first() is None

        await until(nothing_is_left)
        async with running.gateway.queue._database.read() as session:
            faces = (await session.scalars(select(Face))).all()
            told = (await session.scalars(select(ImportRow))).all()
    assert run["rows"] == {**dict.fromkeys(run["rows"], 0), "enrolled": rows}
    assert len(persons) == rows // 2
    assert len(faces) == len({face.photo_sha256 for face in faces}) == rows
    assert {face.id for face in faces} == {
        face_id for faces in inference.gallery.values() for face_id in faces
    }
    assert {(row.details, row.place) for row in told} == {(None, None)}


@pytest.mark.parametrize("after", [1, 3, 5, 8, 13, 21])
async def test_a_gateway_that_stops_anywhere_leaves_an_import_to_the_next(
    environment, inference, after, monkeypatch
):
    """`after` so many calls of the inference tier, the workers are cancelled at once."""
    environment |= {"IMPORT_BATCH": "3", "DRAIN_S": "0", "JOB_LEASE_S": "0.3"}
    monkeypatch.setattr(staging, "AT_A_TIME", 4)
    table, photos = many(14)
    reached = asyncio.Event()

    async def count(_operation):
        if len(inference.calls) >= after:
            reached.set()

    inference.before_answer = count
    async with run_gateway(environment, httpx.ASGITransport(inference.app)) as running:
        async with running.client(running.keys["operator"]) as operator:
            answer = await post_import(operator, table, make_archive(photos))
        await asyncio.wait_for(reached.wait(), 10)

    await exactly_once(environment, inference, answer.headers["location"], 14)


@pytest.mark.parametrize("where", ["stage", "check", "record", "recorded", "end"])
async def test_a_process_killed_within_a_batch_leaves_an_import_to_the_next(
    environment, inference, where, monkeypatch
):
    """Nothing is given back: the lease of the killed one runs out."""
    environment |= {"IMPORT_BATCH": "3", "DRAIN_S": "0", "JOB_LEASE_S": "0.3"}
    monkeypatch.setattr(staging, "AT_A_TIME", 1)
    table, photos = many(10)
    killed = asyncio.Event()
    async with run_gateway(environment, httpx.ASGITransport(inference.app)) as running:
        imports = running.gateway.imports
        importer = imports._importer
        owner, name = {
            "stage": (staging, "_insert"),
            "check": (importer._intake, "check"),
            "record": (importer._queue, "add"),
            "recorded": (importer._queue, "give_back"),
            "end": (imports._files, "discard"),
        }[where]
        real, calls = getattr(owner, name), 0

        def die_at_the_second(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == 2 or (where == "end" and calls == 1):
                running.gateway.workers._stopping = True
                loop.call_soon_threadsafe(killed.set)
            if killed.is_set() or calls >= 2 or where == "end":
                raise asyncio.CancelledError
            return real(*args, **kwargs)

        loop = asyncio.get_running_loop()
        async with running.client(running.keys["operator"]) as operator:
            answer = await post_import(operator, table, make_archive(photos))
            monkeypatch.setattr(owner, name, die_at_the_second)
        await asyncio.wait_for(killed.wait(), 10)
        monkeypatch.setattr(owner, name, real)

    await exactly_once(environment, inference, answer.headers["location"], 10)


async def test_two_gateways_share_an_import_and_do_no_row_twice(environment, inference):
    environment |= {"IMPORT_BATCH": "2"}
    table, photos = many(16)
    transport = httpx.ASGITransport(inference.app)
    async with (
        run_gateway(environment, transport) as one,
        run_gateway(environment, transport),
        one.client(one.keys["operator"]) as operator,
    ):
        answer = await post_import(operator, table, make_archive(photos))
        await ended(operator, answer.headers["location"])

    await exactly_once(environment, inference, answer.headers["location"], 16)


async def test_an_abandoned_upload_is_swept_and_one_that_is_awaited_stays(environment, inference):
    environment |= {"JOB_CONCURRENCY": "1"}
    inference.fail("*", internal_error)
    transport = httpx.ASGITransport(inference.app)
    async with run_gateway(environment, transport) as running:
        uploads = running.gateway.imports._files
        spool = uploads.spool()
        spool.write(b"half an archive")
        swept_while_held = await running.gateway.imports.sweep()
        spool.close()
    assert swept_while_held == 0
    assert spool.path.exists()

    async with run_gateway(environment, transport):
        pass

    assert not spool.path.exists()


async def test_an_import_whose_disk_stays_away_is_given_up_and_leaves_no_file(
    environment, inference, tmp_path, monkeypatch
):
    environment |= {"JOB_ATTEMPTS": "3"}
    table, photos = many(4)
    transport = httpx.ASGITransport(inference.app)
    async with (
        run_gateway(environment, transport) as running,
        running.client(running.keys["operator"]) as operator,
    ):

        def is_away():
            raise PhotoStoreUnavailable

        monkeypatch.setattr(running.gateway.imports._importer._intake._store, "spool", is_away)
        answer = await post_import(operator, table, make_archive(photos))
        run = await ended(operator, answer.headers["location"])

    async with run_gateway(environment, transport):
        left = list((tmp_path / "imports").iterdir())

    assert (run["status"], run["rows"]["waiting"], left) == ("failed", 4, [])
    assert run["problem"]["type"].endswith("photo-store-unavailable")


async def test_every_imported_face_is_in_the_audit(operator, running):
    table, photos = many(4)
    run, told = await import_all(operator, table, photos)

    async with running.gateway.queue._database.read() as session:
        entries = (await session.scalars(select(Audit).where(Audit.action == "import"))).all()

    of_faces = [one for one in entries if one.photo_sha256]
    assert {one.subject_id for one in entries} == {run["id"]}
    assert [one.person_id for one in of_faces] == [row["person_id"] for row in told]
    assert {one.key_id for one in of_faces} == {running.keys["operator"].split("_")[1]}


@ONE_ENGINE
async def test_a_form_that_falls_silent_is_given_up(running, monkeypatch):
    from gateway_server.imports import arrival

    monkeypatch.setattr(arrival, "PIECE_WITHIN_S", 0.01)

    async def silence():
        yield b"--edge\r\n"
        await asyncio.sleep(60)

    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    async with running.client(running.keys["operator"]) as operator:
        with suppress(httpx.ReadTimeout):
            answer = await operator.post("/v1/imports", content=silence(), headers=headers)

    assert slug_of(answer) == "upload-too-slow"


async def test_names_are_searchable_after_an_import(operator):
    await import_all(operator, *many(2))

    found = (await operator.get("/v1/persons", params={"q": "PERSON 0"})).json()["persons"]

    assert [one["name"] for one in found] == ["Person 0"]


GOOD = (make_table([{"name": "Ada", "photo": "a.jpg"}]), make_archive({"a.jpg": make_photo(1)}))
FORMS = {
    "no archive": ({"table": GOOD[0]}, 400, "import-part-missing"),
    "no table": ({"archive": GOOD[1]}, 400, "import-part-missing"),
    "an empty table": ({"table": b"", "archive": GOOD[1]}, 400, "import-part-missing"),
    "an unknown part": ({"photo": GOOD[1]}, 400, "unknown-field"),
    "no CSV": ({"table": GOOD[1], "archive": GOOD[1]}, 422, "invalid-table"),
    "no ZIP": ({"table": GOOD[0], "archive": GOOD[0]}, 422, "broken-archive"),
    "too many rows": (
        {"table": make_table([{"name": "A", "photo": "a.jpg"}] * 6), "archive": GOOD[1]},
        413,
        "too-many-rows",
    ),
    "too many entries": (
        {"table": GOOD[0], "archive": make_archive({str(n): b"" for n in range(11)})},
        413,
        "too-many-entries",
    ),
    "too large": ({"table": GOOD[0], "archive": bytes(100_000)}, 413, "import-too-large"),
}


@ONE_ENGINE
@pytest.mark.parametrize("case", FORMS)
async def test_a_form_that_cannot_be_an_import_is_refused_and_leaves_nothing(
    environment, inference, tmp_path, case
):
    environment |= {"IMPORT_MAX_ROWS": "5", "IMPORT_MAX_BYTES": "30000"}
    parts, status, slug = FORMS[case]
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["operator"]) as operator,
    ):
        files = {name: (name, data) for name, data in parts.items()}
        answer = await operator.post("/v1/imports", files=files)

    assert (answer.status_code, slug_of(answer)) == (status, slug)
    assert list((tmp_path / "imports").glob("*")) == []


@ONE_ENGINE
@pytest.mark.parametrize("path", ["", "/rows"])
async def test_an_import_that_nobody_began_is_not_found(operator, path):
    for one in ("00000000-0000-4000-8000-000000000000", "x"):
        answer = await operator.get(f"/v1/imports/{one}{path}")
        assert (answer.status_code, slug_of(answer)) == (404, "import-not-found")
