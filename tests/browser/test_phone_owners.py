"""Several people with one phone: whose photos are shown and sent, and who is signed in."""

import re
from collections.abc import Callable

import pytest
import requests
from playwright.sync_api import expect

from demo.people import read_people
from tests.browser.conftest import PEOPLE
from tests.browser.phone import Phone
from tests.browser.test_phone import ANSWERED_MS, STATUS
from tests.browser.test_phone_queue import UNREACHABLE

pytestmark = pytest.mark.browser
NAME = "the ward's phone"  # two keys may bear it
OUTBOX_OF = """async () => {
    const due = {owner: 'k', order: 2, state: 'following', searchId: 's', lookAt: 0, looks: 0};
    const photos = [{owner: 'k', order: 1, state: 'waiting'}, due];
    const facts = new Map([['who', {id: 'k'}]]);
    const store = {
        photos: async () => photos,
        change: async (order, told) => Object.assign(photos[order - 1], told),
        fact: async name => facts.get(name),
        note: async (name, value) => facts.set(name, value),
    };
    let looks = 0;
    const gateway = {
        session: async () => ({status: 200, body: {csrf_token: 't', key_id: 'k'}}),
        send: async () => ({status: 429, retryAfter: '60', body: null}),
        look: async () => { looks += 1; return {status: 200, body: {id: 's', status: 'done'}}; },
    };
    const {Outbox} = await import('/app/outbox.js');
    await new Outbox(store, gateway, () => {}, () => 1000).run();
    return [facts.get('pause')?.until, looks];
}"""


@pytest.fixture
def key(house) -> Callable[[], str]:
    return lambda: house.make_key("mobile", NAME)


@pytest.fixture
def phone(visit) -> Phone:
    phone = Phone(visit(phone=True))
    phone.visitor.excuse(UNREACHABLE, "ERR_FAILED", "/console/session: .*503", "/v1/searches/.*404")
    return phone


def sign_out(phone: Phone) -> None:
    phone.page.locator("#menu summary").click()
    phone.page.click("#sign-out")
    expect(phone.page.locator("#view-sign-in")).to_be_visible()


def test_photos_are_shown_and_sent_for_nobody_but_the_key_they_were_added_under(phone, key, people):
    first = key()
    phone.sign_in(first)
    phone.add(people[0].probe, people[1].probe)
    phone.visitor.context.clear_cookies()
    phone.send()
    expect(phone.page.locator("#sign-in-waiting")).to_contain_text("2 photos wait")

    phone.sign_in(key())
    phone.page.wait_for_timeout(2_000)
    expect(phone.sent).to_have_count(0)
    assert [photo["state"] for photo in phone.photos()] == ["waiting", "waiting"]

    phone.visitor.context.clear_cookies()
    phone.page.reload()
    phone.sign_in(first)
    expect(phone.sent).to_have_count(2)
    expect(phone.sent.first).to_contain_text("lead", timeout=ANSWERED_MS)


def test_a_sign_out_that_the_server_did_not_hear_of_is_told_until_it_has(phone, key):
    phone.sign_in(key())
    busy = re.compile("/console/session$")
    phone.visitor.context.route(busy, lambda route: route.fulfill(status=503))
    sign_out(phone)
    phone.open_again()
    phone.visitor.context.unroute(busy)
    with phone.page.expect_response(re.compile("/console/sign-out$")):
        phone.page.evaluate("dispatchEvent(new Event('online'))")

    phone.page.wait_for_function(f"() => {STATUS}.then(status => status === 401)")
    expect(phone.page.locator("#view-sign-in")).to_be_visible()


def test_a_sign_out_without_a_network_does_not_end_the_next_ones_session(phone, key):
    phone.sign_in(key())
    phone.visitor.context.set_offline(True)
    sign_out(phone)
    # the server could not be told: the next one signs in as soon as the network is back
    pay = re.compile("/console/session$")
    phone.visitor.context.route(pay, lambda route: route.abort())
    phone.visitor.context.set_offline(False)
    phone.sign_in(key())
    phone.visitor.context.unroute(pay)

    phone.open_again()
    expect(phone.page.locator("#view-home")).to_be_visible()
    assert phone.page.evaluate(STATUS) == 200


def test_a_busy_servers_word_stops_the_looks_and_outlasts_them(phone):
    phone.open()

    assert phone.page.evaluate(OUTBOX_OF) == [61_000, 0]


def test_a_name_that_was_deleted_leaves_the_phone_when_its_answer_is_opened(
    phone, key, house, keys
):
    somebody = read_people(PEOPLE)[-2]
    operator = requests.Session()
    operator.headers["Authorization"] = f"Bearer {keys['operator']}"
    persons = f"{house.plan.gateway_url}/v1/persons"
    files = {"photos": somebody.enrolled[0].read_bytes()}
    made = operator.post(persons, data={"name": "Soon deleted"}, files=files, timeout=30).json()
    phone.sign_in(key())
    phone.add(somebody.probe)
    phone.send()
    expect(phone.sent).to_contain_text("lead", timeout=ANSWERED_MS)
    assert "Soon deleted" in str(phone.photos())

    operator.delete(f"{persons}/{made['id']}", timeout=30).raise_for_status()
    phone.sent.get_by_role("link").click()
    first = phone.page.locator(".candidate h3").first
    expect(first).to_be_visible()
    expect(first).not_to_have_text("Soon deleted")
    assert "Soon deleted" not in str(phone.photos())
