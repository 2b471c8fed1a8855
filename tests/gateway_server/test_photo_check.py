"""POST /v1/photos/check: what an enrolment would meet; nothing of it is kept."""

import httpx
import pytest

from tests.gateway_server.conftest import ONE_ENGINE, slug_of
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.photos import make_photo


async def check(client: httpx.AsyncClient, photo: bytes, **options: str) -> httpx.Response:
    files = {"photo": ("p.jpg", photo)}
    return await client.post("/v1/photos/check", files=files, data=options)


async def test_a_photo_of_a_stranger_resembles_nobody(operator, enrol):
    await enrol("Ada", make_photo(1))

    said = (await check(operator, make_photo(2))).json()

    assert [(face["quality"], face["warnings"]) for face in said["faces"]] == [(78, [])]
    assert (said["face"], said["problem"]) == (0, None)
    assert (said["resembling"], said["same_photo"]) == ([], [])


async def test_the_very_photo_of_somebody_is_pointed_out(operator, enrol):
    person = await enrol("Ada", make_photo(1), reference="R 1")

    said = (await check(operator, make_photo(1))).json()

    known = {"person_id": person["id"], "name": "Ada", "reference": "R 1", "status": "missing"}
    assert said["same_photo"] == [known]
    (resembling,) = said["resembling"]
    assert {name: resembling[name] for name in known} == known
    assert resembling["similarity"] == 0.9
    assert resembling["face_id"] == person["faces"][0]["face_id"]


async def test_whoever_is_found_resembles_nobody_but_keeps_their_photo(operator, enrol):
    person = await enrol("Ada", make_photo(1))
    await operator.patch(f"/v1/persons/{person['id']}", json={"status": "found"})

    said = (await check(operator, make_photo(1))).json()

    assert said["resembling"] == []
    assert [(one["person_id"], one["status"]) for one in said["same_photo"]] == [
        (person["id"], "found")
    ]


@pytest.mark.parametrize(
    ("slug", "faces"), [("no-face", 0), ("face-too-small", 1), ("quality-too-low", 1)]
)
@ONE_ENGINE
async def test_a_photo_that_would_be_refused_says_why_and_shows_its_faces(
    operator, inference, slug: str, faces: int
):
    inference.refuse(make_photo(1), slug)

    answer = await check(operator, make_photo(1))

    assert answer.status_code == 200
    assert answer.json()["problem"]["type"] == f"urn:reunite:problem:{slug}"
    assert len(answer.json()["faces"]) == faces
    assert answer.json()["resembling"] == []


@pytest.mark.parametrize(
    ("photo", "answered"),
    [
        (b"", (400, "empty-photo")),
        (b"<svg onload='alert(1)'/>", (415, "unsupported-image-type")),
        (b"\xff\xd8\xff no picture at all, but long enough", (422, "unreadable-image")),
    ],
    ids=["empty", "svg", "damaged"],
)
@ONE_ENGINE
async def test_what_is_no_photo_is_refused(operator, photo: bytes, answered: tuple[int, str]):
    answer = await check(operator, photo)
    assert (answer.status_code, slug_of(answer)) == answered


@ONE_ENGINE
async def test_a_face_may_be_chosen(operator, inference):
    assert (await check(operator, make_photo(1), face="2")).json()["face"] == 2
    inference.refuse(make_photo(2), "no-such-face")
    answer = await check(operator, make_photo(2), face="9")
    assert (answer.status_code, slug_of(answer)) == (422, "no-such-face")


async def test_nothing_of_it_is_kept(operator, inference, photo_dir):
    for photo in (make_photo(1), make_photo(2)):
        inference.refuse(make_photo(2), "no-face")
        await check(operator, photo)

    assert [path for path in photo_dir.rglob("*") if path.is_file()] == []
    assert (await operator.get("/v1/searches")).json()["searches"] == []
    assert (await operator.get("/v1/persons")).json()["persons"] == []


@ONE_ENGINE
async def test_the_audit_has_a_row_with_the_photos_sha256(running, operator):
    await check(operator, make_photo(1))
    async with running.client(running.keys["admin"]) as admin:
        row = (await admin.get("/v1/audit")).json()["rows"][0]
    assert (row["action"], row["outcome"], row["search_id"]) == ("check", "allowed", None)
    assert len(row["photo_sha256"]) == 64


@ONE_ENGINE
async def test_it_is_not_for_phones_and_needs_the_inference_tier(operator, phone, inference):
    assert (await check(phone, make_photo(1))).status_code == 403
    inference.fail("*", internal_error)
    answer = await check(operator, make_photo(1))
    assert (answer.status_code, slug_of(answer)) == (503, "inference-unavailable")
