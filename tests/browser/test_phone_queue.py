"""Photos without a network: kept, and sent once each and in order when it is back."""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from demo.servers import Plan, make_key, start_gateway
from tests.browser import pictures
from tests.browser.phone import Phone
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser
MANY = 20
ARRIVED_MS = 60_000
IN_USE = "/v1/searches: .*409"
FIELD = "a phone in the field"
UNREACHABLE = "ERR_INTERNET_DISCONNECTED|ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY"


@pytest.fixture
def phone(visit, house) -> Phone:
    """Of a key of its own: what it sent can be told from what others did."""
    return signed_in(visit(phone=True), house.make_key("mobile", FIELD))


def signed_in(visitor: Visitor, key: str) -> Phone:
    phone = Phone(visitor)
    phone.visitor.excuse(UNREACHABLE)
    phone.sign_in(key)
    phone.page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    return phone


def arrived(plan: Plan, phone: Phone) -> Sequence[str]:
    """The ids of this phone's searches at the gateway, in the order in which they were made."""
    (one, *_) = phone.photos()
    with closing(sqlite3.connect(plan.data / "gateway.db")) as database:
        of_the_same_key = """SELECT id FROM search
            WHERE key_id = (SELECT key_id FROM search WHERE id = ?) ORDER BY created_at"""
        return [row[0] for row in database.execute(of_the_same_key, [one["searchId"]])]


def count_searches(plan: Plan, name: str) -> int:
    """Of the youngest key of that name."""
    with closing(sqlite3.connect(plan.data / "gateway.db")) as database:
        counted = """SELECT count(*) FROM search WHERE key_id =
            (SELECT id FROM api_key WHERE name = ? ORDER BY created_at DESC LIMIT 1)"""
        (count,) = database.execute(counted, [name]).fetchone()
    return int(count)


def queue_many(phone: Phone, people, first: int = 0, count: int = MANY) -> None:
    numbers = range(first, first + count)
    phone.add(*(pictures.numbered(people[n % len(people)], n) for n in numbers))
    phone.send()


def expect_all_done(phone: Phone, count: int = MANY) -> None:
    done = phone.page.locator("#sent-list .state", has_text="lead")
    expect(done).to_have_count(count, timeout=ARRIVED_MS)


def test_twenty_photos_queued_offline_arrive_once_and_in_order(phone, people, house):
    phone.visitor.context.set_offline(True)
    queue_many(phone, people)
    expect(phone.page.locator("#offline")).to_be_visible()
    expect(phone.page.locator("#sent-list .waiting")).to_have_count(MANY)
    phone.visitor.shoot("offline", whole=False)

    phone.visitor.context.set_offline(False)

    expect_all_done(phone)
    assert arrived(house.plan, phone) == [photo["searchId"] for photo in phone.photos()]


def test_they_arrive_after_the_page_was_closed_and_opened_again(phone, people, house):
    phone.visitor.context.set_offline(True)
    queue_many(phone, people)
    expect(phone.page.locator("#sent-list .waiting")).to_have_count(MANY)

    phone.open_again()  # still without a network: the page itself comes from the phone
    expect(phone.page.locator("#sent-list .waiting")).to_have_count(MANY)
    phone.page.close()
    phone.visitor.context.set_offline(False)
    phone.visitor.open_page()
    phone.open()

    expect_all_done(phone)
    assert arrived(house.plan, phone) == [photo["searchId"] for photo in phone.photos()]


def test_the_browser_sends_them_by_itself_while_the_page_is_closed(phone, people, house):
    """Background Sync: the browser wakes the service worker when the network is back."""
    phone.visitor.context.set_offline(True)
    queue_many(phone, people, count=5)
    expect(phone.page.locator("#sent-list .waiting")).to_have_count(5)
    phone.page.close()
    page = phone.visitor.open_page()
    page.goto("about:blank")
    phone.visitor.context.set_offline(False)

    wake_worker(page, house.plan.gateway_url)

    deadline_s = time.monotonic() + ARRIVED_MS / 1000
    while (made := count_searches(house.plan, FIELD)) < 5 and time.monotonic() < deadline_s:
        page.wait_for_timeout(100)
    assert made == 5
    phone.open()
    expect_all_done(phone, 5)
    assert arrived(house.plan, phone) == [photo["searchId"] for photo in phone.photos()]


def wake_worker(page: Page, origin: str) -> None:
    """What the browser does when the network is back; it would take its time."""
    tools = page.context.new_cdp_session(page)
    registrations: list[dict[str, Any]] = []
    tools.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: registrations.extend(event["registrations"]),
    )
    tools.send("ServiceWorker.enable")
    ours: list[dict[str, Any]] = []
    for _ in range(300):
        page.wait_for_timeout(50)
        if ours := [one for one in registrations if one["scopeURL"] == f"{origin}/app"]:
            break
    told = {"origin": origin, "registrationId": ours[-1]["registrationId"]}
    tools.send("ServiceWorker.dispatchSyncEvent", {**told, "tag": "photos", "lastChance": False})


def test_a_killed_gateway_loses_and_doubles_nothing(visit, house, people, tmp_path, monkeypatch):
    monkeypatch.setenv(
        "JOB_LEASE_S", "3"
    )  # for so long its last request is thought to be under way
    plan = replace(
        house.plan, data=tmp_path, gateway_port=Plan.on_free_ports(tmp_path).gateway_port
    )
    first = start_gateway(plan)
    try:
        first.wait_until_ready()
        phone = signed_in(visit(phone=True, url=plan.gateway_url), make_key(plan, "mobile", FIELD))
        phone.visitor.excuse(IN_USE)
        queue_many(phone, people, count=8)
        expect(phone.page.locator("#sent-list .state", has_text="lead").first).to_be_visible()
    finally:
        first.kill()
    queue_many(phone, people, first=8, count=4)
    expect(phone.page.locator("#queue")).to_be_visible()
    second = start_gateway(plan)
    try:
        second.wait_until_ready()
        expect_all_done(phone, 12)
        assert arrived(plan, phone) == [photo["searchId"] for photo in phone.photos()]
    finally:
        second.stop()
