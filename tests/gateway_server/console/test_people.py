"""The pages about people: found, added, changed, merged, deleted."""

import html
import re
from functools import partial
from uuid import uuid4

import pytest

from tests.gateway_server.conftest import ONE_ENGINE, until
from tests.gateway_server.console.browser import Browser, assert_for_operators_alone
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.photos import make_photo

pytestmark = ONE_ENGINE
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
AS_FRAGMENT = {"HX-Request": "true"}
NOBODY = "00000000-0000-4000-8000-000000000000"


async def send_photos(desk: Browser, address: str, *photos: bytes, **fields: str):
    """As photos.js does."""
    name = "photos" if address.endswith("people") else "photo"
    files = [(name, (f"{index}.jpg", data)) for index, data in enumerate(photos)]
    once = {"Idempotency-Key": str(uuid4())}
    headers = {"X-CSRF-Token": desk.csrf_token, "HX-Request": "true", **once}
    return await desk.client.post(address, files=files, data=fields, headers=headers)


def shown_names(page: str) -> list[str]:
    return [html.unescape(name) for name in re.findall(r'class="whole"[^>]*>([^<]+)<', page)]


async def test_nobody_is_said_plainly(desk):
    page = await desk.open("/console/people")
    assert "Nobody is registered yet." in page.text
    assert "Nobody fits this." in (await desk.open("/console/people?q=x")).text


async def test_people_are_listed_with_picture_and_state(desk, operator, enrol):
    ada = await enrol("Ada", make_photo(1), reference="K 7", missing_since="2024-02-29")
    bo = await enrol("Bo", make_photo(2))
    await operator.patch(f"/v1/persons/{bo['id']}", json={"status": "found"})

    page = (await desk.open("/console/people")).text

    assert shown_names(page) == ["Bo", "Ada"]
    face = ada["faces"][0]["face_id"]
    assert f'src="/v1/persons/{ada["id"]}/faces/{face}/photo?size=thumb"' in page
    assert "K 7" in page
    assert "2024-02-29" in page
    assert page.count("Missing</span>") == 1
    assert page.count("Found</span>") == 1


async def test_the_list_is_filtered_and_paged(desk, operator, enrol, monkeypatch):
    monkeypatch.setattr("gateway_server.console.people.PEOPLE_ON_A_PAGE", 2)
    people = [await enrol(f"Person {seed}", make_photo(seed)) for seed in range(3)]
    await operator.patch(f"/v1/persons/{people[0]['id']}", json={"status": "found"})

    first = (await desk.open("/console/people")).text
    (following,) = re.findall(r'href="([^"]+)" rel="next"', first)
    second = (await desk.open(html.unescape(following))).text

    assert shown_names(first) + shown_names(second) == ["Person 2", "Person 1", "Person 0"]
    assert 'rel="first"' in second
    for query, names in {
        "status=found": ["Person 0"],
        "status=missing": ["Person 2", "Person 1"],
        "q=on+1": ["Person 1"],
        "photos=pending": [],
        "photos=refused": [],
        "status=&photos=&since=&q=": ["Person 2", "Person 1"],
        "since=2999-01-01": [],
    }.items():
        assert shown_names((await desk.open(f"/console/people?{query}")).text) == names, query


async def test_a_part_is_answered_to_the_pages_own_script(desk, enrol):
    await enrol("Ada", make_photo(1))
    part = (await desk.open("/console/people?q=ad", headers=AS_FRAGMENT)).text
    assert shown_names(part) == ["Ada"]
    assert "<html" not in part


@pytest.mark.parametrize(
    "query", ["cursor=x", f"cursor={'x' * 300}", "since=soon", "q=" + "x" * 300]
)
async def test_a_filter_that_cannot_be_is_a_page_that_says_so(desk, query: str):
    page = await desk.open(f"/console/people?{query}")
    assert page.status_code in {400, 422}
    assert "text/html" in page.headers["content-type"]


async def test_a_photo_is_judged_before_it_is_saved(desk, inference, enrol):
    ada = await enrol("Ada", make_photo(1), reference="K 7")
    good = (await send_photos(desk, "/console/people/check", make_photo(2))).text
    assert "78" in good
    assert "Good photo" in good
    assert 'data-resembling=""' in good
    known = (await send_photos(desk, "/console/people/check", make_photo(1))).text
    assert 'data-resembling="1"' in known
    assert f'href="/console/people/{ada["id"]}"' in known
    inference.refuse(make_photo(3), "no-face")
    faceless = (await send_photos(desk, "/console/people/check", make_photo(3))).text
    assert 'data-unfit="1"' in faceless
    assert "No face was found" in faceless
    broken = await send_photos(desk, "/console/people/check", b"<svg onload='alert(1)'/>")
    assert broken.status_code == 415
    assert "<svg onload" not in broken.text
    own = await send_photos(desk, f"/console/people/check?of={ada['id']}", make_photo(1))
    assert 'data-resembling=""' in own.text
    assert "This photo is here already" in own.text


