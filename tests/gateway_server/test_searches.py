"""A photo goes in, the most similar people come out, and a durable record stays."""

import hashlib
from uuid import UUID

import pytest

from tests.gateway_server.conftest import search, slug_of
from tests.gateway_server.fake_inference import FACE
from tests.gateway_server.photos import make_photo


async def test_a_search_answers_the_documented_shape(phone, enrol):
    person = await enrol("Ada", make_photo(1))

    answer = await search(phone, make_photo(1))

    found = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/searches/{found['id']}"
    assert UUID(found["id"]).version == 4
    assert found == {
        "id": found["id"],
        "status": "done",
        "cached": False,
        "request_id": answer.headers["x-request-id"],
        "created_at": found["created_at"],
        "model": {"name": "heatmap", "sha256": "c" * 64},
        "gallery": {"persons": 1, "faces": 1},
        "faces": [{name: value for name, value in FACE.items() if name != "score"}],
        "face": 0,
        "warnings": [],
        "verdict": "lead",
        "candidates": [
            {
                "rank": 1,
                "person_id": person["id"],
                "name": "Ada",
                "face_id": person["faces"][0]["face_id"],
                "similarity": 0.9,
                "confidence": 0.998,
                "expected_false_matches": 0.004,
                "ruled_out": False,
            }
        ],
        "timings_ms": found["timings_ms"],
    }
    assert found["timings_ms"].keys() == {"decode", "detect", "embed", "search", "total"}


async def test_a_search_can_be_read_again(phone):
    made = await search(phone, make_photo(1))

    read = await phone.get(made.headers["location"])

    assert read.status_code == 200
    assert read.json() == made.json()


async def test_options_reach_the_inference_tier(phone, enrol):
    for seed in range(3):
        await enrol(f"Person {seed}", make_photo(seed))

    found = (await search(phone, make_photo(9), top_k=2, model="base", face=3)).json()

    assert found["model"]["name"] == "base"
    assert found["face"] == 3
    assert [one["rank"] for one in found["candidates"]] == [1, 2]


async def test_headers_of_later_releases_do_no_harm(phone):
    headers = {"Prefer": "handling=lenient, wait=10", "Priority": "u=1", "Upload-Limit": "1"}

    answer = await phone.post(
        "/v1/searches", files={"photo": ("p.jpg", make_photo(1))}, headers=headers
    )

    assert answer.json()["status"] == "done"
    assert "preference-applied" not in answer.headers


async def test_the_photo_is_stored_under_its_content_before_inference_is_asked(
    phone, inference, photo_dir
):
    photo = make_photo(1)
    sha256 = hashlib.sha256(photo).hexdigest()
    path = photo_dir / sha256[:2] / sha256[2:4] / f"{sha256}.jpg"
    seen = []

    async def look(operation):
        seen.append((operation, path.read_bytes() == photo))

    inference.before_answer = look
    await search(phone, photo)

    assert seen == [("gallery", True), ("match", True)]
    assert list((photo_dir / "arriving").iterdir()) == []


async def test_the_same_photo_is_stored_once(phone, photo_dir):
    for _ in range(2):
        await search(phone, make_photo(1))

    assert len(list(photo_dir.glob("??/??/*"))) == 1


async def test_a_search_gives_its_photo_back(phone):
    photo = make_photo(1, kind="PNG")
    made = await search(phone, photo)

    answer = await phone.get(f"{made.headers['location']}/photo")

    assert answer.content == photo
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "private, no-store"


async def test_the_heatmap_is_of_the_face_that_was_searched_for(phone):
    photo = make_photo(1)
    made = await search(phone, photo, model="base", face=2)

    answer = await phone.get(f"{made.headers['location']}/heatmap")

    sha256 = hashlib.sha256(photo).hexdigest()
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.endswith(f"{sha256} base 2".encode())


async def test_a_candidates_heatmap_is_of_the_enrolled_photo_that_matched(phone, enrol):
    person = await enrol("Ada", make_photo(1))
    made = await search(phone, make_photo(2))

    answer = await phone.get(f"{made.headers['location']}/candidates/{person['id']}/heatmap")

    sha256 = hashlib.sha256(make_photo(1)).hexdigest()
    assert answer.content.endswith(f"{sha256} heatmap None".encode())


async def test_a_candidates_photo_is_the_enrolled_one_that_matched(phone, enrol):
    person = await enrol("Ada", make_photo(1))
    made = await search(phone, make_photo(2))

    answer = await phone.get(f"{made.headers['location']}/candidates/{person['id']}/photo")

    assert answer.content == make_photo(1)
    assert answer.headers["cache-control"] == "private, no-store"


async def test_a_candidates_photo_can_be_had_small(phone, enrol):
    person = await enrol("Ada", make_photo(1))
    made = await search(phone, make_photo(2))

    address = f"{made.headers['location']}/candidates/{person['id']}/photo?size=thumb"

    assert (await phone.get(address)).headers["content-type"] == "image/webp"


@pytest.mark.parametrize("picture", ["photo", "photo?size=thumb", "heatmap"])
async def test_a_person_who_is_no_candidate_is_not_shown(phone, picture):
    made = await search(phone, make_photo(2))

    answer = await phone.get(f"{made.headers['location']}/candidates/somebody/{picture}")

    assert (answer.status_code, slug_of(answer)) == (404, "person-not-found")


