"""What is saved over a network that loses answers, and after a mistake."""

import re

import pytest
from playwright.sync_api import expect

from demo.people import Subject, read_people
from tests.browser.conftest import PEOPLE
from tests.browser.desk import Desk
from tests.browser.pictures import Payload
from tests.browser.test_flows import import_of

pytestmark = pytest.mark.browser
HARM = b"<img src=x onerror='owned = 1'>,photo\n"


@pytest.fixture(scope="module")
def newcomer() -> Subject:
    return read_people(PEOPLE)[-1]


@pytest.fixture
def desk(visit, keys) -> Desk:
    desk = Desk(visit())
    desk.sign_in(keys["operator"])
    return desk


def test_a_person_whose_answer_was_lost_is_saved_once(desk, newcomer):
    page = desk.page
    desk.visitor.excuse("ERR_FAILED")
    page.goto("/console/people/new")
    page.set_input_files("form[data-photos] input[type=file]", newcomer.enrolled[0])
    page.fill("#name", "Saved once")
    expect(page.locator("[data-checked]")).to_be_visible()

    def lose_answer(route):
        route.fetch(max_redirects=0)
        route.abort()

    page.route(re.compile("/console/people$"), lose_answer, times=1)
    page.click("[data-save]")
    expect(page.locator("#notices")).to_contain_text("No answer came")
    page.click("[data-save]")
    expect(page.get_by_role("heading", level=1)).to_have_text("Saved once")

    page.goto("/console/people?q=Saved+once")
    expect(page.locator("a.whole")).to_have_count(1)


def test_a_search_whose_answer_was_lost_is_made_once(desk, newcomer):
    page = desk.page
    desk.visitor.excuse("ERR_FAILED", "htmx:(afterRequest|sendError)")
    page.goto("/console/search")
    page.set_input_files("#photo", newcomer.probe)
    page.fill("#case_reference", "Searched once")

    def lose_answer(route):
        route.fetch(max_redirects=0)
        route.abort()

    page.route(re.compile("/console/search$"), lose_answer, times=1)
    page.click("#ask button[type=submit]")
    expect(page.locator("#notices")).to_contain_text("No answer came")
    page.click("#ask button[type=submit]")
    expect(page.locator("#verdict")).to_be_visible()

    page.goto("/console/searches?case_reference=Searched+once")
    expect(page.locator("a.whole")).to_have_count(1)


def test_a_refused_import_is_shown_as_text_and_its_correction_is_taken(desk, newcomer):
    page = desk.page
    desk.visitor.excuse("/console/import: .*422")
    table, archive = import_of([newcomer])
    page.goto("/console/import")
    page.set_input_files("#archive", archive)

    upload(desk, {**table, "buffer": HARM})
    expect(page.locator("#notices [role=alert]")).to_contain_text("<img src=x")
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.owned") is None

    upload(desk, table)
    page.wait_for_url(re.compile("/console/import/[0-9a-f-]{36}"))


def upload(desk: Desk, table: Payload) -> None:
    desk.page.set_input_files("#table", table)
    desk.page.click("[data-upload] button[type=submit]")
