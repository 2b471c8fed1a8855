"""Browser sessions: how they begin, what they let in, and when they end."""

import hashlib
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select, update

from gateway_server.tables import Audit, BrowserSession, now
from tests.gateway_server.conftest import ONE_ENGINE, Running, slug_of
from tests.gateway_server.console.browser import Browser, browser_at
from tests.gateway_server.photos import make_photo

COOKIE = "reunite_session"
JSON = {"Accept": "application/json"}


async def rows_of(running: Running, kind):
    async with running.gateway.queue._database.read() as session:
        return (await session.scalars(select(kind))).all()


async def make_older(running: Running, column: str, by: timedelta) -> None:
    async with running.gateway.queue._database.write() as session:
        await session.execute(update(BrowserSession).values({column: now() - by}))


async def is_signed_in(browser: Browser) -> bool:
    answer = await browser.open("/console/session", headers=JSON)
    return answer.status_code == 200


async def test_a_key_opens_a_session_of_which_only_a_digest_is_kept(running, stranger):
    answer = await stranger.sign_in(running.keys["operator"])

    token = stranger.client.cookies[COOKIE]
    (row,) = await rows_of(running, BrowserSession)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/search")
    assert len(token) == 43  # 256 bits in base64
    assert row.token_sha256 == hashlib.sha256(token.encode()).hexdigest()
    _, _, secret = running.keys["operator"].split("_", 2)  # a secret may hold underscores itself
    assert len(secret) == 43
    assert secret not in str(vars(row))
    told = (await stranger.open("/console/session", headers=JSON)).json()
    assert told == {
        "role": "operator",
        "key_id": running.keys["operator"].split("_")[1],
        "key_name": "a operator",
        "csrf_token": row.csrf_token,
        "language": "en",
        "idle_s": 1800,
    }


@ONE_ENGINE
async def test_no_script_sees_the_cookie_and_no_other_site_sends_it(running, stranger):
    answer = await stranger.sign_in(running.keys["operator"])

    stated = answer.headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "path=/"} <= set(stated.split("; "))
    assert "secure" not in stated, "the test speaks plain HTTP"
    assert "max-age" not in stated, "a desk's ends with the browser"


@ONE_ENGINE
async def test_by_https_the_cookie_travels_by_https_alone(running):
    transport = httpx.ASGITransport(running.app)
    async with httpx.AsyncClient(transport=transport, base_url="https://gateway") as client:
        answer = await Browser(client).sign_in(running.keys["mobile"])

    assert "secure" in answer.headers["set-cookie"].lower()
    assert "max-age" in answer.headers["set-cookie"].lower(), "a phone stays signed in"


@ONE_ENGINE
@pytest.mark.parametrize(
    ("role", "wanted", "first"),
    [
        ("operator", "/console/people?q=a", "/console/people?q=a"),
        ("operator", "//evil.example/", "/console/search"),
        ("operator", "https://evil.example/", "/console/search"),
        ("operator", "/console\\evil", "/console/search"),
        ("operator", "/consoles/", "/console/search"),
        ("operator", "/console/\r\nSet-Cookie: a=b", "/console/search"),
        ("mobile", "", "/app"),
    ],
)
async def test_after_signing_in_one_goes_on_to_our_own_pages_alone(
    running, stranger, role, wanted, first
):
    answer = await stranger.sign_in(running.keys[role], next=wanted)

    assert answer.headers["location"] == first


@ONE_ENGINE
async def test_a_wrong_key_is_told_in_the_page_and_guessing_is_slowed(
    environment, inference, running, stranger
):
    wrong = "rk_000000000000_guess"
    answers = [await stranger.sign_in(wrong) for _ in range(31)]

    assert {one.status_code for one in answers[:30]} == {401}
    assert "This key is not valid" in answers[0].text
    assert (answers[30].status_code, "Too many keys" in answers[30].text) == (429, True)
    assert int(answers[30].headers["retry-after"]) > 0
    assert COOKIE not in stranger.client.cookies


@ONE_ENGINE
@pytest.mark.parametrize(
    "shown", [{}, {"csrf_token": ""}, {"csrf_token": "guessed"}], ids=["none", "empty", "wrong"]
)
async def test_another_site_cannot_sign_a_browser_in(running, stranger, shown):
    await stranger.open("/console/sign-in")
    form = {"key": running.keys["operator"], **shown}

    answer = await stranger.client.post("/console/sign-in", data=form)

    assert (answer.status_code, COOKIE in stranger.client.cookies) == (403, False)


@ONE_ENGINE
@pytest.mark.parametrize(
    "said",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://gateway"},
    ],
)
async def test_what_a_browser_says_comes_from_elsewhere_is_refused_even_with_the_token(
    running, desk, said
):
    for address in ("/console/sign-out", "/v1/failures/retry"):
        headers = {"X-CSRF-Token": desk.csrf_token, **said, **JSON}

        answer = await desk.client.post(address, headers=headers)

        assert (answer.status_code, slug_of(answer)) == (403, "cross-site-refused")
    assert await is_signed_in(desk)


@ONE_ENGINE
@pytest.mark.parametrize(
    ("origin", "status"), [("http://gateway", 202), ("http://evil.example", 403), ("null", 403)]
)
async def test_where_the_browser_says_no_more_its_origin_is_looked_at(
    running, desk, origin, status
):
    del desk.client.headers["Sec-Fetch-Site"]
    headers = {"X-CSRF-Token": desk.csrf_token, "Origin": origin}

    answer = await desk.client.post("/v1/failures/retry", headers=headers)

    assert answer.status_code == status


