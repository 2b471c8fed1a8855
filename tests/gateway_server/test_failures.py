"""A call without an answer leaves a row, loses nothing, and can be made good."""

import asyncio
import hashlib
import shutil
from datetime import datetime

import httpx
import pytest
from sqlalchemy import delete

from gateway_server.database import Database
from gateway_server.tables import Search
from tests.gateway_server.conftest import (
    RETRIED_SOON,
    list_failures,
    run_gateway,
    search,
    search_in_vain,
    slug_of,
    until,
)
from tests.gateway_server.fake_inference import (
    another_shape,
    html_error,
    internal_error,
    not_json,
    store_unavailable,
    wrong_token,
)
from tests.gateway_server.photos import make_photo

FAULTS = [
    (internal_error, "inference-failed", "500 (internal-error)"),
    (store_unavailable, "inference-failed", "503 (store-unavailable)"),
    (html_error, "inference-failed", "502 (no problem type)"),
    (not_json, "inference-garbled", "not as agreed"),
    (another_shape, "inference-garbled", "not as agreed"),
    (wrong_token, "inference-rejected", "401 (unauthorized)"),
]


@pytest.mark.parametrize("operation", ["gallery", "match"])
@pytest.mark.parametrize(("fault", "reason", "detail"), FAULTS)
async def test_a_search_without_an_answer_is_kept_and_its_failure_recorded(
    phone, operator, inference, operation, fault, reason, detail
):
    inference.fail(operation, fault)

    answer = await search(phone, make_photo(1))

    waiting = answer.json()
    assert (answer.status_code, waiting["status"]) == (202, "queued")
    assert answer.headers["location"] == f"/v1/searches/{waiting['id']}"
    assert answer.headers["retry-after"] == "1"
    kept = (await phone.get(answer.headers["location"])).json()
    assert kept == waiting
    assert "problem" not in kept
    assert (await phone.get(f"/v1/searches/{waiting['id']}/photo")).content == make_photo(1)
    (failure,) = await list_failures(operator)
    assert detail in failure["detail"]
    assert failure == {
        "id": failure["id"],
        "kind": "search",
        "reason": reason,
        "detail": failure["detail"],
        "request_id": answer.headers["x-request-id"],
        "photo_sha256": hashlib.sha256(make_photo(1)).hexdigest(),
        "search_id": waiting["id"],
        "person_id": None,
        "face_id": None,
        "removal_id": None,
        "attempts": 1,
        "created_at": failure["created_at"],
        "last_attempt_at": failure["last_attempt_at"],
        "next_attempt_at": failure["next_attempt_at"],
        "resolved_at": None,
        "outcome": None,
    }
    assert 29 < _seconds_until_next(failure) <= 60


def _seconds_until_next(failure):
    """Of the pause, 30 to 60 s, what was left when the failure was written."""
    moments = (failure["next_attempt_at"], failure["last_attempt_at"])
    until_then, since = (datetime.fromisoformat(one) for one in moments)
    return (until_then - since).total_seconds()


@RETRIED_SOON
async def test_a_search_that_met_an_outage_is_made_good_by_itself(
    phone, operator, inference, enrol
):
    await enrol("Ada", make_photo(1))
    inference.fail("match", internal_error)
    waiting = (await search(phone, make_photo(1))).json()
    await until(lambda: _has_failed_times(operator, 3))
    inference.recover()

    found = await until(lambda: _ended(phone, waiting["id"]))

    assert (found["status"], found["candidates"][0]["name"]) == ("done", "Ada")
    (failure,) = await list_failures(operator)
    assert failure["attempts"] >= 3
    assert (failure["outcome"], failure["next_attempt_at"]) == ("done", None)


async def _has_failed_times(operator, attempts):
    (failure,) = await list_failures(operator)
    return failure["attempts"] >= attempts


async def _ended(phone, search_id):
    kept = (await phone.get(f"/v1/searches/{search_id}")).json()
    return kept if kept["status"] in {"done", "failed"} else None


async def test_a_search_whose_attempts_are_used_up_is_given_up_to_operators(environment, inference):
    inference.fail("match", internal_error)
    environment["JOB_ATTEMPTS"] = "1"
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["mobile"]) as phone,
        running.client(running.keys["operator"]) as operator,
    ):
        answer = await search(phone, make_photo(1))
        given_up = await list_failures(operator, given_up=True)
        kept_photo = await phone.get(f"/v1/searches/{answer.json()['id']}/photo")
        inference.recover()
        retried = await operator.post(f"/v1/failures/{given_up[0]['id']}/retry")
        found = (await phone.get(f"/v1/searches/{answer.json()['id']}")).json()

    assert answer.json()["status"] == "failed"
    assert answer.json()["problem"]["type"] == "urn:reunite:problem:inference-unavailable"
    assert [(one["attempts"], one["next_attempt_at"]) for one in given_up] == [(1, None)]
    assert kept_photo.content == make_photo(1)
    assert (retried.json()["outcome"], found["status"]) == ("done", "done")
    assert "problem" not in found