async def test_a_person_is_added_with_several_photos(desk, operator):
    answer = await send_photos(
        desk, "/console/people", make_photo(1), make_photo(2), name="Ada", reference="K 7"
    )

    assert answer.status_code == 201
    page = (await desk.open(answer.headers["location"])).text
    assert "Saved." in page
    (person,) = (await operator.get("/v1/persons")).json()["persons"]
    assert (person["name"], person["reference"], len(person["faces"])) == ("Ada", "K 7", 2)


async def test_what_cannot_be_saved_is_said_in_the_page(desk, inference):
    inference.refuse(make_photo(1), "no-face")
    for fields, photo, said in (
        ({"name": "Ada"}, make_photo(1), "None of the photos could be enrolled"),
        ({"name": " "}, make_photo(2), "A person needs a name"),
        ({"name": "A", "birth_date": "1.2.2000"}, make_photo(2), "YYYY-MM-DD"),
    ):
        answer = await send_photos(desk, "/console/people", photo, **fields)
        assert answer.status_code == 422
        assert answer.headers["content-type"].startswith("text/html")
        assert said in answer.text
        assert "<html" not in answer.text


async def test_the_same_form_sent_twice_makes_one_person(desk, operator):
    headers = {"X-CSRF-Token": desk.csrf_token, "Idempotency-Key": "once"}
    form = {"files": {"photos": make_photo(1)}, "data": {"name": "Ada"}}
    one = await desk.client.post("/console/people", headers=headers, **form)
    two = await desk.client.post("/console/people", headers=headers, **form)
    assert one.headers["location"] == two.headers["location"]
    assert len((await operator.get("/v1/persons")).json()["persons"]) == 1


async def test_details_are_changed_and_mistakes_keep_what_was_typed(desk, enrol):
    person = await enrol("Ada", make_photo(1))
    address = f"/console/people/{person['id']}"
    changed = await desk.send(address, name="Ida", reference="K 8", notes="a scar\nleft")
    assert (changed.status_code, changed.headers["location"]) == (303, f"{address}?done=changed")
    page = (await desk.open(address)).text
    assert "Ida" in page
    assert "a scar\nleft" in page
    mistaken = await desk.send(address, name="", reference="typed before")
    assert mistaken.status_code == 422
    assert "Not saved." in mistaken.text
    assert "typed before" in mistaken.text
    assert "Ida" in (await desk.open(address)).text


async def test_found_and_missing_again(desk, enrol, inference):
    person = await enrol("Ada", make_photo(1))
    address = f"/console/people/{person['id']}"
    await desk.send(f"{address}/status", status="found")
    page = (await desk.open(f"{address}?done=found")).text
    assert "no search shows them any more" in page

    async def is_searched(faces: int) -> bool:
        return len(inference.gallery[person["id"]]) == faces

    await until(partial(is_searched, 0))
    await desk.send(f"{address}/status", status="missing")
    await until(partial(is_searched, 1))
    assert (await desk.send(f"{address}/status", status="lost")).status_code == 422


async def test_photos_are_added_and_deleted(desk, operator, enrol):
    person = await enrol("Ada", make_photo(1))
    address = f"/console/people/{person['id']}"
    added = await send_photos(desk, f"{address}/faces", make_photo(2))
    assert (added.status_code, added.headers["location"]) == (201, f"{address}?done=photo-added")
    faces = (await operator.get(f"/v1/persons/{person['id']}")).json()["faces"]
    await desk.send(f"{address}/faces/{faces[0]['face_id']}/delete")
    left = (await operator.get(f"/v1/persons/{person['id']}")).json()["faces"]
    assert left == faces[1:]


async def test_whoever_deletes_types_the_name_and_gets_a_receipt(desk, operator, enrol, inference):
    person = await enrol("Zoë  Ångström", make_photo(1))
    address = f"/console/people/{person['id']}/delete"
    assert "Zoë  Ångström" in (await desk.open(address)).text
    mistyped = await desk.send(address, name="Zoe")
    assert mistyped.status_code == 422
    assert "Nothing was deleted" in mistyped.text
    assert (await operator.get(f"/v1/persons/{person['id']}")).status_code == 200

    done = await desk.send(address, name=" zoë ångström ")

    receipt = (await desk.open(done.headers["location"])).text
    assert "Deleted everywhere" in receipt
    assert person["id"] in receipt
    assert inference.gallery == {}
    assert (await desk.open(f"/console/people/{person['id']}")).status_code == 404


