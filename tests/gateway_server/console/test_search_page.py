"""The search page: from the photo to the verdicts, as a browser meets it."""

import re
from uuid import uuid4

import httpx
import pytest

from tests.gateway_server.conftest import ONE_ENGINE, RETRIED_SOON, until
from tests.gateway_server.console.browser import Browser, browser_at
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.photos import make_photo

pytestmark = ONE_ENGINE
HTMX = {"HX-Request": "true"}
SCRIPT = "<script>alert(1)</script>"


async def ask(browser: Browser, photo: bytes, **fields: str) -> httpx.Response:
    """As the form's script sends it."""
    return await browser.client.post(
        "/console/search",
        files={"photo": ("p.jpg", photo)},
        data=fields,
        headers={**HTMX, "X-CSRF-Token": browser.csrf_token, "Idempotency-Key": str(uuid4())},
    )


async def found_by(browser: Browser, photo: bytes, **fields: str) -> str:
    """The address of the search's page."""
    answer = await ask(browser, photo, **fields)
    assert answer.status_code == 204, answer.text
    return answer.headers["hx-redirect"]


async def judge(browser: Browser, address: str, person_id: str, verdict: str) -> httpx.Response:
    form = {"person_id": person_id, "verdict": verdict, "csrf_token": browser.csrf_token}
    return await browser.client.post(f"{address}/judge", data=form, headers=HTMX)


async def test_a_search_shows_candidates_with_faces_scores_and_buttons(desk, enrol):
    person = await enrol("Ada", make_photo(1))
    address = await found_by(desk, make_photo(1), case_reference="2026/1", purpose="a tip")

    page = await desk.open(address)

    search_id = address.rsplit("/", 1)[1]
    face = person["faces"][0]["face_id"]
    assert f'src="/v1/searches/{search_id}/photo"' in page.text
    assert f'src="/v1/persons/{person["id"]}/faces/{face}/photo?size=thumb"' in page.text
    assert f'data-src="/v1/searches/{search_id}/candidates/{person["id"]}/heatmap"' in page.text
    for said in ("A credible lead", "Ada", "2026/1", "a tip", "0.90", "99.8 %", "1 people"):
        assert said in page.text
    assert "About 4 in 1,000 searches among 1 people would show such a match" in page.text
    assert re.findall(r'name="verdict" value="(\w+)"', page.text) == ["same", "different", "unsure"]
    assert "awaiting" not in page.text


async def test_a_search_that_is_sent_twice_is_made_once(desk, enrol):
    await enrol("Ada", make_photo(1))
    once = {**HTMX, "X-CSRF-Token": desk.csrf_token, "Idempotency-Key": "once"}

    async def send(address: str, **form) -> httpx.Response:
        answer = await desk.client.post(address, headers=once, **form)
        assert answer.status_code == 204, answer.text
        return answer.headers["hx-redirect"]

    photo = {"files": {"photo": ("p.jpg", make_photo(1))}}
    first, again = await send("/console/search", **photo), await send("/console/search", **photo)
    assert first == again
    once["Idempotency-Key"] = "another"
    other = [await send(f"{first}/again", data={"model": "base"}) for _ in range(2)]
    assert other[0] == other[1] != first
    headers = {**once, "Idempotency-Key": "another"}
    changed = await desk.client.post(f"{first}/again", headers=headers, data={"model": "heatmap"})
    assert changed.status_code == 422
    assert changed.headers["content-type"].startswith("text/html")


async def test_no_credible_lead_is_said_plainly(desk, enrol):
    await enrol("Ada", make_photo(1))

    page = await desk.open(await found_by(desk, make_photo(2)))

    assert "No credible lead" in page.text


async def test_a_photo_that_cannot_be_searched_is_told_in_a_notice(desk, inference):
    faceless = make_photo(9)
    inference.refuse(faceless, "no-face")

    answer = await ask(desk, faceless)

    assert answer.status_code == 422
    assert "No face was found in the photo" in answer.text
    assert "<html" not in answer.text


