"""What an answer means for a photo and for the queue: the sender's table, asked in the browser."""

from typing import Any

import pytest

pytestmark = pytest.mark.browser
NOW = 1_000_000
SEARCH = {"id": "s1", "status": "done", "verdict": "lead"}
IN_USE = {"type": "urn:reunite:problem:idempotency-key-in-use"}
NO_FACE = {"type": "urn:reunite:problem:no-face", "status": 422, "detail": "No face"}
GO = {"kind": "go"}
SIGN_IN = {"kind": "sign-in"}


@pytest.fixture(scope="module")
def ask(browser, house):
    """Calls a function of a module of the phone page."""
    context = browser.new_context(base_url=house.plan.gateway_url)
    page = context.new_page()
    page.goto("/app/")
    page.wait_for_selector("html[data-ready=yes]")

    def call(module: str, name: str, *values: object) -> Any:
        script = "async ([module, name, values]) => (await import(module))[name](...values)"
        return page.evaluate(script, [f"/app/{module}", name, list(values)])

    yield call
    context.close()


def answer(status: int, body: object = None, retry_after: str | None = None) -> dict[str, Any]:
    return {"status": status, "body": body, "retryAfter": retry_after}


def later(pause_ms: int, why: str) -> dict[str, Any]:
    return {"kind": "later", "until": NOW + pause_ms, "why": why}


@pytest.mark.parametrize(
    ("came", "state", "queue"),
    [
        (answer(201, SEARCH), "done", GO),
        (answer(202, {"id": "s1", "status": "queued"}, "1"), "following", GO),
        (answer(201, {"id": "s1", "status": "failed", "problem": NO_FACE}), "refused", GO),
        (answer(422, NO_FACE), "refused", GO),
        (answer(413), "refused", GO),
        (answer(415), "refused", GO),
        (answer(400), "refused", GO),
        (answer(409, {"type": "urn:reunite:problem:answer-deleted"}), "refused", GO),
        (answer(401), None, SIGN_IN),
        (answer(403), None, SIGN_IN),
        (answer(0), None, later(2_000, "unreachable")),
        (answer(200, "<html>pay for the hotspot</html>"), None, later(2_000, "unreachable")),
        (answer(302), None, later(2_000, "unreachable")),
        (answer(429, None, "17"), None, later(17_000, "busy")),
        (answer(503, None, "5"), None, later(5_000, "busy")),
        (answer(503, None, "Thu, 01 Jan 1970 00:16:43 GMT"), None, later(3_000, "busy")),
        (answer(409, IN_USE, "1"), None, later(1_000, "busy")),
        (answer(500), None, later(2_000, "busy")),
        (answer(408), None, later(2_000, "busy")),
    ],
    ids=lambda value: str(value.get("status", "")) if isinstance(value, dict) else None,
)
def test_a_sent_photo_ends_or_waits_and_the_queue_goes_on_or_waits(ask, came, state, queue):
    verdict = ask("sender.js", "judgeSent", came, 1, NOW)

    assert verdict["photo"].get("state") == state
    assert verdict["queue"] == queue


def test_pauses_double_up_to_a_limit(ask):
    pauses = [
        ask("sender.js", "judgeSent", answer(0), tried, NOW)["queue"]["until"] - NOW
        for tried in (1, 2, 3, 9, 50)
    ]

    assert pauses == [2_000, 4_000, 8_000, 300_000, 300_000]


def test_a_refusal_keeps_its_reason(ask):
    photo = ask("sender.js", "judgeSent", answer(422, NO_FACE), 1, NOW)["photo"]

    assert photo["reason"] == {"slug": "no-face", "status": 422, "detail": "No face"}


@pytest.mark.parametrize(
    ("came", "state", "queue"),
    [
        (answer(200, SEARCH), "done", GO),
        (answer(200, {"id": "s1", "status": "running"}), "following", GO),
        (answer(200, {"id": "s1", "status": "failed", "problem": NO_FACE}), "refused", GO),
        (answer(404, {"type": "urn:reunite:problem:search-not-found"}), "refused", GO),
        (answer(401), None, SIGN_IN),
        (answer(0), None, later(2_000, "unreachable")),
        (answer(429, None, "9"), None, later(9_000, "busy")),
    ],
    ids=lambda value: str(value.get("status", "")) if isinstance(value, dict) else None,
)
def test_an_acknowledged_photo_is_followed_until_its_search_has_ended(ask, came, state, queue):
    verdict = ask("sender.js", "judgeFollowed", came, 0, NOW)

    assert verdict["photo"].get("state") == state
    assert verdict["queue"] == queue


@pytest.mark.parametrize(
    ("expected", "share"),
    [
        (0.004, {"x": 4, "y": 1_000}),
        (0.5, {"x": 5, "y": 10}),
        (0.096, {"x": 1, "y": 10}),
        (0.0000123, {"x": 1, "y": 100_000}),
    ],
)
def test_a_chance_is_told_in_whole_numbers(ask, expected, share):
    assert ask("words.js", "asShare", expected) == share