async def test_two_records_are_chosen_shown_and_merged(desk, enrol, inference):
    kept = await enrol("Ada", make_photo(1))
    other = await enrol("Ada B.", make_photo(2), reference="K 7")
    address = f"/console/people/{kept['id']}/merge"

    choices = (await desk.open(f"{address}?q=b")).text
    assert f'href="{address}/{other["id"]}"' in choices
    assert f'href="{address}/{kept["id"]}"' not in choices
    both = (await desk.open(f"{address}/{other['id']}")).text
    assert "This record stays" in both
    assert "Reference" in both
    merged = await desk.send(f"{address}/{other['id']}")

    assert merged.headers["location"] == f"/console/people/{kept['id']}?done=merged"
    former = await desk.open(f"/console/people/{other['id']}")
    assert former.headers["location"] == f"/console/people/{kept['id']}"
    assert set(inference.gallery) == {kept["id"]}
    assert (await desk.send(f"{address}/{kept['id']}")).status_code == 422


async def test_who_resembles_a_person_is_offered_for_merging(desk, enrol):
    kept = await enrol("Ada", make_photo(1))
    other = await enrol("Ada B.", make_photo(2))
    part = (await desk.open(f"/console/people/{kept['id']}/duplicates")).text
    assert other["id"] not in part
    twin = await enrol("Ada C.", make_photo(1))
    part = (await desk.open(f"/console/people/{kept['id']}/duplicates")).text
    assert f"/console/people/{kept['id']}/merge/{twin['id']}" in part


async def test_a_photo_on_its_way_is_looked_after(desk, operator, enrol, inference):
    person = await enrol("Ada", make_photo(1))
    inference.fail("*", internal_error)
    await operator.post(f"/v1/persons/{person['id']}/faces", files={"photo": make_photo(2)})
    page = (await desk.open(f"/console/people/{person['id']}")).text
    assert "being enrolled" in page
    assert 'hx-trigger="every 3s"' in page
    part = (await desk.open(f"/console/people/{person['id']}", headers=AS_FRAGMENT)).text
    assert "being enrolled" in part
    assert "<html" not in part
    assert "1 pending" in (await desk.open("/console/people?photos=pending")).text


async def test_whatever_is_written_is_shown_and_never_run(desk, enrol):
    evil = await enrol(EVIL, make_photo(1), reference=EVIL, notes=EVIL)
    other = await enrol(EVIL, make_photo(2))
    pages = [
        "/console/people",
        f"/console/people?q={EVIL}",
        f"/console/people/{evil['id']}",
        f"/console/people/{evil['id']}?done={EVIL[:20]}",
        f"/console/people/{evil['id']}/delete",
        f"/console/people/{evil['id']}/merge?q={EVIL}",
        f"/console/people/{evil['id']}/merge/{other['id']}",
        f"/console/people/{evil['id']}/duplicates",
    ]
    texts = [(await desk.open(address)).text for address in pages]
    checked = await send_photos(desk, "/console/people/check", make_photo(1))
    mistaken = await desk.send(f"/console/people/{evil['id']}", name="", notes=EVIL)
    for text in (*texts, checked.text, mistaken.text):
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    assert "&lt;script&gt;alert(1)" in texts[0]


ADDRESSES = [
    ("GET", "/console/people"),
    ("GET", "/console/people/new"),
    ("GET", f"/console/people/{NOBODY}"),
    ("GET", f"/console/people/{NOBODY}/delete"),
    ("GET", f"/console/people/{NOBODY}/merge"),
    ("GET", f"/console/people/{NOBODY}/merge/{NOBODY}"),
    ("GET", f"/console/people/{NOBODY}/duplicates"),
    ("GET", f"/console/people/removals/{NOBODY}"),
    ("POST", "/console/people"),
    ("POST", "/console/people/check"),
    ("POST", f"/console/people/{NOBODY}"),
    ("POST", f"/console/people/{NOBODY}/status"),
    ("POST", f"/console/people/{NOBODY}/delete"),
    ("POST", f"/console/people/{NOBODY}/faces"),
    ("POST", f"/console/people/{NOBODY}/faces/{NOBODY}/delete"),
    ("POST", f"/console/people/{NOBODY}/merge/{NOBODY}"),
]


@pytest.mark.parametrize(("method", "address"), ADDRESSES, ids=" ".join)
async def test_only_operators_come_in_and_changes_need_the_token(
    running, stranger, desk, method: str, address: str
):
    await assert_for_operators_alone(running, stranger, desk, method, address)


async def test_looking_at_somebody_is_in_the_audit(running, desk, enrol):
    person = await enrol("Ada", make_photo(1))
    await desk.open(f"/console/people/{person['id']}")
    async with running.client(running.keys["admin"]) as admin:
        row = (await admin.get("/v1/audit")).json()["rows"][0]
    assert (row["action"], row["person_id"], row["role"]) == ("read", person["id"], "operator")