async def test_a_retried_search_is_done_as_if_nothing_had_happened(
    phone, operator, inference, enrol
):
    await enrol("Ada", make_photo(1))
    inference.fail("match", internal_error)
    failed = await search_in_vain(phone, operator, make_photo(1))
    inference.recover()

    answer = await operator.post(f"/v1/failures/{failed['id']}/retry")

    assert answer.status_code == 200
    assert answer.json()["outcome"] == "done"
    assert answer.json()["resolved_at"]
    found = (await phone.get(f"/v1/searches/{failed['search_id']}")).json()
    assert found["status"] == "done"
    assert found["candidates"][0]["name"] == "Ada"
    assert "problem" not in found


async def test_a_retry_that_fails_again_counts_its_attempts(phone, operator, inference):
    inference.fail("match", internal_error)
    failed = await search_in_vain(phone, operator, make_photo(1))
    inference.fail("match", not_json)

    answer = await operator.post(f"/v1/failures/{failed['id']}/retry")

    assert answer.status_code == 200
    (failure,) = await list_failures(operator)
    assert failure == answer.json()
    assert (failure["id"], failure["attempts"]) == (failed["id"], 2)
    assert failure["reason"] == "inference-garbled"
    assert failure["resolved_at"] is None
    assert 29 < _seconds_until_next(failure) <= 60


async def test_a_retry_that_meets_a_refusal_is_resolved_by_it(phone, operator, inference):
    inference.fail("match", internal_error)
    failed = await search_in_vain(phone, operator, make_photo(1))
    inference.recover()
    inference.refuse(make_photo(1), "no-face")

    answer = await operator.post(f"/v1/failures/{failed['id']}/retry")

    assert (answer.status_code, answer.json()["outcome"]) == (200, "no-face")
    kept = (await phone.get(f"/v1/searches/{failed['search_id']}")).json()
    assert kept["problem"]["type"] == "urn:reunite:problem:no-face"


async def test_a_retry_without_the_photo_store_leaves_the_failure_open(
    phone, operator, inference, photo_dir
):
    inference.fail("match", internal_error)
    failed = await search_in_vain(phone, operator, make_photo(1))
    inference.recover()
    shutil.rmtree(photo_dir)

    answer = await operator.post(f"/v1/failures/{failed['id']}/retry")

    assert (answer.status_code, answer.json()["resolved_at"]) == (200, None)
    (failure,) = await list_failures(operator, open=True)
    assert (failure["reason"], failure["attempts"]) == ("photo-store-unavailable", 2)


@RETRIED_SOON
async def test_a_search_that_many_retry_at_once_is_done_once(environment, inference):
    """Each takes it from the one before, whose result is not recorded any more."""
    inference.fail("match", internal_error)
    environment |= {"JOB_LEASE_S": "0.2", "FIRST_PAUSE_S": "30", "LONGEST_PAUSE_S": "30"}
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["mobile"]) as phone,
        running.client(running.keys["operator"]) as operator,
    ):
        failed = await search_in_vain(phone, operator, make_photo(1))
        inference.recover()
        address = f"/v1/failures/{failed['id']}/retry"

        answers = await asyncio.gather(*(operator.post(address) for _ in range(5)))
        found = await until(lambda: _ended(phone, failed["search_id"]))
        ledger = await list_failures(operator)

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert found["status"] == "done"
    assert [(one["outcome"], one["attempts"]) for one in ledger] == [("done", 1)]


async def test_a_search_that_is_done_stays_done_when_its_job_comes_again(
    running, phone, operator, inference
):
    made = await search(phone, make_photo(1))
    inference.refuse(make_photo(1), "no-face")
    database, queue = running.gateway.queue._database, running.gateway.queue
    async with database.write() as session:
        await queue.add(session, "search", made.json()["id"], held=False)

    async def is_worked_off():
        return (await queue.depth()).waiting == 0

    running.gateway.workers.begin([])
    await until(is_worked_off)

    assert (await phone.get(made.headers["location"])).json() == made.json()


async def test_what_is_resolved_is_not_retried(phone, operator, inference):
    inference.fail("match", internal_error)
    failed = await search_in_vain(phone, operator, make_photo(1))
    inference.recover()
    address = f"/v1/failures/{failed['id']}/retry"
    await operator.post(address)

    answer = await operator.post(address)

    assert (answer.status_code, slug_of(answer)) == (409, "failure-resolved")


