"""What strangers and careless visitors try in a browser, and that it does no harm."""

import html
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
import requests
from playwright.sync_api import Page, expect

from gateway_server.console.navigation import entries_for
from tests.browser import pictures
from tests.browser.desk import Desk

pytestmark = pytest.mark.browser
EVIL = "http://evil.example"
SCRIPT = """<script>owned = 1</script><img src=x onerror='owned = 2'>"""
FOREIGN = """<!doctype html><title>evil</title>
<form method="post" enctype="{kind}" action="{action}">
{fields}</form><script>document.forms[0].submit()</script>"""
MULTIPART, PLAIN = "multipart/form-data", "application/x-www-form-urlencoded"


@pytest.fixture
def desk(visit, keys) -> Desk:
    desk = Desk(visit())
    desk.sign_in(keys["operator"])
    return desk


@pytest.fixture
def lure(desk) -> Callable[..., Page]:
    """The operator opens another site's page in the same browser; it posts a form to ours."""

    def open_page(action: str, kind: str = PLAIN, **fields: str) -> Page:
        hidden = "".join(
            f'<input type="hidden" name="{name}" value="{html.escape(value)}">'
            for name, value in fields.items()
        )
        body = FOREIGN.format(kind=kind, action=desk.visitor.url + action, fields=hidden)
        page = desk.visitor.open_page()
        page.route(f"{EVIL}/**", lambda route: route.fulfill(body=body, content_type="text/html"))
        desk.visitor.excuse(r"40[0135]", "favicon")
        with page.expect_response(desk.visitor.url + action) as answered:
            page.goto(f"{EVIL}/")
        assert answered.value.status in {303, 400, 401, 403}
        page.wait_for_load_state()
        return page

    return open_page


@pytest.fixture
def registered(house, keys) -> Callable[[], list[str]]:
    """The people that are there against the operator's will."""

    def read() -> list[str]:
        answer = requests.get(
            f"{house.plan.gateway_url}/v1/persons?q=Mallory",
            headers={"Authorization": f"Bearer {keys['operator']}"},
            timeout=10,
        )
        return [person["name"] for person in answer.json()["persons"]]

    return read


@pytest.mark.parametrize(
    ("action", "kind", "fields"),
    [
        ("/v1/persons", MULTIPART, {"name": "Mallory"}),
        ("/v1/searches", MULTIPART, {"model": "base"}),
        ("/console/sign-out", PLAIN, {}),
        ("/console/sign-out", PLAIN, {"csrf_token": "guessed"}),
    ],
    ids=["persons", "searches", "sign-out", "sign-out-guessed"],
)
def test_a_form_of_another_site_changes_nothing(desk, lure, registered, action, kind, fields):
    lure(action, kind, **fields)

    assert registered() == []
    page = desk.visitor.open_page()
    page.goto("/console/search")
    expect(page).to_have_url(f"{desk.visitor.url}/console/search")


def test_another_site_cannot_sign_a_browser_in_as_somebody_else(desk, lure, house):
    theirs = house.make_key("operator", "Mallory")
    page = lure("/console/sign-in", PLAIN, key=theirs, csrf_token="guessed")

    page.goto("/console/search")
    expect(page.locator("body")).to_contain_text("operator of the tests")


def test_our_pages_are_shown_in_no_frame_of_another_site(desk):
    page = desk.visitor.open_page()
    body = f'<!doctype html><title>evil</title><iframe src="{desk.visitor.url}/console/search">'
    page.route(f"{EVIL}/**", lambda route: route.fulfill(body=body, content_type="text/html"))
    desk.visitor.excuse("frame", "favicon", "chrome-error", "ERR_BLOCKED_BY_RESPONSE")
    page.goto(f"{EVIL}/")
    page.wait_for_load_state("networkidle")

    assert not [frame for frame in page.frames if "/console" in frame.url]


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-CSRF-Token": "guessed"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=["without", "guessed", "foreign"],
)
def test_a_stolen_cookie_without_its_token_changes_nothing(desk, registered, people, headers):
    photo = {"name": "photo.webp", "mimeType": "image/webp", "buffer": people[0].probe.read_bytes()}
    form = {"name": "Mallory", "photos": photo}
    thief = desk.page.context.request

    answer = thief.post("/v1/persons", multipart=form, headers=headers)

    assert (answer.status, answer.json()["type"]) == (403, "urn:reunite:problem:cross-site-refused")
    assert registered() == []


def test_no_script_of_a_page_reads_the_cookie(desk):
    assert "reunite_session" not in desk.page.evaluate("document.cookie")
    kept = {cookie["name"]: cookie for cookie in desk.page.context.cookies()}
    session = kept["reunite_session"]
    assert (session["httpOnly"], session["sameSite"]) == (True, "Strict")


def test_a_script_in_every_text_field_stays_text(visit, house, people):
    """Typed wherever something can be typed, and read wherever it is shown."""
    desk = Desk(visit())
    desk.sign_in(house.make_key("admin", SCRIPT))
    page = desk.page
    page.goto("/console/people/new")
    somebody = people[-1]  # whom no other test searches for
    page.set_input_files("form[data-photos] input[type=file]", somebody.enrolled[1])
    for field in ("name", "reference", "notes"):
        page.fill(f"#{field}", SCRIPT)
    expect(page.locator("[data-checked]")).to_be_visible()
    page.click("[data-save]")
    expect(page.get_by_role("heading", level=1)).to_have_text(SCRIPT)
    page.goto("/console/search")
    page.set_input_files("#photo", somebody.probe)
    for field in ("case_reference", "purpose"):
        page.fill(f"#{field}", SCRIPT)
    page.click("#ask button[type=submit]")
    expect(page.locator("#verdict")).to_be_visible()
    mine = page.locator("[data-candidate]", has_text="<script>")
    mine.get_by_role("button", name="Same").click()
    expect(mine).to_contain_text("awaiting")

    shown = [page.url, *(entry.href for entry in entries_for("admin"))]
    shown += [f"/console/people?{urlencode({'q': SCRIPT})}"]
    shown += [f"/console/searches?{urlencode({'case_reference': SCRIPT})}"]
    said = 0
    for address in shown:
        page.goto(address)
        said += SCRIPT in page.locator("body").inner_text()
        assert page.evaluate("window.owned") is None, address
        assert page.locator("img[src=x]").count() == 0, address
    assert said >= len(shown) // 2, "the text was looked for where it is not shown"


@pytest.mark.parametrize("place", ["search", "people/new"])
def test_an_svg_is_no_photo(desk, place):
    desk.visitor.excuse("415", "422")
    desk.page.goto(f"/console/{place}")
    svg = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": pictures.SVG}
    desk.page.set_input_files("main input[type=file]", svg)
    if place == "search":
        desk.page.click("#ask button[type=submit]")
    expect(desk.page.locator("main")).to_contain_text("not a photo that can be read")
    assert desk.page.title() != "owned"
    desk.visitor.shoot("svg")
