"""The phone page: sign in, send, read the answer, judge it, sign out."""

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser import pictures
from tests.browser.axe import violations
from tests.browser.conftest import MAX_PHOTO_BYTES
from tests.browser.phone import Phone

pytestmark = pytest.mark.browser
ANSWERED_MS = 30_000
STATUS = "import('/app/gateway.js').then(({session}) => session()).then(({status}) => status)"
KEPT = """async () => (await Promise.all((await caches.keys()).map(async name =>
    (await (await caches.open(name)).keys()).map(one => new URL(one.url).pathname)))).flat()"""
LANGUAGES = {"en-GB": "Possible lead", "ko-KR": "가능한 단서"}


@pytest.fixture
def stranger(visit) -> Phone:
    """Nobody has signed in yet."""
    phone = Phone(visit(phone=True))
    phone.open()
    return phone


@pytest.fixture
def phone(stranger, keys) -> Phone:
    stranger.sign_in(keys["mobile"])
    return stranger


@pytest.fixture
def show_answer(phone, people) -> Callable[[], Phone]:
    def show() -> Phone:
        phone.add(people[0].probe)
        phone.send()
        expect(phone.sent).to_contain_text("Possible lead", timeout=ANSWERED_MS)
        phone.sent.get_by_role("link").click()
        expect(phone.page.locator(".candidate")).to_have_count(5)
        return phone

    return show


def test_a_photo_is_sent_and_five_people_come_back(show_answer, people):
    page = show_answer().page

    first = page.locator(".candidate").first
    expect(first.locator("h3")).to_have_text(people[0].name)
    expect(first).to_contain_text("searches of this gallery would show a match like this by chance")
    expect(first.get_by_role("meter")).to_have_count(2)
    expect(page.locator(".box rect")).to_have_count(1)


def test_a_verdict_reaches_the_gateway_and_stays_pressed(show_answer, people):
    phone = show_answer()
    label = f"{people[0].name}: the same person"
    with phone.page.expect_response(re.compile("/feedback$")) as told:
        phone.page.get_by_role("button", name=label).click()
    expect(phone.page.locator("#judged")).to_contain_text("recorded")
    assert (told.value.status, told.value.json()["verdict"]) == (201, "same")

    phone.open_again()
    phone.sent.get_by_role("link").click()
    same = phone.page.get_by_role("button", name=label)
    expect(same).to_have_attribute("aria-pressed", "true")


def test_heatmaps_are_asked_for_when_they_are_wanted_and_fade_in(show_answer):
    phone = show_answer()
    asked: list[str] = []
    phone.page.on("request", lambda request: asked.append(request.url))
    overlay = phone.page.locator(".candidate .over").first
    phone.page.locator("#heat").fill("80")
    expect(overlay).to_have_css("opacity", "0.8")
    expect(overlay).to_have_js_property("complete", value=True)
    phone.visitor.shoot("heatmaps")
    assert len([url for url in asked if url.endswith("/heatmap")]) == 5


def test_both_models_are_shown_side_by_side(show_answer, people):
    phone = show_answer()
    phone.page.get_by_role("button", name="Compare both models").click()
    columns = phone.page.locator(".compare .column")
    expect(columns).to_have_count(2, timeout=ANSWERED_MS)
    for column in columns.all():
        expect(column.locator("li")).to_have_count(5)
        expect(column.locator("li").first).to_contain_text(people[0].name)
    phone.visitor.shoot("models")
    assert [photo["answer"]["model"]["name"] for photo in phone.photos()] == ["heatmap", "base"]
    phone.page.locator(".back").click()
    expect(phone.sent).to_have_count(1)


