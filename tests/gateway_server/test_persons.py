"""People and their faces: stored here first, enrolled there, reported photo by photo."""

import asyncio
import hashlib

import httpx
import pytest

from tests.gateway_server.conftest import (
    ONE_ENGINE,
    RETRIED_SOON,
    list_failures,
    run_gateway,
    search,
    slug_of,
    until,
)
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.photos import make_photo

ODD_NAMES = [
    "../../etc/passwd",
    "'; DROP TABLE person; --",
    "<script>alert(1)</script>",
    "김지은",
    "نور الهدى",
    "שרה",
    "🙂🙃",
    "Zoë 100% _under_",
    "A" * 200,
]
ODD_FILENAMES = [
    "../../../../etc/cron.d/reunite",
    "..\\..\\windows\\system32\\a.jpg",
    "/dev/null",
    "\u202egpj.exe",
    "😀.jpg",
    "con.jpg",
    "a" * 2000,
    "face.jpg\r\nX-Injected: yes",
    "a\0.jpg",
    "",
]


def photos(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("photos[]", (f"{index}.jpg", data)) for index, data in enumerate(contents)]


async def test_a_person_is_registered_with_all_their_details(operator):
    details = {
        "name": "Ada Lovelace",
        "reference": "2024/17",
        "birth_date": "1815-12-10",
        "missing_since": "1852-11-27",
        "notes": "likes\nengines",
    }

    answer = await operator.post("/v1/persons", data=details, files=photos(make_photo(1)))

    person = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/persons/{person['id']}"
    assert {name: person[name] for name in details} == details
    assert [face["status"] for face in person["faces"]] == ["enrolled"]
    assert person["photos"] == [
        {
            "index": 0,
            "status": "enrolled",
            "face_id": person["faces"][0]["face_id"],
            "quality": 78,
            "warnings": [],
            "problem": None,
        }
    ]
    read = (await operator.get(answer.headers["location"])).json()
    assert read == {name: value for name, value in person.items() if name != "photos"}


async def test_each_photo_is_reported_by_itself(operator, inference):
    good, faceless = make_photo(1), make_photo(2)
    inference.refuse(faceless, "no-face")

    answer = await operator.post(
        "/v1/persons", data={"name": "Ada"}, files=photos(faceless, good, good)
    )

    outcomes = answer.json()["photos"]
    assert answer.status_code == 201
    assert [(one["index"], one["status"]) for one in outcomes] == [
        (0, "refused"),
        (1, "enrolled"),
        (2, "refused"),
    ]
    assert outcomes[0]["problem"]["type"] == "urn:reunite:problem:no-face"
    assert outcomes[2]["problem"]["type"] == "urn:reunite:problem:duplicate-photo"
    assert len(answer.json()["faces"]) == 1


async def test_a_person_without_an_accepted_photo_is_not_kept(operator, inference, photo_dir):
    inference.refuse(make_photo(1), "no-face")
    inference.refuse(make_photo(2), "face-too-small")

    answer = await operator.post(
        "/v1/persons", data={"name": "Ada"}, files=photos(make_photo(1), make_photo(2))
    )

    assert (answer.status_code, slug_of(answer)) == (422, "no-photo-accepted")
    refused = [one["problem"]["type"].rpartition(":")[2] for one in answer.json()["photos"]]
    assert refused == ["no-face", "face-too-small"]
    assert (await operator.get("/v1/persons")).json()["persons"] == []
    assert inference.gallery == {}
    assert list(photo_dir.glob("??/??/*")) == []


@RETRIED_SOON
async def test_what_became_of_photos_after_the_answer_is_told_of_the_person(operator, inference):
    good, faceless, small = (make_photo(seed) for seed in range(3))
    inference.refuse(faceless, "no-face")
    inference.refuse(small, "face-too-small")
    inference.fail("*", internal_error)
    form = {"data": {"name": "Ada"}, "files": photos(faceless, good, small)}

    answer = await operator.post("/v1/persons", **form)
    before = (await operator.get(answer.headers["location"])).json()
    inference.recover()

    async def have_ended():
        read = (await operator.get(answer.headers["location"])).json()
        return read if [face["status"] for face in read["faces"]] == ["enrolled"] else None

    async def all_are_told():
        read = await until(have_ended)
        return read if len(read["refused_photos"]) == 2 else None

    read = await until(all_are_told)
    assert (answer.status_code, len(before["faces"]), before["refused_photos"]) == (202, 3, [])
    named = [one["face_id"] for one in answer.json()["photos"]]
    assert read["faces"][0]["face_id"] == named[1]
    reasons = {one["face_id"]: one["problem"] for one in read["refused_photos"]}
    assert reasons[named[0]]["type"] == "urn:reunite:problem:no-face"
    assert reasons[named[0]]["detail"] == "the inference tier says no-face"
    assert reasons[named[2]]["type"] == "urn:reunite:problem:face-too-small"
    gone = await operator.delete(answer.headers["location"])
    assert gone.status_code in {200, 202}


