"""Whoever is deleted is gone here at once, and everywhere as soon as it is confirmed; the found."""

import asyncio
from datetime import datetime

import httpx
import pytest

from tests.gateway_server.conftest import (
    RETRIED_SOON,
    list_failures,
    run_gateway,
    search,
    slug_of,
    until,
)
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.photos import make_photo
from tests.gateway_server.test_async_searches import Gate

KEPT = {"Idempotency-Key": "kept"}
NOBODY = "00000000-0000-4000-8000-000000000000"


def receipt(client: httpx.AsyncClient, location: str):
    async def look():
        read = (await client.get(location)).json()
        return read if read["status"] == "deleted" else None

    return look


async def test_a_deletion_is_answered_with_its_receipt(operator, enrol, inference, photo_dir):
    person = await enrol("Ada", make_photo(1))
    await operator.post(f"/v1/persons/{person['id']}/faces", files={"photo": make_photo(2)})

    answer = await operator.delete(f"/v1/persons/{person['id']}")

    said = answer.json()
    assert answer.status_code == 200
    assert answer.headers["location"] == f"/v1/removals/{said['id']}"
    times = ("requested", "vectors_deleted", "photos_deleted", "answers_deleted", "done")
    moments = [datetime.fromisoformat(said[f"{one}_at"]) for one in times]
    assert moments == sorted(moments)
    assert {name: said[name] for name in ("status", "person_id", "face_id", "photos")} == {
        "status": "deleted",
        "person_id": person["id"],
        "face_id": None,
        "photos": 2,
    }
    assert (await operator.get(answer.headers["location"])).json() == said
    assert inference.gallery == {}
    assert list(photo_dir.glob("??/??/*")) == []


async def test_a_receipt_that_was_never_given_is_not_found(operator):
    for removal_id in (NOBODY, "x"):
        answer = await operator.get(f"/v1/removals/{removal_id}")
        assert (answer.status_code, slug_of(answer)) == (404, "removal-not-found")


async def test_a_second_deletion_finds_nobody(operator, enrol, inference):
    person = await enrol("Ada")
    inference.fail("*", internal_error)

    first = await operator.delete(f"/v1/persons/{person['id']}")
    second = await operator.delete(f"/v1/persons/{person['id']}")

    assert (first.status_code, second.status_code) == (202, 404)
    assert len(await list_failures(operator)) == 1


@RETRIED_SOON
async def test_a_deletion_is_repeated_until_every_part_has_confirmed(
    operator, enrol, inference, photo_dir
):
    person = await enrol("Ada")
    inference.fail("delete", internal_error)
    begun = await operator.delete(f"/v1/persons/{person['id']}")

    async def has_failed_thrice():
        (failure,) = await list_failures(operator, open=True)
        return failure["attempts"] >= 3

    await until(has_failed_thrice)
    assert (begun.status_code, begun.json()["status"]) == (202, "deleting")
    assert begun.json()["done_at"] is None
    assert inference.gallery != {}
    inference.recover()

    said = await until(receipt(operator, begun.headers["location"]))

    assert said["done_at"]
    assert inference.gallery == {}
    assert list(photo_dir.glob("??/??/*")) == []
    (failure,) = await list_failures(operator)
    assert (failure["outcome"], failure["removal_id"]) == ("deleted", said["id"])


@RETRIED_SOON
async def test_a_deletion_that_its_process_did_not_survive_is_finished_by_another(
    environment, inference
):
    transport = httpx.ASGITransport(inference.app)
    async with run_gateway(environment, transport) as first:
        key = first.keys["operator"]
        async with first.client(key) as operator:
            files = {"photos[]": make_photo(1)}
            made = await operator.post("/v1/persons", data={"name": "Ada"}, files=files)
            inference.fail("*", internal_error)
            begun = await operator.delete(made.headers["location"])
    inference.recover()

    async with run_gateway(environment, transport) as second, second.client(key) as operator:
        await until(receipt(operator, begun.headers["location"]))

    assert inference.gallery == {}


async def test_an_answer_that_was_kept_for_its_key_forgets_whom_it_named(phone, operator, enrol):
    """And what made the person makes them no second time."""
    made = {"data": {"name": "Ada"}, "files": [("photos[]", ("a.jpg", make_photo(1)))]}
    first = await operator.post("/v1/persons", **made, headers=KEPT)
    await phone.post("/v1/searches", files={"photo": make_photo(1)}, headers=KEPT)

    await operator.delete(f"/v1/persons/{first.json()['id']}")

    asked = await phone.post("/v1/searches", files={"photo": make_photo(1)}, headers=KEPT)
    again = await operator.post("/v1/persons", **made, headers=KEPT)
    for answer in (asked, again):
        assert (answer.status_code, slug_of(answer)) == (409, "answer-deleted")
        assert "Ada" not in answer.text
    assert (await operator.get("/v1/persons")).json()["persons"] == []


async def test_an_answer_that_was_kept_for_its_key_forgets_a_deleted_face(operator, enrol):
    """Else it would promise, as made, a face that is no longer there."""
    person = await enrol("Ada")
    faces, photo = f"/v1/persons/{person['id']}/faces", {"photo": make_photo(2)}
    made = await operator.post(faces, files=photo, headers=KEPT)
    assert (await operator.post(faces, files=photo, headers=KEPT)).json() == made.json()

    await operator.delete(made.headers["location"])

    again = await operator.post(faces, files=photo, headers=KEPT)
    assert (again.status_code, slug_of(again)) == (409, "answer-deleted")
    assert made.json()["face_id"] not in again.text
    (left,) = (await operator.get(f"/v1/persons/{person['id']}")).json()["faces"]
    assert left["face_id"] == person["faces"][0]["face_id"]


