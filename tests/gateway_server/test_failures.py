"""A call without an answer leaves a row, loses nothing, and can be made good."""

import hashlib
import shutil

import pytest

from tests.gateway_server.conftest import search, slug_of
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


async def list_failures(client, **params):
    return (await client.get("/v1/failures", params=params)).json()["failures"]


@pytest.mark.parametrize("operation", ["gallery", "match"])
@pytest.mark.parametrize(("fault", "reason", "detail"), FAULTS)
async def test_a_search_without_an_answer_is_kept_and_its_failure_recorded(
    phone, operator, inference, operation, fault, reason, detail
):
    inference.fail(operation, fault)

    answer = await search(phone, make_photo(1))

    said = answer.json()
    assert (answer.status_code, slug_of(answer)) == (503, "inference-unavailable")
    assert answer.headers["retry-after"] == "5"
    assert said["reason"] == reason
    assert detail in said["detail"]
    kept = (await phone.get(f"/v1/searches/{said['search_id']}")).json()
    assert (kept["status"], kept["problem"]["type"]) == ("failed", said["type"])
    assert (await phone.get(f"/v1/searches/{said['search_id']}/photo")).content == make_photo(1)
    (failure,) = await list_failures(operator)
    assert failure == {
        "id": said["failure_id"],
        "kind": "search",
        "reason": reason,
        "detail": said["detail"],
        "request_id": said["request_id"],
        "photo_sha256": hashlib.sha256(make_photo(1)).hexdigest(),
        "search_id": said["search_id"],
        "person_id": None,
        "face_id": None,
        "attempts": 1,
        "created_at": failure["created_at"],
        "last_attempt_at": failure["last_attempt_at"],
        "resolved_at": None,
        "outcome": None,
    }


async def test_a_retried_search_is_done_as_if_nothing_had_happened(
    phone, operator, inference, enrol
):
    await enrol("Ada", make_photo(1))
    inference.fail("match", internal_error)
    failed = (await search(phone, make_photo(1))).json()
    inference.recover()

    answer = await operator.post(f"/v1/failures/{failed['failure_id']}/retry")

    assert answer.status_code == 200
    assert answer.json()["outcome"] == "done"
    assert answer.json()["resolved_at"]
    found = (await phone.get(f"/v1/searches/{failed['search_id']}")).json()
    assert found["status"] == "done"
    assert found["candidates"][0]["name"] == "Ada"
    assert "problem" not in found


async def test_a_retry_that_fails_again_counts_its_attempts(phone, operator, inference):
    inference.fail("match", internal_error)
    failed = (await search(phone, make_photo(1))).json()
    inference.fail("match", not_json)

    answer = await operator.post(f"/v1/failures/{failed['failure_id']}/retry")

    assert (answer.status_code, slug_of(answer)) == (503, "inference-unavailable")
    (failure,) = await list_failures(operator)
    assert (failure["id"], failure["attempts"]) == (failed["failure_id"], 2)
    assert failure["reason"] == "inference-garbled"
    assert failure["resolved_at"] is None


async def test_a_retry_that_meets_a_refusal_is_resolved_by_it(phone, operator, inference):
    inference.fail("match", internal_error)
    failed = (await search(phone, make_photo(1))).json()
    inference.recover()
    inference.refuse(make_photo(1), "no-face")

    answer = await operator.post(f"/v1/failures/{failed['failure_id']}/retry")

    assert (answer.status_code, answer.json()["outcome"]) == (200, "no-face")
    kept = (await phone.get(f"/v1/searches/{failed['search_id']}")).json()
    assert kept["problem"]["type"] == "urn:reunite:problem:no-face"


async def test_a_retry_without_the_photo_store_leaves_the_failure_open(
    phone, operator, inference, photo_dir
):
    inference.fail("match", internal_error)
    failed = (await search(phone, make_photo(1))).json()
    inference.recover()
    shutil.rmtree(photo_dir)

    answer = await operator.post(f"/v1/failures/{failed['failure_id']}/retry")

    assert (answer.status_code, slug_of(answer)) == (503, "photo-store-unavailable")
    assert len(await list_failures(operator, open=True)) == 1


async def test_a_search_that_is_done_stays_done_whatever_a_second_retry_meets(
    phone, operator, inference
):
    """Two operators retry at once: the second call fails while the first has succeeded."""
    inference.fail("match", internal_error)
    failed = (await search(phone, make_photo(1))).json()
    inference.recover()
    address = f"/v1/failures/{failed['failure_id']}/retry"

    async def let_another_succeed(operation):
        if operation == "match":
            inference.before_answer = None
            await operator.post(address)
            inference.refuse(make_photo(1), "no-face")

    inference.before_answer = let_another_succeed
    await operator.post(address)

    kept = (await phone.get(f"/v1/searches/{failed['search_id']}")).json()
    assert kept["status"] == "done"


