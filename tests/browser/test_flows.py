"""What people come to the console for, from the first click to the last."""

import csv
import io
import re
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from demo.people import Subject, read_people
from tests.browser import pictures
from tests.browser.axe import violations
from tests.browser.conftest import MOST_PEOPLE, PEOPLE
from tests.browser.desk import Desk
from tests.browser.pictures import Payload

pytestmark = pytest.mark.browser
ANSWERED_MS = 30_000
TWO_MINUTES_S = 120
MOST_CLICKS = 12
"""Sign in; People, Add, the photo, Save; Search, the photo, Search, the verdict; Report, Print: one
for each thing there is to do, and one to spare. The name, the key and the files are not clicked."""


@pytest.fixture(scope="module")
def newcomers() -> Sequence[Subject]:
    """Whom nobody has registered yet."""
    return read_people(PEOPLE)[MOST_PEOPLE:]


@pytest.fixture
def reviewer(visit, house) -> Callable[[str], Desk]:
    """Signs somebody in with a key of their own."""

    def sign_in(name: str) -> Desk:
        desk = Desk(visit())
        desk.sign_in(house.make_key("operator", name))
        return desk

    return sign_in


def choose(desk: Desk, photo: Path | Payload) -> None:
    """Through the browser's own dialog, as a click on the field opens it."""
    with desk.page.expect_file_chooser() as chooser:
        desk.click(desk.page.locator("label[data-drop]").first)
    chooser.value.set_files(photo)


def search(desk: Desk, photo: Path | Payload) -> None:
    desk.click(desk.page.get_by_role("link", name="Search", exact=True))
    choose(desk, photo)
    desk.click(desk.page.locator("#ask button[type=submit]"))
    expect(desk.page.locator("#verdict")).to_be_visible(timeout=ANSWERED_MS)


def test_a_new_operator_registers_searches_judges_and_prints_in_two_minutes(
    reviewer, newcomers, visit
):
    somebody = newcomers[0]
    began_s = time.monotonic()
    desk = reviewer("a new operator")
    page = desk.page

    desk.click(page.get_by_role("link", name="People", exact=True))
    desk.click(page.get_by_role("link", name="Add", exact=False).first)
    choose(desk, somebody.enrolled[0])
    page.fill("#name", somebody.name)
    expect(page.locator("[data-checked]")).to_be_visible(timeout=ANSWERED_MS)
    desk.visitor.shoot("register")
    desk.click(page.locator("[data-save]"))
    expect(page.get_by_role("heading", level=1)).to_have_text(somebody.name)

    search(desk, somebody.probe)
    best = page.locator("[data-candidate]").first
    expect(best.locator("h3")).to_have_text(somebody.name)
    desk.click(best.get_by_role("button", name="Same"))
    expect(best.get_by_role("button", name="Same")).to_have_attribute("aria-pressed", "true")
    desk.visitor.shoot("search")

    with page.expect_popup() as opened:
        desk.click(page.get_by_role("link", name="Report"))
    desk.visitor.page = report = opened.value
    for written in ("not an identification", somebody.name, "a new operator"):
        expect(report.locator("body")).to_contain_text(written)
    desk.visitor.shoot("report")
    printed = desk.print()

    assert printed.count(b"/Type /Page\n") == 1, "a case file's page is one page"
    assert desk.clicks <= MOST_CLICKS
    assert time.monotonic() - began_s < TWO_MINUTES_S


def test_two_reviewers_confirm_a_lead_that_one_alone_cannot(reviewer, people):
    first, second = reviewer("reviewer one"), reviewer("reviewer two")
    search(first, people[5].probe)
    same = first.page.locator("[data-candidate]").first.get_by_role("button", name="Same")
    first.click(same)
    expect(first.page.locator("[data-candidate]").first).to_contain_text("awaiting second reviewer")
    address = first.page.url

    second.click(second.page.get_by_role("link", name="Review", exact=True))
    find_in_queue(second.page, people[5].name)
    second.visitor.shoot("review")
    assert violations(second.page) == []
    second.page.keyboard.press("s")
    expect(second.page.locator("#desk [role=status]").first).to_contain_text(people[5].name)

    first.page.goto(address)
    expect(first.page.locator("[data-candidate]").first).to_contain_text("confirmed")
    first.visitor.shoot("confirmed")


def find_in_queue(page: Page, name: str) -> None:
    """In the strip of what waits, or on one of its next pages."""
    while not page.locator(f".strip a[title='{name}']").count():
        page.locator(".strip [rel=next]").click()
    page.locator(f".strip a[title='{name}']").first.click()
    expect(page.locator("#desk h2")).to_have_text(name)
    page.wait_for_load_state()


def test_a_no_sticks_for_that_photo_and_that_person(reviewer, people):
    desk = reviewer("one who says no")
    search(desk, people[6].probe)
    best = desk.page.locator("[data-candidate]").first
    desk.click(best.get_by_role("button", name="Different"))
    expect(best).to_contain_text("judged different")

    search(desk, people[6].probe)  # the same photo once more
    again = desk.page.locator("[data-candidate]", has_text=people[6].name)
    expect(again).to_contain_text("judged different")
    expect(desk.page.locator("#verdict")).to_contain_text("No credible lead")
    other = reviewer("another one")
    other.page.goto("/console/review")
    expect(other.page.locator("#desk h2", has_text=people[6].name)).to_have_count(0)


def test_an_import_shows_its_progress_and_a_reason_for_each_row(reviewer, newcomers):
    desk = reviewer("one who imports")
    desk.click(desk.page.get_by_role("link", name="Import", exact=True))
    table, archive = import_of(newcomers[1:4])
    desk.page.set_input_files("#table", table)
    desk.page.set_input_files("#archive", archive)
    desk.click(desk.page.locator("[data-upload] button[type=submit]"))
    desk.page.wait_for_url(re.compile("/console/import/[0-9a-f-]{36}"))
    progress = desk.page.locator("#import progress")
    expect(progress).to_have_attribute("value", "1.0", timeout=ANSWERED_MS)
    desk.visitor.shoot("import")

    rows = desk.page.locator("#import tbody tr")
    expect(rows).to_have_count(5)
    expect(rows.filter(has_text="Enrolled").or_(rows.filter(has_text="enrolled"))).to_have_count(3)
    expect(rows.nth(3)).to_contain_text("no such photo")
    expect(rows.nth(4)).to_contain_text("face")
    assert violations(desk.page) == []


def import_of(people: Sequence[Subject]) -> tuple[Payload, Payload]:
    """A table and an archive: everybody's first photo, one that is missing, one of nobody."""
    text, data = io.StringIO(), io.BytesIO()
    table = csv.writer(text)
    table.writerow(["name", "photo"])
    with zipfile.ZipFile(data, "w") as archive:
        for number, person in enumerate(people):
            table.writerow([person.name, f"{number}.webp"])
            archive.write(person.enrolled[0], f"{number}.webp")
        table.writerow(["Nobody's Photo", "missing.jpg"])
        table.writerow(["A Photo of Nobody", "empty.jpg"])
        archive.writestr("empty.jpg", pictures.as_file(pictures.without_a_face(5))["buffer"])
    return (
        {"name": "people.csv", "mimeType": "text/csv", "buffer": text.getvalue().encode()},
        {"name": "photos.zip", "mimeType": "application/zip", "buffer": data.getvalue()},
    )
