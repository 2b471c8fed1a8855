"""Photos of faces and small pictures of both faces and searches."""

import pytest

from tests.gateway_server.conftest import ONE_ENGINE, search, slug_of
from tests.gateway_server.fake_inference import html_error, internal_error
from tests.gateway_server.photos import make_photo

NOBODY = "00000000-0000-4000-8000-000000000000"
THUMB = {"size": "thumb"}


def address_of(person) -> str:
    return f"/v1/persons/{person['id']}/faces/{person['faces'][0]['face_id']}/photo"


async def test_a_faces_photo_is_the_one_that_was_sent(operator, enrol):
    answer = await operator.get(address_of(await enrol("Ada", make_photo(1))))

    assert answer.content == make_photo(1)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "private, no-store"


async def test_a_thumbnail_is_made_once_and_kept(operator, enrol, inference):
    address = address_of(await enrol("Ada", make_photo(1)))

    first = await operator.get(address, params=THUMB)
    again = await operator.get(address, params=THUMB)

    assert first.content == again.content
    assert first.content.startswith(b"RIFF")
    assert first.headers["content-type"] == "image/webp"
    assert first.headers["cache-control"] == "private, max-age=300"
    assert {"authorization", "cookie"} <= set(first.headers["vary"].lower().split(", "))
    assert inference.called("thumbnail") == 1


async def test_a_thumbnail_shows_the_face_that_was_chosen(operator, enrol):
    person = await enrol("Ada", make_photo(1))
    files = {"photo": make_photo(2)}
    added = await operator.post(
        f"/v1/persons/{person['id']}/faces", files=files, data={"face": "3"}
    )
    best = await operator.get(address_of(person), params=THUMB)
    chosen = await operator.get(f"{added.headers['location']}/photo", params=THUMB)
    assert best.content.endswith(b" None")
    assert chosen.content.endswith(b" 3")


async def test_a_search_has_a_thumbnail_even_without_a_face(phone, inference):
    inference.refuse(make_photo(1), "no-face")
    failed = (await search(phone, make_photo(1))).json()["search_id"]
    answer = await phone.get(f"/v1/searches/{failed}/photo", params=THUMB)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")


async def test_thumbnails_go_with_the_photo(operator, enrol, inference):
    person = await enrol("Ada", make_photo(1))
    await operator.get(address_of(person), params=THUMB)
    await operator.delete(f"/v1/persons/{person['id']}")
    await operator.get(address_of(await enrol("Ada", make_photo(1))), params=THUMB)
    assert inference.called("thumbnail") == 2


@pytest.mark.parametrize("fault", [internal_error, html_error])
@ONE_ENGINE
async def test_without_the_inference_tier_whole_photos_are_still_there(
    operator, enrol, inference, fault
):
    address = address_of(await enrol("Ada", make_photo(1)))
    inference.fail("*", fault)
    small = await operator.get(address, params=THUMB)
    assert (small.status_code, slug_of(small)) == (503, "inference-unavailable")
    assert (await operator.get(address)).status_code == 200


@ONE_ENGINE
async def test_a_face_is_found_under_its_own_person_alone(operator, enrol):
    ada, bo = await enrol("Ada", make_photo(1)), await enrol("Bo", make_photo(2))
    face = ada["faces"][0]["face_id"]
    for person_id, face_id in ((bo["id"], face), (ada["id"], NOBODY), (NOBODY, face)):
        answer = await operator.get(f"/v1/persons/{person_id}/faces/{face_id}/photo")
        assert (answer.status_code, slug_of(answer)) == (404, "face-not-found")


@ONE_ENGINE
async def test_pictures_of_the_gallery_are_not_for_phones(phone, enrol):
    answer = await phone.get(address_of(await enrol("Ada", make_photo(1))))
    assert (answer.status_code, slug_of(answer)) == (403, "forbidden")


@ONE_ENGINE
async def test_whoever_looks_at_a_photo_is_in_the_audit(running, operator, enrol):
    person = await enrol("Ada", make_photo(1))
    await operator.get(address_of(person), params=THUMB)
    async with running.client(running.keys["admin"]) as admin:
        row = (await admin.get("/v1/audit")).json()["rows"][0]
    assert (row["action"], row["person_id"]) == ("photo", person["id"])
    assert row["subject_id"] == person["faces"][0]["face_id"]
    assert row["photo_sha256"]


@ONE_ENGINE
async def test_there_are_no_other_sizes(operator, enrol):
    answer = await operator.get(
        address_of(await enrol("Ada", make_photo(1))), params={"size": "8k"}
    )
    assert slug_of(answer) == "invalid-parameter"
