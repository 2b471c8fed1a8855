"""The pages of imports, earlier searches, failures, the audit and the model."""

import html
import json
import re
from uuid import uuid4

import httpx
import pytest

from tests.gateway_server.conftest import (
    ONE_ENGINE,
    RETRIED_SOON,
    run_gateway,
    search,
    search_in_vain,
    until,
)
from tests.gateway_server.console.browser import Browser, assert_for_operators_alone, browser_at
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.import_files import make_archive, make_table
from tests.gateway_server.photos import make_photo
from tests.gateway_server.test_search_history import fill_with_searches

pytestmark = ONE_ENGINE
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
AS_FRAGMENT = {"HX-Request": "true"}
NOBODY = "00000000-0000-4000-8000-000000000000"


async def upload(desk: Browser, table: bytes, archive: bytes, **headers: str) -> httpx.Response:
    """As upload.js does."""
    ours = {"HX-Request": "true", "Idempotency-Key": str(uuid4())}
    return await desk.client.post(
        "/console/import",
        files={"table": ("p.csv", table), "archive": ("p.zip", archive)},
        headers={"X-CSRF-Token": desk.csrf_token, **ours, **headers},
    )


async def import_some(desk: Browser) -> str:
    """Three rows: one is enrolled, one has no photo, one says harm."""
    rows = [
        {"name": "Ada", "reference": "K 1", "photo": "1.jpg"},
        {"name": "Bo", "reference": EVIL, "photo": "none.jpg"},
        {"name": EVIL, "reference": "K 3", "photo": "2.jpg"},
    ]
    photos = {"1.jpg": make_photo(1), "2.jpg": make_photo(2)}
    begun = await upload(desk, make_table(rows), make_archive(photos))
    assert begun.status_code == 201, begun.text
    address = begun.headers["location"]

    async def is_done():
        return "Done</span>" in (await desk.open(address)).text

    await until(is_done)
    return address


async def test_an_import_is_uploaded_watched_and_told_row_by_row(desk):
    address = await import_some(desk)

    page = (await desk.open(address)).text
    assert 'hx-trigger="every 2s"' not in page, "what has ended is not asked for again"
    assert "The archive has no such photo" in page
    assert page.count("enrolled</span>") == 2
    refused = (await desk.open(f"{address}?outcome=refused")).text
    assert "The archive has no such photo" in refused
    assert "enrolled</span>" not in refused
    assert "There are no such rows." in (await desk.open(f"{address}?outcome=duplicate")).text
    for text in (page, refused, (await desk.open("/console/people")).text):
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    assert address in (await desk.open("/console/import")).text


async def test_an_import_under_way_is_looked_after_without_keeping_the_session(desk, inference):
    inference.fail("*", internal_error)
    rows = [{"name": "Ada", "photo": "1.jpg"}]
    begun = await upload(desk, make_table(rows), make_archive({"1.jpg": make_photo(1)}))
    address = f"{begun.headers['location']}?outcome=pending"

    async def is_stored():
        return "being enrolled</span>" in (await desk.open(address)).text

    await until(is_stored)
    part = (await desk.open(address, headers=AS_FRAGMENT)).text
    assert f'hx-get="{address}" hx-trigger="every 2s"' in html.unescape(part)
    assert "data-unattended" in part
    assert "<html" not in part


async def test_an_import_that_cannot_be_is_a_notice(desk):
    once = {"Idempotency-Key": "once"}
    table = b"<script>alert(1)</script>,photo\n"
    for is_replayed in (None, "true"):
        answer = await upload(desk, table, make_archive({}), **once)
        assert answer.status_code == 422
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers.get("idempotent-replayed") == is_replayed
        assert 'role="alert"' in answer.text
        assert "&lt;script&gt;" in answer.text
        assert "<script" not in answer.text
    assert (await desk.open(f"/console/import/{NOBODY}")).status_code == 404


async def test_the_same_upload_twice_is_one_import(desk):
    rows, photos = [{"name": "Ada", "photo": "1.jpg"}], {"1.jpg": make_photo(1)}
    files = make_table(rows), make_archive(photos)
    once = {"Idempotency-Key": "once"}
    one, two = await upload(desk, *files, **once), await upload(desk, *files, **once)
    assert one.headers["location"] == two.headers["location"]


async def test_earlier_searches_are_listed_with_their_pictures(desk, phone, operator, enrol):
    await enrol(EVIL, make_photo(1))
    lead = (await search(phone, make_photo(1), case_reference="K 7", purpose=EVIL)).json()["id"]
    none = (await search(operator, make_photo(2))).json()["id"]

    page = (await desk.open("/console/searches")).text

    shown = re.findall(r'class="whole" href="/console/searches/([^"]+)"', page)
    assert shown == [none, lead]
    assert f'src="/v1/searches/{lead}/photo?size=thumb"' in page
    assert "Lead</span>" in page
    assert "No credible lead</span>" in page
    assert "a mobile" in page, "whose key it was"
    assert "<script>alert" not in page
    found = (await desk.open("/console/searches?verdict=lead&case_reference=k+7")).text
    assert (lead in found, none in found) == (True, False)
    part = (await desk.open("/console/searches?status=failed", headers=AS_FRAGMENT)).text
    assert "No search fits this." in part
    assert "<html" not in part


async def test_a_search_that_failed_says_why_in_the_list(desk, phone, inference):
    inference.refuse(make_photo(1), "no-face")
    await search(phone, make_photo(1))
    assert "No face was found" in (await desk.open("/console/searches")).text