@pytest.mark.parametrize(
    ("photo", "status"),
    [(b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", 415), (b"", 400)],
    ids=["svg", "empty"],
)
async def test_what_is_no_photo_is_refused(desk, photo, status):
    assert (await ask(desk, photo)).status_code == status


async def test_another_face_of_the_same_photo_is_a_search_of_its_own(desk, enrol, inference):
    await enrol("Ada", make_photo(1))
    address = await found_by(desk, make_photo(1), case_reference="2026/1")

    answer = await desk.send(f"{address}/again", face="3", model="base")

    again = answer.headers["location"]
    assert (answer.status_code, again != address) == (303, True)
    page = await desk.open(again)
    assert "2026/1" in page.text
    told = (await desk.open(again.replace("/console", "/v1"))).json()
    assert (told["face"], told["model"]["name"]) == (3, "base")


@RETRIED_SOON
async def test_a_search_that_waits_is_followed_until_it_has_ended(
    environment, running, desk, enrol, inference
):
    await enrol("Ada", make_photo(1))
    inference.fail("match", internal_error)
    address = await found_by(desk, make_photo(1))
    waiting = await desk.open(address)
    assert "The search is under way" in waiting.text
    assert f'hx-get="{address}" hx-trigger="every 1s"' in waiting.text
    inference.recover()

    async def is_done():
        part = await desk.open(address, headers=HTMX)
        return part if "A credible lead" in part.text else None

    part = await until(is_done)
    assert "hx-trigger" not in part.text
    assert "<html" not in part.text


async def test_a_verdict_is_shown_at_once_and_the_banner_with_it(desk, enrol):
    person = await enrol("Ada", make_photo(1))
    address = await found_by(desk, make_photo(1))

    same = await judge(desk, address, person["id"], "same")
    different = await judge(desk, address, person["id"], "different")

    assert "awaiting second reviewer" in same.text
    assert "A credible lead" in same.text
    assert 'value="different" data-verdict="d" aria-pressed="true"' in different.text
    assert "judged different" in different.text
    assert "No credible lead" in different.text


async def test_a_reviewer_does_not_read_anothers_verdict_before_their_own(running, desk, enrol):
    person = await enrol("Ada", make_photo(1))
    address = await found_by(desk, make_photo(1))
    key = await running.gateway.keyring.create("a second one", "operator")
    async with browser_at(running) as second:
        await second.sign_in(key)
        before = await second.open(address)
        await judge(desk, address, person["id"], "same")
        blind = await second.open(address)
        spoken = await judge(second, address, person["id"], "same")

    def cards(page: httpx.Response) -> str:
        return page.text.partition('<ol class="candidates">')[2]

    assert cards(blind).replace(second.csrf_token, "") == cards(before).replace(
        second.csrf_token, ""
    )
    assert "confirmed" in spoken.text
    assert "a operator: Same" in spoken.text


@pytest.mark.parametrize("said", ["unsure", "different"])
async def test_nor_after_a_verdict_of_their_own_that_could_be_changed(running, desk, enrol, said):
    person = await enrol("Ada", make_photo(1))
    address = await found_by(desk, make_photo(1))
    await judge(desk, address, person["id"], "same")
    key = await running.gateway.keyring.create("a second one", "operator")
    async with browser_at(running) as second:
        await second.sign_in(key)
        spoken = await judge(second, address, person["id"], said)
        page = await second.open(address)

    for told in (spoken, page):
        assert "a operator" not in told.text
        assert "disputed" not in told.text


async def test_verdicts_need_the_token_and_a_candidate(desk, enrol):
    person = await enrol("Ada", make_photo(1))
    address = await found_by(desk, make_photo(1))
    token, desk.csrf_token = desk.csrf_token, "guessed"
    assert (await judge(desk, address, person["id"], "same")).status_code == 403
    desk.csrf_token = token

    assert (await judge(desk, address, "somebody", "same")).status_code == 422
    assert (await judge(desk, address, person["id"], "perhaps")).status_code == 422


async def test_texts_from_outside_stay_texts(running, desk, enrol):
    person = await enrol(SCRIPT, make_photo(1), reference=SCRIPT, notes=SCRIPT)
    key = await running.gateway.keyring.create(SCRIPT, "operator")
    async with browser_at(running) as browser:
        await browser.sign_in(key)
        address = await found_by(browser, make_photo(1), case_reference=SCRIPT, purpose=SCRIPT)
        pages = [
            await browser.open(address),
            await browser.open("/console/review"),
            await browser.open(f"{address}?{SCRIPT}"),
            await browser.open(f"/console/sign-in?next={SCRIPT}"),
            await judge(browser, address, person["id"], "same"),
            await browser.open(address.replace("/console", "/v1") + "/report"),
            await browser.open("/console/review/confirmed"),
        ]

    assert {page.status_code for page in pages} == {200}
    for page in pages:
        assert SCRIPT not in page.text
    assert "&lt;script&gt;" in pages[0].text


@pytest.mark.parametrize("address", ["/console/search", "/console/review", "/console/searches/x"])
async def test_a_phone_has_no_console(running, address):
    async with browser_at(running, "mobile") as phone:
        page = await phone.open(address)

    assert page.status_code in {403, 404}
    assert "csrf" in page.text, "a page, not JSON"
