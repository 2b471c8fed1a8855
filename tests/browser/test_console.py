"""Every page of the console, for everybody who may see it: reached by links, and accessible."""

import re

import pytest
from playwright.sync_api import expect

from gateway_server.console.navigation import entries_for
from mobile_client_mock.client import Client, Connection
from mobile_client_mock.photo import read_original
from tests.browser.axe import violations
from tests.browser.desk import Desk, kind_of

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def busy(house, keys, people) -> None:
    """Something on every page: searches, and one that an operator judged."""
    with Client(Connection(house.plan.gateway_url, keys["operator"])) as operator:
        for person in people[:3]:
            assert person.probe is not None
            search = operator.search(read_original(person.probe))
        operator.judge(search.id, search.candidates[0].person_id, "same")


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize(
    ("role", "language", "dark", "judge"),
    [
        ("operator", "en-GB", False, lambda _page: []),  # the admin's pages, without the audit
        ("admin", "ko-KR", False, violations),
        ("admin", "en-GB", True, violations),
    ],
    ids=["operator", "admin-korean", "admin-dark"],
)
def test_every_page_that_links_lead_to_is_there_and_accessible(
    visit, keys, role, language, dark, judge
):
    desk = Desk(visit(language=language, dark=dark))
    desk.sign_in(keys[role])
    broken: dict[str, list[str]] = {}
    seen: set[str] = set()
    waiting = [entry.href for entry in entries_for(role)]
    while waiting:
        path = waiting.pop(0)
        if kind_of(path) in seen:
            continue
        seen.add(kind_of(path))
        answer = desk.page.goto(path)
        assert answer is not None
        if answer.status != 200:
            broken[path] = [f"{answer.status}"]
            continue
        desk.visitor.shoot(re.sub(r"\W+", "-", kind_of(path)).strip("-"))
        if found := judge(desk.page):
            broken[path] = found
        waiting += desk.links()
    assert broken == {}
    assert {f"/console/{name}" for name in ("people", "searches")} <= seen


@pytest.mark.parametrize("role", ["operator", "admin"])
def test_the_navigation_shows_what_the_role_may_see(visit, keys, role):
    desk = Desk(visit())
    desk.sign_in(keys[role])

    shown = desk.page.locator("header nav a").evaluate_all("links => links.map(a => a.pathname)")

    assert shown == [entry.href for entry in entries_for(role)]


def test_a_phones_key_leads_to_the_phone_page(visit, keys):
    desk = Desk(visit(phone=True))
    desk.sign_in(keys["mobile"])

    expect(desk.page).to_have_url(f"{desk.visitor.url}/app/")
    expect(desk.page.locator("#view-home")).to_be_visible()


def test_what_a_role_may_not_see_is_refused_in_words(visit, keys):
    desk = Desk(visit())
    desk.visitor.excuse("403")
    desk.sign_in(keys["operator"])

    answer = desk.page.goto("/console/audit")

    assert answer is not None
    assert answer.status == 403
    assert violations(desk.page) == []
    desk.visitor.shoot("refused")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_signing_in_is_accessible_and_wrong_keys_are_told(visit, dark):
    desk = Desk(visit(dark=dark))
    desk.visitor.excuse("/console/sign-in: .*401")
    desk.page.goto("/console/sign-in")
    assert violations(desk.page) == []
    desk.page.fill("input[name=key]", "rk_0123456789ab_wrong")
    desk.page.press("input[name=key]", "Enter")
    expect(desk.page.locator("main")).to_contain_text("key")
    expect(desk.page.locator("main [role=alert], main .notice").first).to_be_visible()
    assert violations(desk.page) == []
    desk.visitor.shoot("sign-in")