@RETRIED_SOON
async def test_a_person_whose_photos_were_all_refused_after_the_answer_says_so(operator, inference):
    inference.refuse(make_photo(1), "no-face")
    inference.fail("*", internal_error)

    answer = await operator.post("/v1/persons", data={"name": "A"}, files=photos(make_photo(1)))
    inference.recover()

    async def is_told():
        read = (await operator.get(answer.headers["location"])).json()
        return read if read["refused_photos"] else None

    read = await until(is_told)
    assert read["faces"] == []
    (refused,) = read["refused_photos"]
    assert refused["face_id"] == answer.json()["photos"][0]["face_id"]
    (listed,) = (await operator.get("/v1/persons")).json()["persons"]
    assert listed == read


async def test_photos_come_under_either_name(operator):
    files = [("photos", ("a.jpg", make_photo(1))), ("photos[]", ("b.jpg", make_photo(2)))]

    answer = await operator.post("/v1/persons", data={"name": "Ada"}, files=files)

    assert len(answer.json()["faces"]) == 2


async def test_the_row_is_there_before_the_inference_tier_is_asked(operator, inference):
    seen = []

    async def look(operation):
        listed = (await operator.get("/v1/persons")).json()["persons"]
        seen.append((operation, [face["status"] for one in listed for face in one["faces"]]))

    inference.before_answer = look
    await operator.post("/v1/persons", data={"name": "Ada"}, files=photos(make_photo(1)))

    assert seen == [("put", ["pending"]), ("enrol", ["pending"])]


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_an_odd_name_is_kept_as_it_is(enrol, operator, name):
    person = await enrol(name)

    found = (await operator.get("/v1/persons", params={"q": name})).json()["persons"]

    assert [(one["id"], one["name"]) for one in found] == [(person["id"], name)]


@ONE_ENGINE
@pytest.mark.parametrize("filename", ODD_FILENAMES)
async def test_a_filename_is_never_used(operator, photo_dir, filename):
    photo = make_photo(1)
    files = [("photos[]", (filename, photo))]

    answer = await operator.post("/v1/persons", data={"name": "Ada"}, files=files)

    stored = [path for path in photo_dir.rglob("*") if path.is_file()]
    assert answer.status_code == 201
    assert [path.name for path in stored] == [f"{hashlib.sha256(photo).hexdigest()}.jpg"]


async def test_people_are_listed_page_by_page_newest_first(operator, enrol):
    made = [(await enrol(f"Person {seed}", make_photo(seed)))["id"] for seed in range(5)]

    listed, cursor = [], {}
    for _ in range(3):
        page = (await operator.get("/v1/persons", params={"limit": 2, **cursor})).json()
        listed += [person["id"] for person in page["persons"]]
        cursor = {"cursor": page["next_cursor"]}

    assert listed == made[::-1]
    assert cursor == {"cursor": None}


@pytest.mark.parametrize(
    ("q", "names"),
    [
        ("ada", ["Ada"]),
        ("ÉLODIE", ["Élodie"]),
        ("e\u0301lo", ["Élodie"]),
        ("ＡＤＡ", ["Ada"]),
        ("17", ["Ada"]),
        ("%", ["100%"]),
        ("_", []),
        ("", ["100%", "Élodie", "Ada"]),
    ],
)
async def test_people_are_found_by_a_part_of_name_or_reference(operator, enrol, q, names):
    await enrol("Ada", make_photo(1), reference="2024/17")
    await enrol("Élodie", make_photo(2))
    await enrol("100%", make_photo(3))

    found = (await operator.get("/v1/persons", params={"q": q})).json()["persons"]

    assert [person["name"] for person in found] == names


async def test_a_change_touches_only_what_it_names(operator, enrol):
    person = await enrol("Ada", reference="17", notes="tall")

    answer = await operator.patch(
        f"/v1/persons/{person['id']}", json={"name": "Ada L.", "notes": None}
    )

    changed = answer.json()
    assert (changed["name"], changed["reference"], changed["notes"]) == ("Ada L.", "17", None)
    assert changed["updated_at"] > person["updated_at"]
    assert changed["created_at"] == person["created_at"]
    found = (await operator.get("/v1/persons", params={"q": "ada l."})).json()["persons"]
    assert len(found) == 1


async def test_a_face_is_added_and_found(operator, phone, enrol, inference):
    person = await enrol("Ada", make_photo(1))
    address = f"/v1/persons/{person['id']}/faces"

    answer = await operator.post(address, files={"photo": make_photo(2)}, data={"face": "1"})

    face = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{address}/{face['face_id']}"
    assert face["status"] == "enrolled"
    best = (await search(phone, make_photo(2))).json()["candidates"][0]
    assert (best["person_id"], best["face_id"]) == (person["id"], face["face_id"])


async def test_the_same_photo_again_changes_nothing(operator, enrol, inference):
    person = await enrol("Ada", make_photo(1))

    answer = await operator.post(
        f"/v1/persons/{person['id']}/faces", files={"photo": make_photo(1)}
    )

    assert answer.status_code == 200
    assert answer.json() == person["faces"][0]
    assert inference.called("enrol") == 1