def test_a_photo_without_a_face_is_refused_and_kept_until_it_is_discarded(phone):
    phone.add(pictures.as_file(pictures.without_a_face(3)))
    phone.visitor.excuse("/v1/searches: .*422")
    phone.send()
    expect(phone.sent).to_contain_text("Not accepted", timeout=ANSWERED_MS)
    phone.sent.get_by_role("link").click()
    expect(phone.page.locator("#photo .problem")).to_have_text("No face was found in it.")
    phone.visitor.shoot("refused")
    phone.page.get_by_role("button", name="Delete from this phone").click()
    expect(phone.sent).to_have_count(0)
    assert phone.photos() == []


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("photo.svg", pictures.SVG, "Its file type is not taken."),
        ("photo.jpg", b"\xff\xd8\xff\xe0 and then nothing", "The file is damaged."),
        ("photo.jpg", b"\xff\xd8\xff" + bytes(MAX_PHOTO_BYTES), "The file is too large."),
    ],
    ids=["svg", "damaged", "too-large"],
)
def test_what_is_no_photo_is_refused_with_its_reason_and_kept(phone, name, content, told):
    phone.visitor.excuse("/v1/searches: .*4(13|15|22)", "ERR_CONNECTION_RESET")
    phone.add({"name": name, "mimeType": "image/jpeg", "buffer": content})
    phone.send()
    expect(phone.sent).to_contain_text("Not accepted", timeout=ANSWERED_MS)
    phone.open_again()
    phone.sent.get_by_role("link").click()
    expect(phone.page.locator("#photo .problem")).to_contain_text(told)


def test_a_wrong_key_does_not_sign_in(stranger):
    stranger.visitor.excuse("/console/sign-in: .*401")
    stranger.page.fill("#key", "rk_0123456789ab_wrong")
    stranger.page.click("#sign-in button")
    expect(stranger.page.locator("#sign-in-problem")).to_have_text("This key is not valid.")
    expect(stranger.page.locator("#view-home")).to_be_hidden()


def test_signing_out_clears_the_phone_and_ends_the_session(show_answer):
    phone = show_answer()
    phone.page.locator("#menu summary").click()
    with phone.page.expect_response(re.compile("/console/sign-out$")):
        phone.page.click("#sign-out")
    expect(phone.page.locator("#view-sign-in")).to_be_visible()
    assert phone.photos() == []
    assert phone.page.evaluate(STATUS) == 401
    kept = phone.page.evaluate(KEPT)
    assert kept
    assert all(path.startswith("/app/") for path in kept)


def test_unsent_photos_are_not_thrown_away_without_asking(phone, people):
    phone.add(people[0].probe)
    phone.page.once("dialog", lambda dialog: dialog.dismiss())
    phone.page.locator("#menu summary").click()
    phone.page.click("#sign-out")
    expect(phone.drafts).to_have_count(1)


def test_an_ended_session_pauses_the_queue_until_somebody_signs_in(phone, people, keys):
    phone.visitor.context.clear_cookies()
    phone.add(people[1].probe)
    phone.send()
    expect(phone.page.locator("#sign-in-waiting")).to_contain_text("1 photos wait")
    phone.visitor.shoot("paused")

    phone.page.fill("#key", keys["mobile"])
    phone.page.click("#sign-in button")

    expect(phone.sent).to_contain_text("lead", timeout=ANSWERED_MS)


def test_a_busy_gateways_word_is_kept(phone, people):
    """503 with Retry-After: nothing is asked before, and then the same photo under the same key."""
    sent: list[tuple[float, str]] = []
    busy = {"type": "urn:reunite:problem:too-busy", "title": "", "status": 503, "detail": ""}

    def answer(route):
        sent.append((phone.page.evaluate("Date.now()"), route.request.headers["idempotency-key"]))
        if len(sent) > 1:
            route.continue_()
        else:
            route.fulfill(status=503, headers={"Retry-After": "3"}, body=json.dumps(busy))

    phone.visitor.excuse("/v1/searches: .*503")
    phone.answer_searches(answer)
    phone.add(people[2].probe)
    phone.send()
    expect(phone.page.locator("#queue")).to_contain_text("busy")
    expect(phone.sent).to_contain_text("lead", timeout=ANSWERED_MS)
    (first, key), (second, same_key) = sent
    assert second - first >= 2_900
    assert key == same_key