async def test_many_searches_are_paged(desk, running):
    await fill_with_searches(running.gateway.queue._database, 120)
    address, seen = "/console/searches", []
    while address:
        page = (await desk.open(address)).text
        seen += re.findall(r'class="whole" href="/console/searches/([^"]+)"', page)
        following = re.findall(r'href="([^"]+)" rel="next"', page)
        address = html.unescape(following[0]) if following else ""
    assert len(seen) == len(set(seen)) == 120


async def test_failures_are_grouped_by_reason_and_tried_again(desk, phone, operator, inference):
    assert "Nothing is owed." in (await desk.open("/console/failures")).text
    inference.fail("*", internal_error)
    failures = [await search_in_vain(phone, operator, make_photo(seed)) for seed in (1, 2)]
    page = (await desk.open("/console/failures")).text
    assert "The face search failed" in page
    assert re.findall(r"<strong>(\d+)</strong>", page) == ["2", "2"]
    inference.recover()

    row = await desk.client.post(
        f"/console/failures/{failures[0]['id']}/retry",
        headers={"X-CSRF-Token": desk.csrf_token, **AS_FRAGMENT},
    )
    assert "resolved</span>" in row.text
    assert "<html" not in row.text
    again = await desk.send(f"/console/failures/{failures[0]['id']}/retry")
    assert again.status_code == 409
    done = await desk.send("/console/failures/retry")
    assert done.headers["location"] == "/console/failures?done=1"

    async def all_are_resolved():
        return "Nothing is owed." in (await desk.open("/console/failures")).text

    await until(all_are_resolved)
    assert "1 failure gets another attempt." in (await desk.open("/console/failures?done=1")).text
    assert "resolved</span>" in (await desk.open("/console/failures?show=all")).text
    evil = (await desk.open(f"/console/failures?done={EVIL}&reason={EVIL}&show={EVIL}")).text
    assert "<script>alert" not in evil


async def test_failures_of_one_reason_alone(desk, phone, operator, inference):
    inference.fail("*", internal_error)
    await search_in_vain(phone, operator, make_photo(1))
    page = (await desk.open("/console/failures?reason=inference-failed")).text
    assert "Nothing is owed." not in page
    page = (await desk.open("/console/failures?reason=inference-timeout")).text
    assert "Nothing is owed." in page
    assert "Nothing is owed." in (await desk.open("/console/failures?show=given_up")).text


async def test_administrators_look_into_the_audit(running, operator, phone, enrol):
    person = await enrol("Ada", make_photo(1))
    await search(phone, make_photo(1), purpose=EVIL)
    async with browser_at(running, "admin") as browser:
        page = (await browser.open("/console/audit")).text
        assert "searched" in page
        assert "a mobile" in page
        assert "<script>alert" not in page
        about = (await browser.open(f"/console/audit?person_id={person['id']}")).text
        assert "added" in about
        assert "searched" not in about
        part = await browser.open(f"/console/audit?search_id={EVIL}", headers=AS_FRAGMENT)
        assert "There are no such rows." in part.text
        newest = (await browser.open("/console/audit")).text
        assert "looked into the audit" in newest


async def test_operators_do_not_look_into_the_audit(desk):
    assert (await desk.open("/console/audit")).status_code == 403


async def test_the_model_is_shown_with_card_curves_and_plots(desk):
    page = (await desk.open("/console/model")).text

    curves = json.loads(html.unescape(re.findall(r'data-curves="([^"]+)"', page)[0]))
    assert curves == {"heatmap": {"similarity": [0.0, 0.5, 1.0], "fmr": [1.0, 1e-3, 1e-9]}}
    assert "<td>1</td>" in page, "the card's tables are tables"
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    plot = await desk.open("/console/model/plots/roc")
    assert (plot.status_code, plot.headers["content-type"]) == (200, "image/png")
    for name in ("det", "..%2fbase", "ROC"):
        assert (await desk.open(f"/console/model/plots/{name}")).status_code in {404, 422}


async def test_without_the_inference_tier_the_model_page_says_so(desk, inference):
    inference.fail("*", internal_error)
    page = await desk.open("/console/model")
    assert page.status_code == 503
    assert "The face search is away" in page.text


ADDRESSES = [
    ("GET", "/console/import"),
    ("GET", f"/console/import/{NOBODY}"),
    ("GET", "/console/searches"),
    ("GET", "/console/failures"),
    ("GET", "/console/audit"),
    ("GET", "/console/model"),
    ("GET", "/console/model/plots/roc"),
    ("POST", "/console/import"),
    ("POST", "/console/failures/retry"),
    ("POST", f"/console/failures/{NOBODY}/retry"),
]


@pytest.mark.parametrize(("method", "address"), ADDRESSES, ids=" ".join)
async def test_only_operators_come_in_and_changes_need_the_token(
    running, stranger, desk, method: str, address: str
):
    await assert_for_operators_alone(running, stranger, desk, method, address)


@RETRIED_SOON
async def test_every_page_speaks_korean(environment, inference):
    transport = httpx.ASGITransport(inference.app)
    async with run_gateway(environment, transport) as running, browser_at(running, "admin") as desk:
        await desk.open("/console/preferences?language=ko")
        for _, address in ADDRESSES[2:6]:
            assert '<html lang="ko"' in (await desk.open(address)).text