async def test_a_refused_face_leaves_the_person_as_they_were(operator, enrol, inference, photo_dir):
    person = await enrol("Ada", make_photo(1))
    inference.refuse(make_photo(2), "no-face")

    answer = await operator.post(
        f"/v1/persons/{person['id']}/faces", files={"photo": make_photo(2)}
    )

    assert (answer.status_code, slug_of(answer)) == (422, "no-face")
    read = (await operator.get(f"/v1/persons/{person['id']}")).json()
    assert read["faces"] == person["faces"]
    assert len(list(photo_dir.glob("??/??/*"))) == 1


async def test_a_deleted_person_is_gone_from_every_tier(operator, enrol, inference, photo_dir):
    person = await enrol("Ada", make_photo(1))

    answer = await operator.delete(f"/v1/persons/{person['id']}")

    assert (answer.status_code, answer.json()["status"]) == (200, "deleted")
    assert (await operator.get(f"/v1/persons/{person['id']}")).status_code == 404
    assert (await operator.delete(f"/v1/persons/{person['id']}")).status_code == 404
    assert inference.gallery == {}
    assert list(photo_dir.glob("??/??/*")) == []


async def test_a_photo_that_a_search_needs_outlives_the_person(operator, phone, enrol):
    person = await enrol("Ada", make_photo(1))
    made = await search(phone, make_photo(1))
    await operator.delete(f"/v1/persons/{person['id']}")

    answer = await phone.get(f"{made.headers['location']}/photo")

    assert answer.content == make_photo(1)


async def test_a_deleted_face_is_gone_and_the_others_stay(operator, enrol, inference):
    person = await enrol("Ada", make_photo(1))
    added = await operator.post(f"/v1/persons/{person['id']}/faces", files={"photo": make_photo(2)})

    answer = await operator.delete(added.headers["location"])

    assert (answer.status_code, answer.json()["status"]) == (200, "deleted")
    assert answer.json()["face_id"] == added.json()["face_id"]
    read = (await operator.get(f"/v1/persons/{person['id']}")).json()
    assert read["faces"] == person["faces"]
    assert list(inference.gallery[person["id"]]) == [person["faces"][0]["face_id"]]


async def test_a_face_of_somebody_else_is_not_found(operator, enrol):
    ada, bob = await enrol("Ada", make_photo(1)), await enrol("Bob", make_photo(2))
    foreign = f"/v1/persons/{ada['id']}/faces/{bob['faces'][0]['face_id']}"

    answer = await operator.delete(foreign)

    assert (answer.status_code, slug_of(answer)) == (404, "face-not-found")


async def test_a_person_whose_inference_is_away_is_kept_for_later(
    operator: httpx.AsyncClient, inference
):
    inference.fail("enrol", internal_error)

    answer = await operator.post(
        "/v1/persons", data={"name": "Ada"}, files=photos(make_photo(1), make_photo(2))
    )

    outcomes = answer.json()["photos"]
    assert answer.status_code == 202
    assert [one["status"] for one in outcomes] == ["pending", "pending"]
    whys = {one["problem"]["type"] for one in outcomes}
    assert whys == {"urn:reunite:problem:inference-unavailable"}
    read = (await operator.get(answer.headers["location"])).json()
    assert [face["status"] for face in read["faces"]] == ["pending", "pending"]
    failures = await list_failures(operator, open=True)
    kept = {one["face_id"] for one in outcomes}
    assert {failure["face_id"] for failure in failures} == kept
    assert {(one["reason"], one["attempts"]) for one in failures} == {("inference-failed", 1)}
    inference.recover()
    await operator.post("/v1/failures/retry")

    async def are_enrolled():
        return inference.gallery.get(read["id"], {}).keys() == kept

    await until(are_enrolled)


async def test_more_photos_than_are_worked_off_at_a_time_are_all_waited_for(environment, inference):
    environment |= {"JOB_CONCURRENCY": "2", "MAX_PHOTOS_PER_REQUEST": "9"}
    inference.refuse(make_photo(4), "no-face")
    at_work, most = 0, 0
    two = asyncio.Event()

    async def count(operation):
        nonlocal at_work, most
        if operation == "enrol":
            at_work += 1
            most = max(most, at_work)
            if at_work == 2:
                two.set()
            await asyncio.wait_for(two.wait(), 10)
            await asyncio.sleep(0.01)  # for a third, if it were let in
            at_work -= 1

    inference.before_answer = count
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["operator"]) as operator,
    ):
        nine = photos(*(make_photo(seed) for seed in range(9)))
        answer = await operator.post("/v1/persons", data={"name": "Ada"}, files=nine)

    reached = [one["status"] for one in answer.json()["photos"]]
    assert (answer.status_code, most) == (201, 2)
    assert reached == ["enrolled"] * 4 + ["refused"] + ["enrolled"] * 4