def test_a_photo_for_later_is_followed_to_its_answer(phone, people):
    """202: the gateway has the photo, and answers when it is asked again."""
    prefer = {"Prefer": "respond-async"}
    phone.answer_searches(
        lambda route: route.continue_(headers={**route.request.headers, **prefer})
    )
    phone.add(people[3].probe)
    with phone.page.expect_response(re.compile("/v1/searches$")) as told:
        phone.send()
    assert told.value.status == 202
    expect(phone.sent).to_contain_text("lead", timeout=ANSWERED_MS)


def test_a_text_of_somebody_elses_making_stays_text(phone, people):
    name = "<script>document.title='owned'</script><img src=x>"
    answer = {
        "id": "0" * 8,
        "status": "done",
        "verdict": "lead",
        "gallery": {"persons": 1, "faces": 1},
        "faces": [],
        "face": 0,
        "model": {"name": "heatmap"},
        "candidates": [
            {"rank": 1, "person_id": "p", "face_id": "f", "name": name}
            | {"similarity": 0.9, "confidence": 0.99, "expected_false_matches": 0.001}
        ],
    }
    phone.visitor.excuse("/v1/searches/0{8}/: .*404", "/v1/searches/0{8}.*404")
    phone.answer_searches(lambda route: route.fulfill(status=201, json=answer))
    phone.page.route("**/v1/searches/00000000", lambda route: route.fulfill(json=answer))
    phone.add(people[0].probe)
    phone.send()
    phone.sent.get_by_role("link").click()
    expect(phone.page.locator(".candidate h3")).to_have_text(name)
    assert phone.page.title() == "Reunite"


@pytest.mark.parametrize(
    ("language", "dark"), [("en-GB", False), ("ko-KR", True)], ids=["light", "korean-dark"]
)
def test_every_view_is_accessible(visit, keys, people, language, dark):
    phone = Phone(visit(phone=True, language=language, dark=dark))
    phone.visitor.excuse("/v1/searches: .*422")
    found: dict[str, list[str]] = {}

    def look(view: str) -> None:
        phone.visitor.shoot(view)
        if broken := violations(phone.page):
            found[view] = broken

    phone.open()
    look("sign-in")
    phone.sign_in(keys["mobile"])
    phone.add(people[0].probe, pictures.as_file(pictures.without_a_face(1)))
    phone.page.locator(".about summary").click()
    look("drafts")
    phone.send()
    expect(phone.sent.last).to_contain_text(LANGUAGES[language], timeout=ANSWERED_MS)
    phone.page.locator("#menu summary").click()
    look("sent")
    phone.page.locator("#menu summary").click()
    phone.sent.first.get_by_role("link").click()
    look("refused")
    phone.page.locator(".back").click()
    phone.sent.last.get_by_role("link").click()
    phone.page.locator(".thumb-button.same").first.click()
    expect(phone.page.locator("#judged")).to_be_visible()
    phone.page.locator("#photo .actions .button").first.click()
    expect(phone.page.locator(".compare .column")).to_have_count(2, timeout=ANSWERED_MS)
    look("answer")
    assert found == {}


def test_without_https_the_page_says_what_it_needs(visit, house):
    """Another name of this machine than localhost is not trusted by the browser."""
    phone = Phone(visit(phone=True, url=f"http://phone.example:{house.plan.gateway_port}"))
    phone.page.route("http://phone.example:*/**", lambda route: answer_for(route, house))
    phone.open()
    expect(phone.page.locator("#offline")).to_contain_text("needs HTTPS")


def answer_for(route, house):
    asked = route.request.url.replace("phone.example", "127.0.0.1")
    route.fulfill(response=route.fetch(url=asked))


def test_the_page_can_be_installed(phone):
    manifest = phone.page.evaluate(
        "fetch(document.querySelector('link[rel=manifest]').href).then(answer => answer.json())"
    )
    sizes = {icon["sizes"] for icon in manifest["icons"]}
    assert {"192x192", "512x512"} <= sizes
    for icon in manifest["icons"]:
        assert phone.page.evaluate("src => fetch(src).then(answer => answer.ok)", icon["src"])
    scope = phone.page.evaluate("navigator.serviceWorker.ready.then(shell => shell.scope)")
    assert scope.endswith("/app")