async def test_failures_are_paged_and_the_resolved_ones_left_out_on_request(
    phone, operator, inference
):
    inference.fail("match", internal_error)
    failed = [(await search_in_vain(phone, operator, make_photo(seed)))["id"] for seed in range(3)]
    inference.recover()
    await operator.post(f"/v1/failures/{failed[1]}/retry")

    first = (await operator.get("/v1/failures", params={"limit": 2})).json()
    rest = await list_failures(operator, cursor=first["next_cursor"])
    still_open = await list_failures(operator, open=True)

    assert [one["id"] for one in first["failures"]] == [failed[2], failed[1]]
    assert [one["id"] for one in rest] == [failed[0]]
    assert [one["id"] for one in still_open] == [failed[2], failed[0]]


@pytest.mark.parametrize("operation", ["put", "enrol"])
async def test_a_pending_enrolment_is_made_good_by_a_retry(operator, inference, enrol, operation):
    person = await enrol("Ada", make_photo(1))
    inference.fail(operation, internal_error)
    failed = await operator.post(
        f"/v1/persons/{person['id']}/faces", files={"photo": make_photo(2)}
    )
    assert (failed.status_code, failed.json()["status"]) == (202, "pending")
    assert failed.headers["location"].endswith(f"/faces/{failed.json()['face_id']}")
    (failure,) = await list_failures(operator, open=True)
    assert (failure["face_id"], failure["attempts"]) == (failed.json()["face_id"], 1)
    assert 29 < _seconds_until_next(failure) <= 60
    inference.recover()

    answer = await operator.post(f"/v1/failures/{failure['id']}/retry")

    assert (answer.json()["kind"], answer.json()["outcome"]) == ("enrolment", "enrolled")
    read = (await operator.get(f"/v1/persons/{person['id']}")).json()
    assert [face["status"] for face in read["faces"]] == ["enrolled", "enrolled"]
    assert failed.json()["face_id"] in inference.gallery[person["id"]]


async def test_a_pending_enrolment_is_made_good_by_sending_the_photo_again(
    operator, inference, enrol
):
    person = await enrol("Ada", make_photo(1))
    address = f"/v1/persons/{person['id']}/faces"
    inference.fail("enrol", internal_error)
    failed = await operator.post(address, files={"photo": make_photo(2)})
    assert failed.status_code == 202
    inference.recover()

    answer = await operator.post(address, files={"photo": make_photo(2)})

    assert answer.status_code == 201
    assert answer.json()["face_id"] == failed.json()["face_id"]
    assert await list_failures(operator, open=True) == []


@pytest.mark.parametrize("again", [{"face": "1"}, {}])
async def test_an_enrolment_that_arrived_unheard_of_may_be_sent_again_for_another_face(
    operator, inference, enrol, again
):
    person = await enrol("Ada", make_photo(1))
    address = f"/v1/persons/{person['id']}/faces"
    inference.fail("enrol", internal_error)
    first = {"face": "0"}
    failed = await operator.post(address, files={"photo": make_photo(2)}, data=first)
    inference.recover()
    face_id = failed.json()["face_id"]
    inference.gallery[person["id"]][face_id] = hashlib.sha256(make_photo(2)).hexdigest()
    inference.face_indices[face_id] = "0"

    answer = await operator.post(address, files={"photo": make_photo(2)}, data=again)

    assert (answer.status_code, answer.json()["status"]) == (201, "enrolled")
    assert face_id in inference.gallery[person["id"]]
    assert inference.face_indices[face_id] == again.get("face")
    assert await list_failures(operator, open=True) == []


async def test_a_face_whose_photo_cannot_be_read_is_a_failure_to_be_made_good(
    operator, inference, enrol, photo_dir
):
    person = await enrol("Ada", make_photo(1))
    aside = photo_dir.with_name("aside")
    inference.fail("put", internal_error)
    address = f"/v1/persons/{person['id']}/faces"
    pending = await operator.post(address, files={"photo": make_photo(2)})
    inference.recover()
    photo_dir.rename(aside)
    assert pending.status_code == 202
    (failed,) = await list_failures(operator, open=True)
    retry = f"/v1/failures/{failed['id']}/retry"

    answer = await operator.post(retry)

    assert (answer.status_code, answer.json()["resolved_at"]) == (200, None)
    (failure,) = await list_failures(operator, open=True)
    assert (failure["reason"], failure["attempts"]) == ("photo-store-unavailable", 2)
    aside.rename(photo_dir)
    assert (await operator.post(retry)).json()["outcome"] == "enrolled"


