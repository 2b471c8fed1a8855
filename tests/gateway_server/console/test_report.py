"""The report for a case file: what it says, in both languages, and what it may load: nothing."""

import base64
import hashlib
import re

import pytest
from sqlalchemy import select

from gateway_server.tables import Audit
from tests.gateway_server.conftest import ONE_ENGINE, search, slug_of
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.photos import make_photo

pytestmark = ONE_ENGINE


@pytest.fixture
async def found(enrol, phone):
    await enrol("Ada", make_photo(1), reference="2026/7", missing_since="2026-05-01")
    await enrol("Bob", make_photo(2))
    answer = await search(phone, make_photo(1), case_reference="C-9", purpose="a tip")
    return answer.json()


async def report(client, found, **headers):
    return await client.get(f"/v1/searches/{found['id']}/report", headers=headers)


async def judge(client, found, rank, verdict):
    said = {"person_id": found["candidates"][rank]["person_id"], "verdict": verdict}
    await client.post(f"/v1/searches/{found['id']}/feedback", json=said)


async def test_it_says_what_was_found_by_what_and_who_judged(running, operator, found):
    key = await running.gateway.keyring.create("Park, desk 2", "operator")
    async with running.client(key) as second:
        await judge(operator, found, 0, "same")
        await judge(second, found, 0, "same")
        await judge(second, found, 1, "different")
        page = await report(second, found)

    assert page.headers["content-type"].startswith("text/html")
    for said in (
        *("Ada", "2026/7", "missing since 2026-05-01", "Bob", "C-9", "a tip"),
        "A match is a lead for people to judge, not an identification",
        "About 4 in 1,000 searches among 2 people would show such a match by chance",
        *("confirmed", "a operator", "Park, desk 2", "judged different"),
        *(found["model"]["sha256"], "2 people, 2 photos, version"),
        found["id"],
    ):
        assert said in page.text, said


async def test_it_speaks_korean(operator, found):
    page = await report(operator, found, **{"Accept-Language": "ko"})

    assert '<html lang="ko">' in page.text
    assert "신원 확인이 아닙니다" in page.text


async def test_it_loads_nothing_and_runs_nothing(operator, found):
    page = await report(operator, found)

    policy = page.headers["content-security-policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;")
    assert "script" not in policy
    assert {one[:5] for one in re.findall(r'(?:src|href)="([^"]*)"', page.text)} == {"data:"}
    assert "<script" not in page.text
    assert page.headers["cache-control"] == "private, no-store"


async def test_its_pictures_are_those_of_the_search(operator, found):
    page = await report(operator, found)

    pictures = [base64.b64decode(one) for one in re.findall(r"base64,([^\"]*)", page.text)]
    assert make_photo(1) in pictures
    assert len(pictures) == 1 + 2 + 2 * 2  # the photo; face and heatmap of it and of each


async def test_without_the_inference_tier_it_has_no_heatmaps_and_is_there(
    operator, found, inference
):
    inference.fail("*", internal_error)

    page = await report(operator, found)

    assert page.status_code == 200
    assert "no picture" in page.text


async def test_what_others_have_said_is_left_out_for_who_has_yet_to_judge(running, operator, found):
    key = await running.gateway.keyring.create("Park, desk 2", "operator")
    async with running.client(key) as second:
        before = await report(second, found)
        await judge(operator, found, 0, "same")
        after = await report(second, found)

    assert "a operator" not in after.text
    assert "awaiting" not in after.text
    assert before.text.count("under review") == after.text.count("under review") == 2


async def test_it_is_for_operators_and_leaves_a_row_in_the_audit(running, phone, operator, found):
    assert slug_of(await report(phone, found)) == "forbidden"
    await report(operator, found)

    async with running.gateway.queue._database.read() as session:
        wanted = select(Audit).where(Audit.action == "report", Audit.outcome == "allowed")
        (row,) = (await session.scalars(wanted)).all()
    assert row.search_id == found["id"]
    assert row.photo_sha256 == hashlib.sha256(make_photo(1)).hexdigest()


async def test_a_search_without_a_result_has_no_report(operator, inference):
    inference.fail("match", internal_error)
    waiting = await search(operator, make_photo(3))

    assert slug_of(await report(operator, waiting.json())) == "search-not-done"