@ONE_ENGINE
@pytest.mark.parametrize("shown", [{}, {"X-CSRF-Token": "guessed"}], ids=["none", "wrong"])
async def test_a_cookie_without_its_token_changes_nothing_through_the_api(
    running, desk, enrol, shown
):
    person = await enrol("Ada")
    address = f"/v1/persons/{person['id']}"

    photo = {"photo": ("p.jpg", make_photo(1))}
    answers = [
        await desk.client.patch(address, json={"name": "Eve"}, headers={**JSON, **shown}),
        await desk.client.delete(address, headers={**JSON, **shown}),
        await desk.client.post("/v1/searches", files=photo, headers={**JSON, **shown}),
    ]

    assert {slug_of(answer) for answer in answers} == {"cross-site-refused"}
    assert (await desk.open(address)).json()["name"] == "Ada"


@ONE_ENGINE
async def test_with_its_token_a_cookie_does_what_its_key_may(running, desk, enrol):
    person = await enrol("Ada", make_photo(1))
    headers = {"X-CSRF-Token": desk.csrf_token}

    changed = await desk.client.patch(
        f"/v1/persons/{person['id']}", json={"name": "Ada L."}, headers=headers
    )
    found = await desk.client.post(
        "/v1/searches", files={"photo": ("p.jpg", make_photo(1))}, headers=headers
    )
    refused = await desk.open("/v1/keys", headers=JSON)

    assert (changed.json()["name"], found.status_code) == ("Ada L.", 201)
    assert (refused.status_code, slug_of(refused)) == (403, "forbidden")
    audited = {(one.action, one.role) for one in await rows_of(running, Audit) if one.key_id}
    assert audited >= {(action, "operator") for action in ("sign-in", "change", "search")}


async def test_signing_out_ends_the_session_for_whoever_kept_the_cookie(running, desk):
    kept = desk.client.cookies[COOKIE]

    answer = await desk.send("/console/sign-out")

    assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in")
    assert await rows_of(running, BrowserSession) == []
    desk.client.cookies.set(COOKIE, kept)
    assert not await is_signed_in(desk)


async def test_a_revoked_key_ends_its_sessions_at_once(running, desk):
    await running.gateway.keyring.revoke(running.keys["operator"].split("_")[1])

    answer = await desk.open("/v1/persons", headers=JSON)

    assert (answer.status_code, slug_of(answer)) == (401, "session-ended")


@ONE_ENGINE
async def test_a_rotated_key_ends_the_sessions_of_its_last_secret_when_that_ends(running, desk):
    key_id = running.keys["operator"].split("_")[1]

    await running.gateway.keyring.rotate(key_id, grace_s=60)
    assert await is_signed_in(desk)
    await running.gateway.keyring.rotate(key_id)
    assert not await is_signed_in(desk)


@pytest.mark.parametrize(
    ("role", "column", "age", "lives"),
    [
        ("operator", "seen_at", timedelta(minutes=29), True),
        ("operator", "seen_at", timedelta(minutes=31), False),
        ("operator", "created_at", timedelta(hours=11), True),
        ("operator", "created_at", timedelta(hours=13), False),
        ("admin", "created_at", timedelta(hours=13), False),
        ("mobile", "created_at", timedelta(days=300), True),
        ("mobile", "seen_at", timedelta(days=29), True),
        ("mobile", "seen_at", timedelta(days=31), False),
    ],
)
async def test_a_session_ends_by_its_age_or_when_nobody_comes(running, role, column, age, lives):
    async with browser_at(running, role) as browser:
        await make_older(running, column, age)

        assert await is_signed_in(browser) == lives


@ONE_ENGINE
@pytest.mark.parametrize(
    "headers", [{"X-Unattended": "1"}, {"Sec-Fetch-Dest": "image"}], ids=["part", "picture"]
)
async def test_what_a_page_asks_by_itself_does_not_keep_a_session_alive(running, desk, headers):
    await make_older(running, "seen_at", timedelta(minutes=20))
    (before,) = await rows_of(running, BrowserSession)
    await desk.open("/v1/persons", headers=headers)
    (unattended,) = await rows_of(running, BrowserSession)
    await desk.open("/v1/persons")
    (attended,) = await rows_of(running, BrowserSession)

    assert unattended.seen_at == before.seen_at
    assert attended.seen_at > before.seen_at


@ONE_ENGINE
async def test_long_forgotten_sessions_are_deleted_by_the_next_one(running, desk):
    await make_older(running, "seen_at", timedelta(days=31))

    async with browser_at(running, "admin"):
        (left,) = await rows_of(running, BrowserSession)

    assert left.key_id == running.keys["admin"].split("_")[1]


@ONE_ENGINE
async def test_a_browser_that_signs_in_again_leaves_no_session_behind(running, desk):
    await desk.sign_in(running.keys["admin"])

    (left,) = await rows_of(running, BrowserSession)
    assert left.key_id == running.keys["admin"].split("_")[1]


@ONE_ENGINE
async def test_an_ended_session_leads_to_the_sign_in_page_and_back(running, desk):
    await make_older(running, "seen_at", timedelta(hours=1))

    page = await desk.open("/console/session")

    assert page.headers["location"] == "/console/sign-in?next=%2Fconsole%2Fsession"
    assert COOKIE not in desk.client.cookies


@ONE_ENGINE
async def test_an_ended_session_is_nobody_guessing(running, desk):
    await make_older(running, "seen_at", timedelta(hours=1))

    answers = [await desk.open("/v1/persons", headers=JSON) for _ in range(40)]

    assert {slug_of(one) for one in answers} == {"session-ended"}


@ONE_ENGINE
async def test_a_part_of_a_page_sends_the_whole_page_to_sign_in(running, stranger):
    headers = {"HX-Request": "true", "HX-Current-URL": "http://gateway/console/people?q=a"}

    answer = await stranger.open("/console/session", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/console/sign-in?next=%2Fconsole%2Fpeople%3Fq%3Da"