@pytest.mark.parametrize("picture", ["photo", "photo?size=thumb", "heatmap"])
async def test_who_is_found_is_shown_to_operators_alone(phone, operator, enrol, picture):
    person = await enrol("Ada", make_photo(1))
    made = await search(phone, make_photo(2))
    address = f"{made.headers['location']}/candidates/{person['id']}/{picture}"
    assert (await phone.get(address)).status_code == 200
    await operator.patch(f"/v1/persons/{person['id']}", json={"status": "found"})

    answer = await phone.get(address)

    assert (answer.status_code, slug_of(answer)) == (404, "face-not-found")
    assert (await operator.get(address)).status_code == 200


async def test_names_are_todays(phone, operator, enrol):
    ada, bob = await enrol("Ada", make_photo(1)), await enrol("Bob", make_photo(2))
    made = await search(phone, make_photo(1))
    await operator.patch(f"/v1/persons/{ada['id']}", json={"name": "Ada Lovelace"})
    await operator.delete(f"/v1/persons/{bob['id']}")

    read = (await phone.get(made.headers["location"])).json()

    names = {one["person_id"]: one["name"] for one in read["candidates"]}
    assert names == {ada["id"]: "Ada Lovelace", bob["id"]: None}


async def test_a_second_search_for_the_same_photo_is_answered_from_the_cache(phone, inference):
    first = (await search(phone, make_photo(1))).json()
    second = (await search(phone, make_photo(1))).json()

    assert (first["cached"], second["cached"]) == (False, True)
    assert inference.called("match") == 1
    assert second["id"] != first["id"]
    assert second["candidates"] == first["candidates"]
    assert second["timings_ms"].keys() == {"total"}


@pytest.mark.parametrize("options", [{"top_k": 6}, {"model": "base"}, {"face": 1}])
async def test_other_options_are_another_question(phone, inference, options):
    await search(phone, make_photo(1))

    other = (await search(phone, make_photo(1), **options)).json()

    assert not other["cached"]


async def test_an_enrolment_and_a_deletion_each_make_cached_answers_void(phone, operator, enrol):
    await search(phone, make_photo(1))
    person = await enrol("Ada", make_photo(1))
    after_enrolment = (await search(phone, make_photo(1))).json()
    await operator.delete(f"/v1/persons/{person['id']}")
    after_deletion = (await search(phone, make_photo(1))).json()

    assert [one["name"] for one in after_enrolment["candidates"]] == ["Ada"]
    assert after_deletion["candidates"] == []


async def test_a_new_model_makes_cached_answers_void(phone, inference):
    await search(phone, make_photo(1))
    inference.models = {**inference.models, "base": {"sha256": "d" * 64}}

    assert not (await search(phone, make_photo(1))).json()["cached"]


async def test_an_answer_is_kept_under_the_gallery_that_it_was_found_in(phone, inference):
    async def enrol_meanwhile(operation):
        if operation == "match":
            inference.version += 1

    inference.before_answer = enrol_meanwhile
    await search(phone, make_photo(1))
    inference.before_answer = None

    assert (await search(phone, make_photo(1))).json()["cached"]


async def test_a_phone_sees_its_own_searches_only(running, phone, operator):
    made = await search(phone, make_photo(1))
    location = made.headers["location"]
    other_key = await running.gateway.keyring.create("another phone", "mobile")

    async with running.client(other_key) as other:
        for address in (location, f"{location}/photo", f"{location}/heatmap"):
            answer = await other.get(address)
            assert (answer.status_code, slug_of(answer)) == (404, "search-not-found")

    assert (await operator.get(location)).status_code == 200


async def test_feedback_is_created_then_changed(phone, enrol):
    person = await enrol("Ada", make_photo(1))
    made = await search(phone, make_photo(1))
    address = f"{made.headers['location']}/feedback"

    first = await phone.post(address, json={"person_id": person["id"], "verdict": "same"})
    second = await phone.post(address, json={"person_id": person["id"], "verdict": "unsure"})

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == {
        "search_id": made.json()["id"],
        "person_id": person["id"],
        "verdict": "unsure",
    }


async def test_feedback_on_somebody_else_is_refused(phone, enrol):
    made = await search(phone, make_photo(1))

    answer = await phone.post(
        f"{made.headers['location']}/feedback", json={"person_id": "nobody", "verdict": "same"}
    )

    assert (answer.status_code, slug_of(answer)) == (422, "candidate-not-in-search")


@pytest.mark.parametrize(
    ("slug", "status"),
    [
        ("no-face", 422),
        ("no-such-face", 422),
        ("face-too-small", 422),
        ("quality-too-low", 422),
        ("unreadable-image", 422),
        ("too-many-pixels", 422),
        ("photo-too-large", 413),
        ("unsupported-image-type", 415),
    ],
)
async def test_a_refusal_of_the_photo_passes_through_and_is_recorded(
    phone, inference, operator, slug, status
):
    photo = make_photo(1)
    inference.refuse(photo, slug, status)

    answer = await search(phone, photo)

    assert (answer.status_code, slug_of(answer)) == (status, slug)
    read = (await phone.get(f"/v1/searches/{answer.json()['search_id']}")).json()
    assert read["status"] == "failed"
    assert read["problem"]["type"] == f"urn:reunite:problem:{slug}"
    assert read["problem"]["detail"] == f"the inference tier says {slug}"
    assert (await operator.get("/v1/failures")).json()["failures"] == []


async def test_a_failed_search_has_no_heatmap(phone, inference):
    photo = make_photo(1)
    inference.refuse(photo, "no-face")
    refused = await search(phone, photo)

    answer = await phone.get(f"/v1/searches/{refused.json()['search_id']}/heatmap")

    assert (answer.status_code, slug_of(answer)) == (409, "search-not-done")
