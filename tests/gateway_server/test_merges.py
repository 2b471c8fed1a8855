"""Two records of one person made one: here at once, there durably, and found at any moment."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from copy import deepcopy
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, event, select, update

from gateway_server.people import read_people
from gateway_server.problems import FaceNotFound
from gateway_server.tables import Face, Lead, Person, Search, now
from tests.gateway_server.conftest import (
    ONE_ENGINE,
    RETRIED_SOON,
    list_failures,
    run_gateway,
    search,
    slug_of,
    until,
)
from tests.gateway_server.fake_inference import FakeInference, internal_error
from tests.gateway_server.import_files import import_all, make_table
from tests.gateway_server.photos import make_photo
from tests.gateway_server.test_async_searches import Gate

NOBODY = "00000000-0000-4000-8000-000000000000"


async def merge(client: httpx.AsyncClient, kept: Any, other: Any, **headers: str) -> httpx.Response:
    address = f"/v1/persons/{kept['id']}/merge"
    return await client.post(address, json={"from": other["id"]}, headers=headers)


async def add(client: httpx.AsyncClient, person: Any, seed: int) -> dict[str, Any]:
    files = {"photo": make_photo(seed)}
    answer = await client.post(f"/v1/persons/{person['id']}/faces", files=files)
    assert answer.status_code == 201, answer.text
    added: dict[str, Any] = answer.json()
    return added


async def found_by(client: httpx.AsyncClient, seed: int) -> str | None:
    """Whom a search with the very photo takes for the lead."""
    said = (await search(client, make_photo(seed))).json()
    if said["status"] != "done" or said["verdict"] != "lead":
        return None
    best: str = said["candidates"][0]["person_id"]
    return best


async def audited(running, *actions: str) -> Sequence[tuple[str, ...]]:
    async with running.client(running.keys["admin"]) as admin:
        rows = (await admin.get("/v1/audit")).json()["rows"]
    return [
        (row["action"], row["person_id"], row["subject_id"])
        for row in rows
        if row["action"] in actions
    ]


async def test_faces_move_and_the_other_is_gone(operator, enrol, inference):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    await add(operator, other, 3)

    answer = await merge(operator, kept, other)

    said = answer.json()
    assert answer.status_code == 200
    assert [face["status"] for face in said["person"]["faces"]] == ["enrolled"] * 3
    assert (said["removal"]["status"], said["removal"]["person_id"]) == ("deleted", other["id"])
    assert set(inference.gallery) == {kept["id"]}
    assert set(inference.gallery[kept["id"]]) == {
        face["face_id"] for face in said["person"]["faces"]
    }
    assert [await found_by(operator, seed) for seed in (1, 2, 3)] == [kept["id"]] * 3
    receipt = await operator.get(f"/v1/removals/{said['removal']['id']}")
    assert receipt.json() == said["removal"]


async def test_the_others_address_names_whom_they_became(operator, enrol):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    await merge(operator, kept, other)
    gone = f"/v1/persons/{other['id']}"

    for answer in (
        await operator.get(gone),
        await operator.patch(gone, json={"name": "Ada"}),
        await operator.delete(gone),
        await operator.post(f"{gone}/faces", files={"photo": make_photo(3)}),
        await operator.post(f"{gone}/merge", json={"from": kept["id"]}),
    ):
        assert (answer.status_code, slug_of(answer)) == (404, "person-not-found")
        assert answer.json()["merged_into"] == kept["id"]


async def test_one_photo_of_both_is_one_face(operator, enrol, inference):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(1))

    said = (await merge(operator, kept, other)).json()

    assert said["person"]["faces"] == kept["faces"]
    assert {one: set(faces) for one, faces in inference.gallery.items()} == {
        kept["id"]: {kept["faces"][0]["face_id"]}
    }
    address = f"/v1/persons/{kept['id']}/faces/{kept['faces'][0]['face_id']}/photo"
    assert (await operator.get(address)).content == make_photo(1)


async def test_missing_details_are_taken_over_and_others_stay(operator, enrol):
    kept = await enrol("Ada", make_photo(1), birth_date="1990-01-01")
    details = {"reference": "K 7", "birth_date": "1999-09-09", "notes": "a scar"}
    other = await enrol("Ada B.", make_photo(2), missing_since="2024-02-29", **details)

    person = (await merge(operator, kept, other)).json()["person"]

    assert (person["name"], person["birth_date"]) == ("Ada", "1990-01-01")
    assert (person["reference"], person["notes"]) == ("K 7", "a scar")
    assert person["missing_since"] == "2024-02-29"
    assert person["status"] == "missing"
    listed = (await operator.get("/v1/persons", params={"q": "k 7"})).json()["persons"]
    assert [one["id"] for one in listed] == [kept["id"]]


async def test_candidates_verdicts_and_heatmaps_of_earlier_searches_follow(operator, enrol):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    both = (await search(operator, make_photo(2))).json()
    assert {one["person_id"] for one in both["candidates"]} == {kept["id"], other["id"]}
    feedback = f"/v1/searches/{both['id']}/feedback"
    await operator.post(feedback, json={"person_id": other["id"], "verdict": "same"})

    person = (await merge(operator, kept, other)).json()["person"]

    read = (await operator.get(f"/v1/searches/{both['id']}")).json()
    (candidate,) = read["candidates"]
    assert (candidate["person_id"], candidate["rank"]) == (kept["id"], 1)
    assert candidate["similarity"] == 0.9, "of the two, the better one stays"
    assert candidate["face_id"] in {face["face_id"] for face in person["faces"]}
    heatmap = f"/v1/searches/{both['id']}/candidates/{kept['id']}/heatmap"
    assert (await operator.get(heatmap)).status_code == 200
    again = await operator.post(feedback, json={"person_id": kept["id"], "verdict": "same"})
    assert again.status_code == 200, "the verdict is there already"


async def test_where_both_were_judged_what_was_said_of_the_kept_person_stays(operator, enrol):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    made = (await search(operator, make_photo(2))).json()
    feedback = f"/v1/searches/{made['id']}/feedback"
    await operator.post(feedback, json={"person_id": kept["id"], "verdict": "different"})
    await operator.post(feedback, json={"person_id": other["id"], "verdict": "same"})

    assert (await merge(operator, kept, other)).status_code == 200

    said = await operator.post(feedback, json={"person_id": kept["id"], "verdict": "unsure"})
    assert said.status_code == 200


async def test_merging_twice_changes_nothing(running, operator, enrol):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    first, again = await merge(operator, kept, other), await merge(operator, kept, other)

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert await audited(running, "merge") == [
        ("merge", kept["id"], None),  # the second time, which only looked
        ("merge", other["id"], kept["id"]),
        ("merge", kept["id"], other["id"]),
    ]


async def test_a_person_merged_earlier_is_the_last_one_kept(operator, enrol, inference):
    first, second, third = [
        await enrol(name, make_photo(seed)) for seed, name in enumerate(("A", "B", "C"))
    ]
    await merge(operator, second, first)
    await merge(operator, third, second)

    answer = await operator.get(f"/v1/persons/{first['id']}")
    assert answer.json()["merged_into"] == third["id"]
    assert [await found_by(operator, seed) for seed in range(3)] == [third["id"]] * 3
    await operator.delete(f"/v1/persons/{third['id']}")
    answer = await operator.get(f"/v1/persons/{first['id']}")
    assert "merged_into" not in answer.json(), "whoever is deleted is named nowhere"
    assert inference.gallery == {}


@pytest.mark.parametrize(
    ("kept_is", "other_is", "faces"),
    [("found", "missing", "withdrawn"), ("missing", "found", "enrolled")],
)
async def test_the_kept_persons_status_counts(
    operator, enrol, inference, kept_is: str, other_is: str, faces: str
):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    await operator.patch(f"/v1/persons/{kept['id']}", json={"status": kept_is})
    await operator.patch(f"/v1/persons/{other['id']}", json={"status": other_is})

    person = (await merge(operator, kept, other)).json()["person"]

    assert person["status"] == kept_is
    assert [face["status"] for face in person["faces"]] == [faces] * 2
    assert other["id"] not in inference.gallery


@RETRIED_SOON
async def test_the_person_is_found_at_every_moment(operator, enrol, inference):
    """The other goes there when all of their faces are enrolled under the kept person."""
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    assert await found_by(operator, 2) == other["id"]  # an answer that the cache keeps
    inference.fail("enrol", internal_error)

    answer = await merge(operator, kept, other)

    assert (answer.status_code, answer.json()["removal"]["status"]) == (202, "deleting")
    assert other["id"] in inference.gallery
    said = (await search(operator, make_photo(2))).json()
    assert said["cached"]
    assert (said["verdict"], said["candidates"][0]["person_id"]) == ("lead", kept["id"])
    assert len(said["candidates"]) == 1, "both are one, though the tier finds two"
    pending = [one for one in answer.json()["person"]["faces"] if one["status"] == "pending"]
    assert said["candidates"][0]["face_id"] == pending[0]["face_id"]
    inference.recover()

    async def is_done():
        read = (await operator.get(f"/v1/removals/{answer.json()['removal']['id']}")).json()
        return read["status"] == "deleted"

    await until(is_done)
    assert set(inference.gallery) == {kept["id"]}
    assert await found_by(operator, 2) == kept["id"]
    assert await list_failures(operator, open=True) == []


async def test_a_search_that_was_on_its_way_names_the_kept_person(operator, enrol, inference):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    gate = Gate(inference, "match")
    searching = asyncio.ensure_future(search(operator, make_photo(2)))
    await until(gate.has_somebody)
    before = deepcopy(inference.gallery)

    merged = await merge(operator, kept, other)

    assert merged.status_code == 200
    inference.gallery = before  # it answers with what it knew
    gate.open()
    said = (await searching).json()
    (candidate,) = said["candidates"]
    assert candidate["person_id"] == kept["id"]
    assert candidate["face_id"] in {face["face_id"] for face in merged.json()["person"]["faces"]}


async def test_rows_of_an_import_follow(operator, enrol):
    other = await enrol("Ada B.", make_photo(1), reference="K 1")
    rows = [{"name": "Ada", "reference": "K 2", "photo": f"{seed}.jpg"} for seed in (1, 2)]
    rows.append({"name": "Ada B.", "reference": "K 1", "photo": "3.jpg"})
    photos = {f"{seed}.jpg": make_photo(seed) for seed in (1, 2, 3)}
    run, before = await import_all(operator, make_table(rows), photos)
    kept = {"id": before[0]["person_id"]}
    assert [row["also_of"] for row in before] == [other["id"], None, None]

    assert (await merge(operator, kept, other)).status_code == 200

    after = (await operator.get(f"/v1/imports/{run['id']}/rows")).json()["rows"]
    assert [row["person_id"] for row in after] == [kept["id"]] * 3
    assert [row["also_of"] for row in after] == [None] * 3
    assert [row["outcome"] for row in after] == ["enrolled"] * 3


KILLED_AT = ["put", "enrol", "delete"]


@RETRIED_SOON
@pytest.mark.parametrize("killed_at", KILLED_AT)
async def test_a_merge_that_its_process_did_not_survive_is_finished_by_another(
    environment, inference: FakeInference, killed_at: str
):
    """Whatever call the first process is at when it stops."""
    environment |= {"JOB_LEASE_S": "0.3", "DRAIN_S": "0.05"}
    transport = httpx.ASGITransport(inference.app)
    async with run_gateway(environment, transport) as first:
        key = first.keys["operator"]
        async with first.client(key) as operator:
            kept, other = [await register(operator, seed) for seed in (1, 2)]
            gate = Gate(inference, killed_at)
            merging = asyncio.ensure_future(merge(operator, kept, other))
            await until(gate.has_somebody)
            merging.cancel()
    inference.before_answer = None

    async with run_gateway(environment, transport) as second, second.client(key) as operator:

        async def is_done():
            return set(inference.gallery) == {kept["id"]}

        await until(is_done)
        person = (await operator.get(f"/v1/persons/{kept['id']}")).json()

        async def all_are_enrolled():
            read = (await operator.get(f"/v1/persons/{kept['id']}")).json()
            return {face["status"] for face in read["faces"]} == {"enrolled"}

        await until(all_are_enrolled)
        assert len(person["faces"]) == 2
        assert await found_by(operator, 2) == kept["id"]
        assert (await merge(operator, kept, other)).status_code in {200, 202}


async def register(client: httpx.AsyncClient, seed: int) -> dict[str, Any]:
    files = {"photos[]": make_photo(seed)}
    made = (await client.post("/v1/persons", data={"name": f"Ada {seed}"}, files=files)).json()
    assert isinstance(made, dict)
    return made


async def test_answers_are_looked_through_before_anybody_waits(operator, enrol, statements):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    await search(operator, make_photo(2))
    statements.clear()

    await merge(operator, kept, other)

    looks = [place for place, one in enumerate(statements) if re.search(r"answer AS .* LIKE", one)]
    (gone,) = [place for place, one in enumerate(statements) if "DELETE FROM person" in one]
    assert len(looks) == 2
    assert "finished_at" not in statements[looks[0]].partition("WHERE")[2]
    assert "finished_at" in statements[looks[1]].partition("WHERE")[2]
    assert looks[1] < gone


@pytest.fixture
def statements() -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("is_another_merge", [False, True])
async def test_an_answer_that_came_to_name_the_other_since_the_look_follows(
    running, operator, enrol, monkeypatch, is_another_merge
):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    third = await enrol("Ada C.", make_photo(3))
    before = (await search(operator, make_photo(3))).json()["id"]
    async with running.gateway.queue._database.write() as session:
        long_ago = now() - timedelta(days=1)
        await session.execute(update(Search).values(finished_at=long_ago))
        found = (await session.get_one(Search, before)).answer
        only_third = [one for one in found["candidates"] if one["person_id"] == third["id"]]
        narrowed = found | {"candidates": only_third}
        await session.execute(update(Search).values(answer=narrowed))
    look_for = running.gateway.persons._merges._look_for
    made = [before]

    async def look_and_go_on(person_id: str):
        named = await look_for(person_id)
        monkeypatch.setattr(running.gateway.persons._merges, "_look_for", look_for)
        if is_another_merge:
            await merge(operator, other, third)
        else:
            made.append((await search(operator, make_photo(2))).json()["id"])
        return named

    monkeypatch.setattr(running.gateway.persons._merges, "_look_for", look_and_go_on)
    await merge(operator, kept, other)

    answer = (await operator.get(f"/v1/searches/{made[-1]}")).json()
    people = {one["person_id"] for one in answer["candidates"]}
    assert kept["id"] in people
    assert other["id"] not in people


@pytest.fixture
def meanwhile(running, monkeypatch):
    """Somebody's work between a verdict's first look at the search and its being written."""

    def arrange(work: Callable[[], Awaitable[object]]) -> None:
        reader = running.gateway.search_reader
        find = reader.find

        async def find_and_work(*asked: Any) -> Any:
            found = await find(*asked)
            monkeypatch.setattr(reader, "find", find)
            await work()
            return found

        monkeypatch.setattr(reader, "find", find_and_work)

    return arrange


async def test_a_verdict_during_a_merge_is_about_the_kept_person(
    operator, enrol, meanwhile, running
):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    found = (await search(operator, make_photo(2))).json()["id"]
    meanwhile(lambda: merge(operator, kept, other))

    said = {"person_id": other["id"], "verdict": "different"}
    answer = await operator.post(f"/v1/searches/{found}/feedback", json=said)

    assert (answer.status_code, answer.json()["person_id"]) == (201, kept["id"])
    ruled_out = (await operator.get("/v1/leads", params={"status": "different"})).json()["leads"]
    assert [one["person_id"] for one in ruled_out] == [kept["id"]]


async def test_a_verdict_during_a_deletion_leaves_no_lead(operator, enrol, meanwhile, running):
    person = await enrol("Ada", make_photo(1))
    found = (await search(operator, make_photo(1))).json()["id"]
    meanwhile(lambda: operator.delete(f"/v1/persons/{person['id']}"))

    said = {"person_id": person["id"], "verdict": "same"}
    answer = await operator.post(f"/v1/searches/{found}/feedback", json=said)

    assert (answer.status_code, slug_of(answer)) == (404, "person-not-found")
    async with running.gateway.queue._database.read() as session:
        assert (await session.scalars(select(Lead))).all() == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_whoever_a_candidate_became_stays_until_the_search_is_written(
    operator, enrol, running
):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    await merge(operator, kept, other)
    database = running.gateway.queue._database
    free = select(Person.id).with_for_update(skip_locked=True)

    async with database.write() as session:
        people = await read_people(session, {other["id"]})
        async with database.write() as another:
            assert (await another.scalars(free)).all() == []

    assert people.today(other["id"]) == kept["id"]
    assert people.names == {kept["id"]: "Ada"}


async def test_an_enrolment_that_arrives_after_the_merge_was_worked_off_leaves_no_vector(
    running, operator, enrol, inference
):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    async with running.gateway.queue._database.read() as session:
        face = await session.get_one(Face, other["faces"][0]["face_id"])
    merged = await merge(operator, kept, other)
    assert merged.json()["removal"]["status"] == "deleted"

    with pytest.raises(FaceNotFound):
        await running.gateway.reenrolment._enrolment.renew(face)

    assert set(inference.gallery) == {kept["id"]}


@RETRIED_SOON
async def test_a_photo_that_was_on_its_way_arrives_under_the_kept_person(
    operator, enrol, inference
):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))
    inference.fail("enrol", internal_error)
    files = {"photo": make_photo(3)}
    late = await operator.post(f"/v1/persons/{other['id']}/faces", files=files)
    assert late.status_code == 202
    await merge(operator, kept, other)
    inference.recover()

    async def all_are_enrolled():
        read = (await operator.get(f"/v1/persons/{kept['id']}")).json()
        return [face["status"] for face in read["faces"]] == ["enrolled"] * 3

    await until(all_are_enrolled)

    async def other_is_gone():
        return other["id"] not in inference.gallery

    await until(other_is_gone)
    assert await found_by(operator, 3) == kept["id"]
    assert await list_failures(operator, open=True) == []


async def test_a_kept_answer_that_named_the_other_is_forgotten(operator, enrol, inference):
    kept = await enrol("Ada", make_photo(1))
    once = {"Idempotency-Key": "k"}
    form = {"data": {"name": "Ada B."}, "files": [("photos[]", make_photo(2))]}
    other = (await operator.post("/v1/persons", **form, headers=once)).json()
    await merge(operator, kept, other)
    repeated = await operator.post("/v1/persons", **form, headers=once)
    assert (repeated.status_code, slug_of(repeated)) == (409, "answer-deleted")


@pytest.mark.parametrize(
    ("body", "answered"),
    [
        ({"from": NOBODY}, (404, "person-not-found")),
        ({"from": "../x"}, (404, "person-not-found")),
        ({"from": None}, (422, "invalid-body")),
        ({"from": NOBODY, "keep": "all"}, (422, "invalid-body")),
        ({}, (422, "invalid-body")),
    ],
    ids=str,
)
@ONE_ENGINE
async def test_nobody_is_merged_with_nobody(operator, enrol, body, answered):
    kept = await enrol("Ada", make_photo(1))
    answer = await operator.post(f"/v1/persons/{kept['id']}/merge", json=body)
    assert (answer.status_code, slug_of(answer)) == answered


@ONE_ENGINE
async def test_nobody_is_merged_with_themselves_or_into_a_stranger_or_by_a_phone(
    operator, phone, enrol
):
    kept, other = await enrol("Ada", make_photo(1)), await enrol("Bo", make_photo(2))
    answer = await merge(operator, kept, kept)
    assert (answer.status_code, slug_of(answer)) == (422, "same-person")
    answer = await merge(operator, {"id": NOBODY}, other)
    assert (answer.status_code, slug_of(answer)) == (404, "person-not-found")
    assert (await merge(phone, kept, other)).status_code == 403
    assert (await operator.get(f"/v1/persons/{other['id']}")).status_code == 200


async def test_two_who_merge_crosswise_leave_one_person(operator, enrol, inference):
    one, two = await enrol("Ada", make_photo(1)), await enrol("Ada B.", make_photo(2))

    answers = await asyncio.gather(merge(operator, one, two), merge(operator, two, one))

    assert sorted(answer.status_code for answer in answers)[1] == 404
    (person,) = (await operator.get("/v1/persons")).json()["persons"]
    assert len(person["faces"]) == 2
    assert set(inference.gallery) == {person["id"]}