async def test_a_registration_whose_photos_vanish_leaves_each_face_its_failure(
    environment, inference, photo_dir
):
    async def lose_the_photos(operation):
        if operation == "enrol":
            inference.before_answer = None
            shutil.rmtree(photo_dir)

    inference.before_answer = lose_the_photos
    environment["JOB_CONCURRENCY"] = "1"
    files = [("photos[]", ("face.jpg", make_photo(seed))) for seed in (1, 2, 3)]
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["operator"]) as operator,
    ):
        answer = await operator.post("/v1/persons", data={"name": "Ada"}, files=files)
        failures = await list_failures(operator, open=True)

    reached = [one["status"] for one in answer.json()["photos"]]
    assert (answer.status_code, sorted(reached)) == (201, ["enrolled", "pending", "pending"])
    assert [failure["reason"] for failure in failures] == ["photo-store-unavailable"] * 2
    pending = {one["face_id"] for one in answer.json()["photos"] if one["status"] == "pending"}
    assert {failure["face_id"] for failure in failures} == pending


async def test_a_retried_enrolment_may_be_refused(operator, inference, enrol, photo_dir):
    person = await enrol("Ada", make_photo(1))
    inference.fail("enrol", internal_error)
    await operator.post(f"/v1/persons/{person['id']}/faces", files={"photo": make_photo(2)})
    (failed,) = await list_failures(operator, open=True)
    inference.recover()
    inference.refuse(make_photo(2), "no-face")

    answer = await operator.post(f"/v1/failures/{failed['id']}/retry")

    assert (answer.status_code, answer.json()["outcome"]) == (200, "no-face")
    assert len(list(photo_dir.glob("??/??/*"))) == 1


@pytest.mark.parametrize("what", ["person", "face"])
async def test_a_deletion_that_did_not_arrive_is_gone_here_at_once_and_can_be_retried(
    operator, inference, enrol, what
):
    person = await enrol("Ada", make_photo(1))
    address = f"/v1/persons/{person['id']}"
    if what == "face":
        address += f"/faces/{person['faces'][0]['face_id']}"
    inference.fail("*", internal_error)
    begun = await operator.delete(address)
    assert (begun.status_code, begun.json()["status"]) == (202, "deleting")
    assert begun.json()["vectors_deleted_at"] is None
    kept = await operator.get(f"/v1/persons/{person['id']}")
    assert kept.status_code == 404 if what == "person" else kept.json()["faces"] == []
    (failure,) = await list_failures(operator, open=True)
    assert (failure["kind"], failure["removal_id"]) == ("deletion", begun.json()["id"])
    assert (failure["reason"], failure["attempts"]) == ("inference-failed", 1)
    assert 29 < _seconds_until_next(failure) <= 60
    inference.recover()

    answer = await operator.post(f"/v1/failures/{failure['id']}/retry")

    assert (answer.json()["kind"], answer.json()["outcome"]) == ("deletion", "deleted")
    assert (await operator.get(begun.headers["location"])).json()["status"] == "deleted"
    assert (await operator.delete(address)).status_code == 404
    assert inference.gallery.get(person["id"], {}) == {}


async def test_a_failure_of_somebody_deleted_since_is_closed(operator, inference, enrol):
    person = await enrol("Ada", make_photo(1))
    inference.fail("enrol", internal_error)
    await operator.post(f"/v1/persons/{person['id']}/faces", files={"photo": make_photo(2)})
    inference.recover()
    await operator.delete(f"/v1/persons/{person['id']}")

    (failure,) = await list_failures(operator)
    answer = await operator.post(f"/v1/failures/{failure['id']}/retry")

    assert (failure["kind"], failure["outcome"]) == ("enrolment", "deleted")
    assert (answer.status_code, slug_of(answer)) == (409, "failure-resolved")


@pytest.mark.parametrize("how", ["one", "all"])
async def test_a_retry_for_a_search_deleted_since_closes_its_failure(
    phone, operator, inference, database_url, how
):
    inference.fail("match", internal_error)
    failed = await search_in_vain(phone, operator, make_photo(1))
    database = Database(database_url)
    async with database.write() as session:
        await session.execute(delete(Search).where(Search.id == failed["search_id"]))
    await database.close()

    which = f"{failed['id']}/" if how == "one" else ""
    answer = await operator.post(f"/v1/failures/{which}retry")

    assert answer.status_code == (200 if how == "one" else 202)
    (failure,) = await list_failures(operator)
    assert failure["outcome"] == "deleted"


async def test_all_open_failures_are_retried_together(phone, operator, inference, enrol):
    person = await enrol("Ada", make_photo(1))
    inference.fail("*", internal_error)
    waiting = [(await search(phone, make_photo(seed))).json() for seed in (2, 3)]
    await operator.post(f"/v1/persons/{person['id']}/faces", files={"photo": make_photo(4)})
    inference.recover()

    answer = await operator.post("/v1/failures/retry")

    async def are_closed():
        return await list_failures(operator, open=True) == []

    assert (answer.status_code, answer.json()) == (202, {"retried": 3})
    await until(are_closed)
    outcomes = [failure["outcome"] for failure in await list_failures(operator)]
    assert sorted(outcomes) == ["done", "done", "enrolled"]
    assert {(await _ended(phone, one["id"]))["status"] for one in waiting} == {"done"}