async def test_a_deleted_persons_faces_are_forgotten_with_them(operator, enrol):
    """Their answers name the person in the Location alone."""
    person = await enrol("Ada")
    faces, photo = f"/v1/persons/{person['id']}/faces", {"photo": make_photo(2)}
    await operator.post(faces, files=photo, headers=KEPT)

    await operator.delete(f"/v1/persons/{person['id']}")

    again = await operator.post(faces, files=photo, headers=KEPT)
    assert (again.status_code, slug_of(again)) == (409, "answer-deleted")


async def test_cached_answers_are_cleared_with_a_deletion(running, phone, operator, enrol):
    person = await enrol("Ada")
    await search(phone, make_photo(1))
    cache = running.gateway.search_desk._searches._cache
    assert cache._kept

    answer = await operator.delete(f"/v1/persons/{person['id']}")

    assert answer.json()["answers_deleted_at"]
    assert not cache._kept, "they name the person"


@RETRIED_SOON
@pytest.mark.parametrize("what", ["person", "face"])
async def test_who_is_deleted_while_they_are_enrolled_leaves_no_vector(
    environment, inference, what
):
    """The enrolment arrives there after the deletion."""
    environment["JOB_LEASE_S"] = "2"
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["operator"]) as operator,
    ):
        files = {"photos[]": make_photo(1)}
        made = await operator.post("/v1/persons", data={"name": "Ada"}, files=files)
        person = made.json()
        gate = Gate(inference, "enrol")
        adding = asyncio.ensure_future(
            operator.post(f"{made.headers['location']}/faces", files={"photo": make_photo(2)})
        )
        await until(gate.has_somebody)
        faces = (await operator.get(made.headers["location"])).json()["faces"]
        (late,) = (one["face_id"] for one in faces if one["status"] == "pending")
        suffix = f"/faces/{late}" if what == "face" else ""
        begun = await operator.delete(f"{made.headers['location']}{suffix}")
        gate.open()
        added = await adding
        said = await until(receipt(operator, begun.headers["location"]))
        kept = await operator.get(made.headers["location"])

    assert begun.json()["status"] == "deleting", "something may still arrive there"
    assert said["vectors_deleted_at"]
    assert (added.status_code, slug_of(added)) == (404, "face-not-found")
    others = [one["face_id"] for one in person["faces"]]
    if what == "face":
        assert list(inference.gallery[person["id"]]) == others
        assert [one["face_id"] for one in kept.json()["faces"]] == others
    else:
        assert inference.gallery == {}
        assert kept.status_code == 404


@RETRIED_SOON
async def test_whoever_is_found_is_out_of_every_search_and_comes_back_when_missing(
    operator, phone, enrol, inference
):
    person = await enrol("Ada", make_photo(1))
    bob = await enrol("Bob", make_photo(2))
    address = f"/v1/persons/{person['id']}"

    found = await operator.patch(address, json={"status": "found"})

    said = found.json()
    assert (found.status_code, said["status"]) == (200, "found")
    assert said["found_at"]
    assert [face["status"] for face in said["faces"]] == ["withdrawn"]
    candidates = (await search(phone, make_photo(1))).json()["candidates"]
    assert [(one["rank"], one["name"]) for one in candidates] == [(1, "Bob")]

    async def is_withdrawn_there():
        return inference.gallery[person["id"]] == {}

    await until(is_withdrawn_there)
    missing = await operator.patch(address, json={"status": "missing"})
    assert (missing.json()["status"], missing.json()["found_at"]) == ("missing", None)

    async def is_back():
        (face,) = (await operator.get(address)).json()["faces"]
        return face["status"] == "enrolled"

    await until(is_back)
    assert list(inference.gallery[person["id"]]) == [person["faces"][0]["face_id"]]
    again = (await search(phone, make_photo(1))).json()["candidates"]
    assert [one["person_id"] for one in again] == [person["id"], bob["id"]]


@RETRIED_SOON
async def test_whoever_is_found_during_an_outage_is_out_of_every_search_all_the_same(
    operator, phone, enrol, inference
):
    person = await enrol("Ada", make_photo(1))
    inference.fail("delete_face", internal_error)
    await operator.patch(f"/v1/persons/{person['id']}", json={"status": "found"})

    answer = await search(phone, make_photo(1))

    assert inference.gallery[person["id"]] != {}, "the tier has not heard of it yet"
    assert answer.json()["candidates"] == []
    inference.recover()

    async def is_withdrawn_there():
        return inference.gallery[person["id"]] == {}

    await until(is_withdrawn_there)


async def test_a_photo_of_somebody_found_is_kept_and_not_enrolled(operator, enrol, inference):
    person = await enrol("Ada", make_photo(1))
    await operator.patch(f"/v1/persons/{person['id']}", json={"status": "found"})

    answer = await operator.post(
        f"/v1/persons/{person['id']}/faces", files={"photo": make_photo(2)}
    )

    assert (answer.status_code, answer.json()["status"]) == (201, "withdrawn")
    assert inference.called("enrol") == 1


async def test_the_faces_of_the_found_are_not_enrolled_again_by_the_command(
    running, operator, enrol, inference
):
    ada, bob = await enrol("Ada", make_photo(1)), await enrol("Bob", make_photo(2))
    await operator.patch(f"/v1/persons/{ada['id']}", json={"status": "found"})

    async def is_withdrawn_there():
        return inference.gallery[ada["id"]] == {}

    await until(is_withdrawn_there)
    inference.gallery.clear()

    sent = [one async for one in running.gateway.reenrolment.run()]

    assert [one.face_id for one in sent] == [bob["faces"][0]["face_id"]]
    assert inference.gallery[ada["id"]] == {}