async def test_what_is_resolved_is_not_retried(phone, operator, inference):
    inference.fail("match", internal_error)
    failed = (await search(phone, make_photo(1))).json()
    inference.recover()
    address = f"/v1/failures/{failed['failure_id']}/retry"
    await operator.post(address)

    answer = await operator.post(address)

    assert (answer.status_code, slug_of(answer)) == (409, "failure-resolved")


async def test_failures_are_paged_and_the_resolved_ones_left_out_on_request(
    phone, operator, inference
):
    inference.fail("match", internal_error)
    failed = [(await search(phone, make_photo(seed))).json()["failure_id"] for seed in range(3)]
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
    assert (failed.status_code, slug_of(failed)) == (503, "inference-unavailable")
    inference.recover()

    answer = await operator.post(f"/v1/failures/{failed.json()['failure_id']}/retry")

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
    retry = f"/v1/failures/{pending.json()['failure_id']}/retry"

    answer = await operator.post(retry)

    assert (answer.status_code, slug_of(answer)) == (503, "photo-store-unavailable")
    (failure,) = await list_failures(operator, open=True)
    assert (failure["reason"], failure["attempts"]) == ("photo-store-unavailable", 2)
    aside.rename(photo_dir)
    assert (await operator.post(retry)).json()["outcome"] == "enrolled"


async def test_a_registration_whose_photos_vanish_leaves_each_face_its_failure(
    operator, inference, photo_dir
):
    async def lose_the_photos(operation):
        if operation == "enrol":
            inference.before_answer = None
            shutil.rmtree(photo_dir)

    inference.before_answer = lose_the_photos
    files = [("photos[]", ("face.jpg", make_photo(seed))) for seed in (1, 2, 3)]
    answer = await operator.post("/v1/persons", data={"name": "Ada"}, files=files)

    reached = [one["status"] for one in answer.json()["photos"]]
    assert (answer.status_code, reached) == (201, ["enrolled", "pending", "pending"])
    reasons = [failure["reason"] for failure in await list_failures(operator, open=True)]
    assert reasons == ["photo-store-unavailable"] * 2


async def test_a_retried_enrolment_may_be_refused(operator, inference, enrol, photo_dir):
    person = await enrol("Ada", make_photo(1))
    inference.fail("enrol", internal_error)
    failed = await operator.post(
        f"/v1/persons/{person['id']}/faces", files={"photo": make_photo(2)}
    )
    inference.recover()
    inference.refuse(make_photo(2), "no-face")

    answer = await operator.post(f"/v1/failures/{failed.json()['failure_id']}/retry")

    assert (answer.status_code, answer.json()["outcome"]) == (200, "no-face")
    assert len(list(photo_dir.glob("??/??/*"))) == 1


@pytest.mark.parametrize("what", ["person", "face"])
async def test_a_deletion_that_did_not_arrive_removes_nothing_and_can_be_retried(
    operator, inference, enrol, what
):
    person = await enrol("Ada", make_photo(1))
    address = f"/v1/persons/{person['id']}"
    if what == "face":
        address += f"/faces/{person['faces'][0]['face_id']}"
    inference.fail("*", internal_error)
    failed = await operator.delete(address)
    assert (failed.status_code, slug_of(failed)) == (503, "inference-unavailable")
    kept = (await operator.get(f"/v1/persons/{person['id']}")).json()
    assert kept["faces"] == person["faces"]
    inference.recover()

    answer = await operator.post(f"/v1/failures/{failed.json()['failure_id']}/retry")

    assert (answer.json()["kind"], answer.json()["outcome"]) == ("deletion", "deleted")
    assert (await operator.delete(address)).status_code == 404
    assert inference.gallery.get(person["id"], {}) == {}


async def test_a_retry_for_somebody_deleted_since_is_closed(operator, inference, enrol):
    person = await enrol("Ada", make_photo(1))
    inference.fail("enrol", internal_error)
    failed = await operator.post(
        f"/v1/persons/{person['id']}/faces", files={"photo": make_photo(2)}
    )
    inference.recover()
    await operator.delete(f"/v1/persons/{person['id']}")

    answer = await operator.post(f"/v1/failures/{failed.json()['failure_id']}/retry")

    assert (answer.status_code, answer.json()["outcome"]) == (200, "deleted")
