"""The phone page: sign in, send, read the answer, judge it, sign out."""

import pytest
from playwright.sync_api import expect

from tests.browser.phone import Phone

pytestmark = pytest.mark.browser
ANSWERED_MS = 30_000


@pytest.fixture
def phone(visit, keys) -> Phone:
    phone = Phone(visit(phone=True))
    phone.visitor.excuse("/console/session: .*401")  # asked before anybody has signed in
    phone.sign_in(keys["mobile"])
    return phone


def test_a_photo_is_sent_and_five_people_come_back(phone, people):
    phone.add(people[0].probe)
    phone.visitor.shoot("draft")
    phone.send()
    expect(phone.sent).to_contain_text("Possible lead", timeout=ANSWERED_MS)
    phone.visitor.shoot("sent")
    phone.sent.get_by_role("link").click()
    expect(phone.page.locator(".candidate")).to_have_count(5)
    expect(phone.page.locator(".candidate h3").first).to_have_text(people[0].name)
    phone.visitor.shoot("answer")
