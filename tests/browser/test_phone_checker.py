"""A photo that cannot be looked at on the phone is sent all the same, and holds up no other."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.phone import LOOKED_AT_MS, Phone

pytestmark = pytest.mark.browser
LEFT_BEHIND = """async () => {
    const blob = await (await fetch('/app/icon-512.png')).blob();
    const store = await (await import('/app/store.js')).Store.open();
    const {id: owner} = await store.fact('who');
    await store.add([{owner, key: 'k', blob, model: 'heatmap', state: 'draft', hints: null}]);
}"""
BROKEN_AT_ITS_START = """async () => {
    const worker = Object.assign(new EventTarget(), {postMessage() {}});
    const checker = new (await import('/app/checker.js')).Checker(worker);
    worker.dispatchEvent(new Event('error'));
    const forever = new Promise(resolve => setTimeout(resolve, 1000, 'never told'));
    return Promise.race([checker.check(new Blob()), forever]);
}"""
ONE_AFTER_THE_OTHER = """async () => {
    const store = await (await import('/app/store.js')).Store.open();
    const isNew = ({hints}) => hints === null;
    const [order] = await store.add([{key: 'k', state: 'draft', hints: null}]);
    await store.change(order, {hints: [], state: 'waiting'}, isNew);
    await store.change(order, {hints: ['blurred'], state: 'draft'}, isNew);
    return (await store.photo(order)).state;
}"""
UNCHECKED = {"hints": ["unchecked"], "face": None}


@pytest.fixture
def stranger(visit) -> Phone:
    return Phone(visit(phone=True))


@pytest.fixture
def phone(stranger, keys) -> Phone:
    stranger.sign_in(keys["mobile"])
    return stranger


def test_a_draft_whose_look_was_broken_off_is_looked_at_when_the_page_opens_again(phone):
    phone.page.evaluate(LEFT_BEHIND)
    phone.open_again()

    expect(phone.page.locator("#send")).to_be_enabled(timeout=LOOKED_AT_MS)
    (photo,) = phone.photos()
    assert "no-face" in photo["hints"]


def test_a_worker_that_does_not_start_leaves_no_photo_waiting(phone):
    assert phone.page.evaluate(BROKEN_AT_ITS_START) == UNCHECKED


def test_a_worker_that_fails_at_a_photo_says_that_it_was_not_looked_at(stranger, keys, people):
    def spoil(route):
        text = route.fetch().text()
        route.fulfill(body=f"delete self.OffscreenCanvas;{text}", content_type="text/javascript")

    stranger.visitor.context.route(re.compile(r"checker\.worker\.js"), spoil)
    stranger.sign_in(keys["mobile"])
    stranger.add(people[0].probe)
    expect(stranger.page.locator("#send")).to_be_enabled()
    assert [photo["hints"] for photo in stranger.photos()] == [["unchecked"]]


def test_a_look_that_ends_late_changes_no_photo_that_is_being_sent(phone):
    assert phone.page.evaluate(ONE_AFTER_THE_OTHER) == "waiting"
