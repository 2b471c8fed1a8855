"""The review page: one pair after the other, and the lists of what is decided."""

import re
from contextlib import AsyncExitStack

import pytest

from tests.gateway_server.conftest import ONE_ENGINE, search
from tests.gateway_server.console.browser import browser_at
from tests.gateway_server.photos import make_photo

pytestmark = ONE_ENGINE
HIDDEN = re.compile(r'name="(search_id|person_id|cursor|at|name)" value="([^"]*)"')
SHOWN = re.compile(r'<h2><a href="/console/people/[^"]*">([^<]*)')


@pytest.fixture
async def found(enrol, phone):
    """Three people, each with the same photo: three pairs of one search."""
    for name in ("Ada", "Bob", "Cleo"):
        await enrol(name, make_photo(1))
    return (await search(phone, make_photo(1))).json()


async def say(browser, verdict, page=None):
    """Press the button below the pair that is shown; the next page."""
    page = page or await browser.open("/console/review")
    form = dict(HIDDEN.findall(page.text))
    answer = await browser.send("/console/review/judge", verdict=verdict, **form)
    assert answer.status_code == 303, answer.text
    return await browser.open(answer.headers["location"])


async def test_pairs_come_one_after_the_other_until_none_is_left(found, desk):
    page = await desk.open("/console/review")
    assert "3 waiting for you" in page.text
    seen = []
    for verdict in ("same", "different", "unsure"):
        seen += SHOWN.findall(page.text)
        page = await say(desk, verdict, page)

    assert sorted(seen) == ["Ada", "Bob", "Cleo"]
    assert "Nothing waits for you" in page.text


async def test_arrows_lead_on_without_judging(found, desk):
    page = await desk.open("/console/review")
    first = SHOWN.findall(page.text)
    onwards = re.findall(r'href="([^"]*)" data-key="ArrowRight"', page.text)
    second = await desk.open(onwards[0].replace("&amp;", "&"))

    assert SHOWN.findall(second.text) != first
    assert 'data-key="ArrowLeft"' in second.text
    assert "3 waiting for you" in second.text


async def test_two_desks_confirm_and_the_list_names_both(running, found, desk):
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(browser_at(running))
        await second.sign_in(await running.gateway.keyring.create("Park, desk 2", "operator"))
        for browser in (desk, second):
            page = await browser.open("/console/review")
            (name,) = SHOWN.findall(page.text)
            await say(browser, "same", page)
        confirmed = await desk.open("/console/review/confirmed")

    assert name in confirmed.text
    assert "a operator" in confirmed.text
    assert "Park, desk 2" in confirmed.text


async def test_as_a_part_of_the_page_the_next_pair_comes_with_a_word_on_the_last(found, desk):
    page = await desk.open("/console/review")
    form = dict(HIDDEN.findall(page.text)) | {"verdict": "different"}
    part = await desk.client.post(
        "/console/review/judge",
        data={**form, "csrf_token": desk.csrf_token},
        headers={"HX-Request": "true"},
    )

    assert f"{form['name']}: you said different" in part.text
    assert "2 waiting for you" in part.text
    assert "<html" not in part.text


@pytest.mark.parametrize(("role", "status"), [("operator", 403), ("admin", 200)])
async def test_disputes_are_for_admins(running, role, status):
    async with browser_at(running, role) as browser:
        page = await browser.open("/console/review")
        disputed = await browser.open("/console/review/disputed")

    assert disputed.status_code == status
    assert ("/console/review/disputed" in page.text) == (role == "admin")


@pytest.mark.parametrize(
    "address", ["/console/review/other", "/console/review?at=99", "/console/review?cursor=x"]
)
async def test_an_address_that_nobody_gave_is_a_page_of_its_own(desk, address):
    page = await desk.open(address)

    assert page.status_code == 422
    assert page.headers["content-type"].startswith("text/html")


async def test_a_verdict_on_no_search_is_refused(desk):
    for search_id in ("", "x"):
        form = {"search_id": search_id, "person_id": "p", "verdict": "same"}
        assert (await desk.send("/console/review/judge", **form)).status_code == 404
