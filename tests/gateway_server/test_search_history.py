"""GET /v1/searches: everybody's searches, newest first, for operators."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from gateway_server.search_history import SearchesWanted
from gateway_server.tables import ApiKey, Photo, Search, new_id, now
from tests.gateway_server.conftest import ONE_ENGINE, search, slug_of
from tests.gateway_server.fake_inference import internal_error
from tests.gateway_server.photos import make_photo


async def listed(client, **params: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/searches", params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["searches"]
    return found


async def ids(client, **params: Any) -> list[str]:
    return [one["id"] for one in await listed(client, **params)]


async def test_a_search_is_told_in_short(phone, operator, enrol):
    person = await enrol("Ada", make_photo(1))
    made = await search(phone, make_photo(1), case_reference="K 7", purpose="a call", model="base")

    (told,) = await listed(operator)

    full = made.json()
    assert told["best"] == full["candidates"][0]
    assert (told["best"]["person_id"], told["best"]["name"]) == (person["id"], "Ada")
    assert {name: told[name] for name in ("id", "created_at", "verdict")} == {
        name: full[name] for name in ("id", "created_at", "verdict")
    }
    assert (told["case_reference"], told["purpose"], told["model"]) == ("K 7", "a call", "base")
    assert (told["status"], told["candidates"], told["cached"]) == ("done", 1, False)
    assert told["key_id"]
    assert told["finished_at"] >= told["created_at"]
    assert told["problem"] is None


async def test_names_are_those_of_today(operator, enrol):
    person = await enrol("Ada", make_photo(1))
    await search(operator, make_photo(1))
    await operator.patch(f"/v1/persons/{person['id']}", json={"name": "Ida"})
    assert [one["best"]["name"] for one in await listed(operator)] == ["Ida"]
    await operator.delete(f"/v1/persons/{person['id']}")
    assert [one["best"]["name"] for one in await listed(operator)] == [None]


async def test_searches_without_an_answer_are_told_with_their_state(operator, inference):
    inference.refuse(make_photo(1), "no-face")
    await search(operator, make_photo(1))
    inference.fail("*", internal_error)
    await search(operator, make_photo(2))

    queued, failed = await listed(operator)

    assert (queued["status"], queued["verdict"], queued["best"]) == ("queued", None, None)
    assert (failed["status"], failed["verdict"], failed["best"]) == ("failed", None, None)
    assert failed["problem"]["type"] == "urn:reunite:problem:no-face"


async def test_pages_follow_each_other_from_the_newest_on(operator):
    made = [(await search(operator, make_photo(seed))).json()["id"] for seed in range(5)]
    seen, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await operator.get("/v1/searches", params=params)).json()
        seen += [one["id"] for one in page["searches"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_each_filter_keeps_what_it_names(operator, enrol, inference):
    await enrol("Ada", make_photo(1))
    lead = (await search(operator, make_photo(1), case_reference="ÄRA-100%_7")).json()["id"]
    none = (await search(operator, make_photo(2), model="base")).json()["id"]
    inference.refuse(make_photo(3), "no-face")
    failed = (await search(operator, make_photo(3))).json()["search_id"]

    expected: Mapping[tuple[str, str], list[str]] = {
        ("status", "done"): [none, lead],
        ("status", "failed"): [failed],
        ("status", "queued"): [],
        ("status", "running"): [],
        ("verdict", "lead"): [lead],
        ("verdict", "no_credible_lead"): [none],
        ("model", "base"): [none],
        ("model", "heatmap"): [failed, lead],
        ("case_reference", "ära"): [lead],
        ("case_reference", "100%_"): [lead],
        ("case_reference", "100_"): [],
        ("since", "2020-01-01"): [failed, none, lead],
        ("since", "2999-01-01"): [],
    }
    for (name, value), wanted in expected.items():
        assert await ids(operator, **{name: value}) == wanted, (name, value)
    assert await ids(operator, status="done", verdict="lead", model="base") == []


async def test_the_verdict_that_is_looked_for_is_the_one_that_is_shown(operator, enrol):
    person = await enrol("Ada", make_photo(1))
    others = [(await search(operator, make_photo(seed))).json()["id"] for seed in (2, 3)]
    leads = [(await search(operator, make_photo(1))).json()["id"] for _ in range(3)]
    said = {"person_id": person["id"], "verdict": "different"}
    await operator.post(f"/v1/searches/{leads[0]}/feedback", json=said)

    assert await ids(operator, verdict="lead") == []
    told = await listed(operator, verdict="no_credible_lead")
    assert [one["id"] for one in told] == [*leads[::-1], *others[::-1]]
    assert {one["verdict"] for one in told} == {"no_credible_lead"}


async def test_a_page_goes_on_until_it_has_what_is_looked_for(operator, enrol):
    ada = await enrol("Ada", make_photo(1))
    kept = (await search(operator, make_photo(1))).json()["id"]
    bob = await enrol("Bob", make_photo(2))
    ruled_out = [(await search(operator, make_photo(2))).json()["id"] for _ in range(2)]
    for person in (ada, bob):
        said = {"person_id": person["id"], "verdict": "different"}
        await operator.post(f"/v1/searches/{ruled_out[0]}/feedback", json=said)

    assert await ids(operator, verdict="lead", limit=1) == [kept]


async def test_a_search_whose_job_is_held_is_running(operator, inference, running):
    inference.fail("*", internal_error)
    made = (await search(operator, make_photo(1))).json()["id"]
    queue = running.gateway.queue
    async with queue._database.write() as session:
        await queue.add(session, "search", made, held=True)

    assert [one["status"] for one in await listed(operator)] == ["running"]
    assert await ids(operator, status="running") == [made]
    assert await ids(operator, status="queued") == []


@pytest.mark.parametrize(
    ("params", "slug"),
    [
        ({"status": "lost"}, "invalid-parameter"),
        ({"verdict": "yes"}, "invalid-parameter"),
        ({"model": "big"}, "invalid-parameter"),
        ({"since": "yesterday"}, "invalid-date"),
        ({"case_reference": "x" * 201}, "invalid-parameter"),
        ({"cursor": "x"}, "invalid-cursor"),
        ({"limit": 0}, "invalid-parameter"),
    ],
    ids=str,
)
@ONE_ENGINE
async def test_a_filter_that_cannot_be_is_refused(operator, params: dict[str, Any], slug: str):
    assert slug_of(await operator.get("/v1/searches", params=params)) == slug


@ONE_ENGINE
async def test_the_history_is_not_for_phones(phone):
    answer = await phone.get("/v1/searches")
    assert (answer.status_code, slug_of(answer)) == (403, "forbidden")


@ONE_ENGINE
async def test_looking_through_searches_leaves_a_row_in_the_audit(running, operator):
    await listed(operator)
    async with running.client(running.keys["admin"]) as admin:
        rows = (await admin.get("/v1/audit")).json()["rows"]
    newest = rows[0]
    assert (newest["action"], newest["role"]) == ("list", "operator")


async def fill_with_searches(database, searches: int) -> None:
    """Of the size that searches have, with an answer of five candidates each."""
    candidate = {
        "rank": 1, "person_id": new_id(), "face_id": new_id(), "similarity": 0.5,
        "confidence": 0.1, "expected_false_matches": 3.0,
    }  # fmt: skip
    landmarks = [[123.25, 456.5]] * 5
    face = {"index": 0, "box": [1.0] * 4, "landmarks": landmarks, "quality": 50, "warnings": []}
    answer = {
        "model": {"name": "heatmap", "sha256": "c" * 64},
        "gallery": {"persons": 1, "faces": 1, "version": 1},
        "faces": [face] * 2,
        "face": 0,
        "warnings": [],
        "verdict": "no_credible_lead",
        "candidates": [candidate] * 5,
    }
    async with database.write() as session:
        session.add(ApiKey(id="k", name="k", role="operator", secret_sha256="0" * 64))
        session.add(Photo(sha256="a" * 64, media_type="image/png", bytes=1, width=1, height=1))
        await session.flush()
        verdicts = ["no_credible_lead" if n % 1000 else "lead" for n in range(searches)]
        rows = [
            {
                "id": new_id(), "status": "done", "key_id": "k", "request_id": "r",
                "photo_sha256": "a" * 64, "top_k": 5, "model": "heatmap", "cached": False,
                "verdict": verdicts[number],
                "case_text": f"case {number}", "case_reference": f"Case {number}",
                "created_at": now() - timedelta(seconds=number),
                "answer": answer | {"verdict": verdicts[number]},
            }
            for number in range(searches)
        ]  # fmt: skip
        await session.execute(insert(Search), rows)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (SearchesWanted(), 50),
        (SearchesWanted(verdict="lead"), 10),
        (SearchesWanted(verdict="no_credible_lead"), 50),
        (SearchesWanted(status="failed"), 0),
        (SearchesWanted(case_reference="case 99"), 50),
    ],
    ids=["all", "leads", "none", "failed", "by case"],
)
@ONE_ENGINE
async def test_lists_of_many_searches_read_few_of_them(running, wanted, found: int):
    """By their plans, not by the clock: no list sorts the whole table."""
    database = running.gateway.queue._database
    await fill_with_searches(database, 10_000)
    page = await running.gateway.search_history.list(wanted, None, 50)
    assert len(page.searches) == found
    ordered = select(Search.id).where(*wanted.conditions())
    ordered = ordered.order_by(Search.created_at.desc(), Search.id.desc()).limit(51)
    statement = ordered.compile(
        dialect=(await _dialect(database)), compile_kwargs={"literal_binds": True}
    )
    async with database.read() as session:
        connection = await session.connection()
        plan = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")).all()
    told = " ".join(str(row[3]) for row in plan)
    assert "USING INDEX search_by" in told or "USING COVERING INDEX search_by" in told
    assert "TEMP B-TREE" not in told


async def _dialect(database):
    async with database.read() as session:
        return session.get_bind().dialect
