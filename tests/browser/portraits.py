"""`python -m tests.browser.portraits`: the README's pictures of the console and the phone page.

Everybody in them is a composite and nobody (`tests/data/README.md`).
"""

import io
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from demo.people import Subject, read_people
from demo.servers import House, Plan, running
from mobile_client_mock.client import Client, Connection
from mobile_client_mock.photo import read_original
from tests.browser.chromium import MISSING, find_chromium
from tests.browser.desk import Desk
from tests.browser.phone import Phone
from tests.browser.visitor import Visitor
from tests.house.tree import ROOT

REPORTS = ROOT / "tests" / "reports"
PEOPLE = ROOT / "tests" / "data" / "people"
QUALITY = 82
DESK_PX = (1120, 760)
PHONE_PX = (390, 960)
ANSWERED_MS = 60_000
SHOWN = """() => [...document.images].every(image =>
    (image.complete && image.naturalWidth) || !image.src || image.closest("[hidden]"))"""


def main() -> None:
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit(MISSING)
    people = read_people(PEOPLE)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Plan.on_free_ports(Path(folder))) as house,
        sync_playwright() as playwright,
    ):
        enrol(house, people)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        draw_console(browser, house, people)
        draw_phone(browser, house, people)
        browser.close()


def enrol(house: House, people: Sequence[Subject]) -> None:
    with Client(Connection(house.plan.gateway_url, house.make_key("operator", "demo"))) as client:
        for person in people:
            client.enroll(person.name, [read_original(photo) for photo in person.enrolled])


def draw_console(browser: Browser, house: House, people: Sequence[Subject]) -> None:
    visitor = Visitor(browser, house.plan.gateway_url, REPORTS)
    desk = Desk(visitor)
    page = desk.page
    width, height = DESK_PX
    page.set_viewport_size({"width": width, "height": height})
    desk.sign_in(house.make_key("operator", "Desk 1"))
    for person in (people[3], people[8]):
        page.goto("/console/search")
        page.set_input_files("#photo", person.probe)
        page.fill("#case_reference", "2026/17")
        page.click("#ask button[type=submit]")
        expect(page.locator("#verdict")).to_be_visible(timeout=ANSWERED_MS)
    page.locator("[data-heat]").click()
    wait_for_pictures(page)
    save(page.screenshot(), "console-search.webp")
    page.goto("/console/review")
    page.locator("[data-heat]").click()  # off again
    wait_for_pictures(page)
    save(page.screenshot(), "console-review.webp")
    visitor.leave()


def draw_phone(browser: Browser, house: House, people: Sequence[Subject]) -> None:
    visitor = Visitor(browser, house.plan.gateway_url, REPORTS, phone=True)
    phone = Phone(visitor)
    width, height = PHONE_PX
    phone.page.set_viewport_size({"width": width, "height": height})
    phone.sign_in(house.make_key("mobile", "Phone 1"))
    phone.add(people[0].probe, people[12].probe)
    home = phone.page.screenshot()
    phone.send()
    lead = phone.page.locator("#sent-list .state", has_text="Possible lead")
    expect(lead).to_have_count(2, timeout=ANSWERED_MS)
    phone.sent.last.get_by_role("link").click()
    expect(phone.page.locator(".candidate")).to_have_count(5)
    wait_for_pictures(phone.page)
    answer = phone.page.screenshot()
    phone.page.get_by_role("button", name=re.compile("Compare")).click()
    expect(phone.page.locator(".compare .column")).to_have_count(2, timeout=ANSWERED_MS)
    phone.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    wait_for_pictures(phone.page)
    save(beside_each_other([home, answer, phone.page.screenshot()]), "phone.webp")
    visitor.leave()


def wait_for_pictures(page: Page) -> None:
    page.wait_for_function(SHOWN)


def beside_each_other(shots: Sequence[bytes]) -> bytes:
    images = [Image.open(io.BytesIO(shot)).convert("RGB") for shot in shots]
    gap = images[0].width // 20
    width = sum(image.width + gap for image in images) - gap
    sheet = Image.new("RGB", (width, images[0].height), "white")
    for number, image in enumerate(images):
        sheet.paste(image, (number * (image.width + gap), 0))
    sheet.thumbnail((sheet.width * 2 // 3, sheet.height))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def save(png: bytes, name: str) -> None:
    path = REPORTS / name
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(path, "WEBP", quality=QUALITY, method=6)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
