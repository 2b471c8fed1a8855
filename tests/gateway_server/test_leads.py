"""Leads: what waits for reviewers, how their voices become a decision, and how a no sticks."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway_server.auth import Caller
from gateway_server.paging import encode_place
from gateway_server.review.decisions import Voice, decide, shown_to
from gateway_server.review.leads import move_person
from gateway_server.tables import Lead, LeadVoice, Search, new_id, now
from tests.gateway_server.conftest import ONE_ENGINE, Running, run_gateway, search, slug_of
from tests.gateway_server.photos import make_photo

BEGINNING = datetime(2026, 1, 15, 9, tzinfo=UTC)
REVIEWERS = {"ann": "operator", "ben": "operator", "cleo": "operator", "root": "admin"}


def voices(said: str) -> Sequence[Voice]:
    """`ann same, ben different`: one after the other; who speaks again is heard once."""
    given: dict[str, Voice] = {}
    for minute, one in enumerate(filter(None, said.split(", "))):
        who, verdict = one.split()
        at = BEGINNING + timedelta(minutes=minute)
        voice = given.get(who, Voice(who, REVIEWERS[who], "", at))
        if voice.verdict != verdict:
            voice = replace(voice, verdict=verdict, given_at=at)
        side = f"{verdict}_at"
        if verdict != "unsure" and getattr(voice, side) is None:
            voice = replace(voice, **{side: at})
        given[who] = voice
    return list(given.values())


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("", "open"),
        ("ann unsure", "open"),
        ("ann same", "awaiting"),
        ("root same", "awaiting"),
        ("ann same, ann same", "awaiting"),
        ("ann same, ben unsure", "awaiting"),
        ("ann same, ben same", "confirmed"),
        ("ann same, ben unsure, cleo same", "confirmed"),
        ("ann different", "different"),
        ("ann different, ben unsure", "different"),
        ("ann different, ben different", "different"),
        ("ann same, ben different", "disputed"),
        ("ann different, ben same", "disputed"),
        ("ann same, ben same, cleo different", "disputed"),
        ("ann same, ben different, cleo same", "disputed"),
        ("ann same, ben different, root same", "confirmed"),
        ("ann same, ben different, root different", "different"),
        ("ann same, ben different, root unsure", "disputed"),
        ("root same, ben different", "disputed"),
        ("ann same, root different", "disputed"),
        ("ann same, ben different, root same, root different", "different"),
        ("ann same, ben different, root different, ann same", "different"),
        ("ann same, ben different, root different, ann unsure, ann same", "different"),
        ("ann same, ben different, root same, ben unsure, ben different", "confirmed"),
        ("ann same, ben different, root unsure, root same", "confirmed"),
        ("root same, ben same, cleo different, root same", "disputed"),
        ("root same, ben same, cleo different, root unsure, root same", "disputed"),
        ("ann different, root different, ann same", "disputed"),
        ("ann same, ben different, ben same", "confirmed"),
        ("ann same, ben different, ann unsure", "different"),
        ("ann same, ann different", "different"),
        ("ann different, ann same", "awaiting"),
        ("ann different, ann unsure", "open"),
    ],
)
def test_what_holds_after_what_was_said(said, status):
    assert decide(voices(said)) == status


@pytest.mark.parametrize(
    ("said", "who", "shown"),
    [
        ("ann same", "ben", []),
        ("ann unsure", "ben", []),
        ("ann same", "ann", ["ann"]),
        ("ann same, ben unsure", "ben", ["ben"]),
        ("ann unsure, ben same", "ben", ["ben"]),
        ("ann same, ben different", "ben", ["ben"]),
        ("ann same, ben different", "cleo", []),
        ("ann same, ben different", "root", []),
        ("ann same, ben same", "cleo", ["ann", "ben"]),
        ("ann different", "cleo", ["ann"]),
    ],
)
def test_before_it_is_decided_everybody_sees_their_own_voice_alone(said, who, shown):
    seen = shown_to(Caller(who, REVIEWERS[who]), voices(said))
    assert [one.key_id for one in seen] == shown


@pytest.fixture
async def reviewers(running: Running):
    """A client for each, by name."""
    async with AsyncExitStack() as stack:
        clients = {}
        for name, role in REVIEWERS.items():
            key = await running.gateway.keyring.create(name, role)
            clients[name] = await stack.enter_async_context(running.client(key))
        yield clients


def forged() -> Sequence[str]:
    """Of the right shape, with values that no row has and a database may choke on."""
    return [
        encode_place([2**70, 0.5, "a" * 64, 0, new_id()]),
        encode_place([0, 0.5, "\0", 0, new_id()]),
        encode_place([0, 0.5, "a" * 64, 2**70, new_id()]),
        encode_place([0, 0.5, "a" * 64, 0, "\0"]),
        encode_place(["9999-99-99", "a" * 64, 0, new_id()]),
        encode_place(["0001-01-01T00:00+23:00", "a" * 64, 0, new_id()]),
        encode_place(["2026-01-15", "\0", 0, new_id()]),
    ]


async def judge(client: httpx.AsyncClient, search_id: str, person_id: str, verdict: str) -> None:
    said = {"person_id": person_id, "verdict": verdict}
    answer = await client.post(f"/v1/searches/{search_id}/feedback", json=said)
    assert answer.status_code in {200, 201}, answer.text


async def queue(client: httpx.AsyncClient, **params):
    answer = await client.get("/v1/leads", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["leads"]


async def names_in(client: httpx.AsyncClient, **params):
    return [one["name"] for one in await queue(client, **params)]


async def rows_of(running: Running, kind):
    async with running.gateway.queue._database.read() as session:
        return (await session.scalars(select(kind))).all()


@pytest.fixture
async def found(enrol, phone):
    """A search that shows Ada: search and person."""
    person = await enrol("Ada", make_photo(1), reference="2026/1")
    answer = (await search(phone, make_photo(1))).json()
    return answer["id"], person["id"]


async def test_a_candidate_waits_for_every_reviewer_and_says_what_was_found(found, reviewers):
    search_id, person_id = found

    for client in reviewers.values():
        (lead,) = await queue(client)
        assert lead["face_id"]
        assert lead | {"face_id": None} == {
            "search_id": search_id,
            "face": 0,
            "person_id": person_id,
            "name": "Ada",
            "reference": "2026/1",
            "face_id": None,
            "similarity": 0.9,
            "confidence": pytest.approx(0.998),
            "expected_false_matches": 0.004,
            "status": "waiting",
            "voices": [],
        }


async def test_two_reviewers_confirm_and_the_second_does_not_know_the_first(found, reviewers):
    ann, ben, cleo = (reviewers[name] for name in ("ann", "ben", "cleo"))
    before = await queue(ben)
    await judge(ann, *found, "same")

    assert await queue(ann) == [], "the same reviewer never gets it again"
    assert await queue(ben) == before
    await judge(ben, *found, "same")
    assert [await queue(one) for one in (ann, ben, cleo)] == [[], [], []]
    (confirmed,) = await queue(cleo, status="confirmed")
    said = [(one["reviewer"], one["verdict"]) for one in confirmed["voices"]]
    assert said == [("ann", "same"), ("ben", "same")]


async def test_one_reviewer_counts_once_whichever_search_shows_the_pair(found, reviewers, phone):
    search_id, person_id = found
    again = (await search(phone, make_photo(1))).json()["id"]
    await judge(reviewers["ann"], search_id, person_id, "same")
    await judge(reviewers["ann"], again, person_id, "same")

    assert await queue(reviewers["ben"], status="confirmed") == []
    assert len(await queue(reviewers["ben"])) == 1


async def test_two_who_agree_at_the_same_moment_have_confirmed(running, found, reviewers, phone):
    """By two searches, so that neither waits for the other's."""
    search_id, person_id = found
    again = (await search(phone, make_photo(1))).json()["id"]

    await asyncio.gather(
        judge(reviewers["ann"], search_id, person_id, "same"),
        judge(reviewers["ben"], again, person_id, "same"),
    )

    (lead,) = await rows_of(running, Lead)
    assert (lead.status, lead.waits) == ("confirmed", False)


async def test_a_phones_verdict_is_no_reviewers(found, phone, reviewers):
    await judge(phone, *found, "different")

    (lead,) = await queue(reviewers["ann"])
    assert lead["status"] == "waiting"
    assert (await search(phone, make_photo(1))).json()["verdict"] == "lead"


async def test_a_no_ends_the_pair_for_this_and_for_later_searches(
    running, found, phone, reviewers, inference
):
    search_id, person_id = found
    await judge(reviewers["ann"], *found, "different")

    known = (await search(phone, make_photo(1))).json()
    inference.version += 1  # the cache holds nothing for this gallery
    anew = (await search(phone, make_photo(1))).json()
    earlier = (await phone.get(f"/v1/searches/{search_id}")).json()

    assert (known["cached"], anew["cached"]) == (True, False)
    for answer in (known, anew, earlier):
        assert answer["verdict"] == "no_credible_lead"
        assert [one["ruled_out"] for one in answer["candidates"]] == [True]
    assert await queue(reviewers["ben"]) == []
    assert [one["person_id"] for one in await queue(reviewers["ben"], status="different")] == [
        person_id
    ]


async def test_a_no_is_about_one_person_and_one_photo(enrol, phone, reviewers):
    for name, seed in (("Ada", 1), ("Bob", 2)):
        await enrol(name, make_photo(seed))
    first = (await search(phone, make_photo(1))).json()
    ada, _ = (one["person_id"] for one in first["candidates"])
    await judge(reviewers["ann"], first["id"], ada, "different")

    again = (await search(phone, make_photo(1))).json()
    other = (await search(phone, make_photo(2))).json()

    assert [one["ruled_out"] for one in again["candidates"]] == [True, False]
    assert again["verdict"] == "no_credible_lead", "Bob is none"
    assert not any(one["ruled_out"] for one in other["candidates"])
    waiting = sorted(await names_in(reviewers["ben"]))
    assert waiting == ["Ada", "Bob", "Bob"], "Ada still waits for the other photo"


async def test_a_lead_rests_on_whoever_is_left(enrol, phone, reviewers):
    for name in ("Ada", "Eve"):
        await enrol(name, make_photo(1))
    first = (await search(phone, make_photo(1))).json()
    await judge(reviewers["ann"], first["id"], first["candidates"][0]["person_id"], "different")

    assert (await search(phone, make_photo(1))).json()["verdict"] == "lead"


async def test_a_mistaken_no_is_mended_by_whoever_said_it(found, phone, reviewers):
    await judge(reviewers["ann"], *found, "different")
    await judge(reviewers["ann"], *found, "same")

    assert (await search(phone, make_photo(1))).json()["verdict"] == "lead"
    assert await names_in(reviewers["ben"]) == ["Ada"]


async def test_who_is_unsure_is_not_asked_again_and_others_last(enrol, phone, reviewers):
    await enrol("Ada", make_photo(1))
    await enrol("Bob", make_photo(2))
    first = (await search(phone, make_photo(1))).json()
    by_name = {one["name"]: one["person_id"] for one in first["candidates"]}
    await judge(reviewers["ann"], first["id"], by_name["Ada"], "unsure")

    assert await names_in(reviewers["ann"]) == ["Bob"]
    assert (await names_in(reviewers["ben"]))[-1] == "Ada"
    assert len(await names_in(reviewers["ben"])) == 2


async def test_a_dispute_goes_to_an_admin_who_has_the_last_word(found, reviewers, phone):
    await judge(reviewers["ann"], *found, "same")
    await judge(reviewers["ben"], *found, "different")

    assert await queue(reviewers["cleo"]) == []
    refused = await reviewers["cleo"].get("/v1/leads", params={"status": "disputed"})
    assert slug_of(refused) == "forbidden"
    assert await names_in(reviewers["root"], status="disputed") == ["Ada"]
    assert await names_in(reviewers["root"]) == ["Ada"]
    await judge(reviewers["root"], *found, "different")
    assert await queue(reviewers["root"], status="disputed") == []
    assert await names_in(reviewers["cleo"], status="different") == ["Ada"]
    assert (await search(phone, make_photo(1))).json()["verdict"] == "no_credible_lead"


async def test_saying_it_again_does_not_undo_an_admins_last_word(found, reviewers):
    for who, verdict in (("ann", "same"), ("ben", "different"), ("root", "different")):
        await judge(reviewers[who], *found, verdict)
    for verdict in ("same", "unsure", "same"):
        await judge(reviewers["ann"], *found, verdict)

        assert await names_in(reviewers["root"], status="disputed") == []
        assert await names_in(reviewers["cleo"], status="different") == ["Ada"]


async def test_a_party_to_a_dispute_does_not_settle_it_by_repeating_herself(found, reviewers):
    for who, verdict in (("root", "same"), ("ben", "same"), ("cleo", "different")):
        await judge(reviewers[who], *found, verdict)
    for verdict in ("same", "unsure", "same"):
        await judge(reviewers["root"], *found, verdict)

    assert await names_in(reviewers["root"], status="disputed") == ["Ada"]


@ONE_ENGINE
async def test_who_is_found_or_deleted_waits_for_nobody(found, operator, reviewers, running):
    person = f"/v1/persons/{found[1]}"
    await operator.patch(person, json={"status": "found"})
    assert await queue(reviewers["ann"]) == []
    await operator.patch(person, json={"status": "missing"})
    assert await names_in(reviewers["ann"]) == ["Ada"]
    await judge(reviewers["ann"], *found, "same")
    await operator.delete(person)

    assert await queue(reviewers["ben"]) == []
    assert await rows_of(running, Lead) == []
    assert await rows_of(running, LeadVoice) == []


@pytest.mark.parametrize(
    ("said", "is_kept"), [("same", False), ("unsure", False), ("different", True), (None, False)]
)
async def test_of_old_searches_the_decisions_are_kept(
    running, found, reviewers, phone, said, is_kept
):
    if said:
        await judge(reviewers["ann"], *found, said)
    async with running.gateway.queue._database.write() as session:
        await session.execute(update(Search).values(created_at=now() - timedelta(days=99)))

    await running.gateway.retention.run()

    assert bool(await rows_of(running, Lead)) == is_kept
    if is_kept:
        (lead,) = await queue(reviewers["ben"], status="different")
        assert (lead["search_id"], lead["similarity"]) == (None, None)
        again = (await search(phone, make_photo(1))).json()
        assert again["verdict"] == "no_credible_lead", "the no outlives the search"


async def test_a_lead_lives_with_its_newest_search(running, found, phone, reviewers):
    again = (await search(phone, make_photo(1))).json()["id"]
    async with running.gateway.queue._database.write() as session:
        old = update(Search).where(Search.id == found[0])
        await session.execute(old.values(created_at=now() - timedelta(days=99)))

    await running.gateway.retention.run()

    assert [one["search_id"] for one in await queue(reviewers["ann"])] == [again]


async def make_old(running: Running, *search_ids: str) -> None:
    async with running.gateway.queue._database.write() as session:
        old = update(Search).where(Search.id.in_(search_ids))
        await session.execute(old.values(created_at=now() - timedelta(days=99)))


async def test_what_waits_anew_is_shown_by_the_search_in_which_it_does(
    running, found, phone, reviewers
):
    await judge(reviewers["ann"], *found, "different")
    await make_old(running, found[0])
    await running.gateway.retention.run()
    again = (await search(phone, make_photo(1))).json()["id"]

    await judge(reviewers["ann"], again, found[1], "same")

    assert [one["search_id"] for one in await queue(reviewers["ben"])] == [again]


async def test_a_lead_does_not_go_with_an_old_search_while_a_newer_one_shows_it(
    running, found, phone, reviewers
):
    await judge(reviewers["ann"], *found, "different")
    newer = [(await search(phone, make_photo(1))).json()["id"] for _ in range(2)]
    await judge(reviewers["ann"], *found, "same")
    await make_old(running, found[0])

    await running.gateway.retention.run()

    assert [one["search_id"] for one in await queue(reviewers["ben"])] == [newer[-1]]


async def test_what_was_said_of_two_people_holds_for_the_one_they_turn_out_to_be(
    running, enrol, phone, reviewers
):
    ada, eve = [(await enrol(name, make_photo(1)))["id"] for name in ("Ada", "Eve")]
    found = (await search(phone, make_photo(1))).json()["id"]
    await judge(reviewers["ann"], found, ada, "same")
    await judge(reviewers["ann"], found, eve, "same")
    await judge(reviewers["ben"], found, eve, "same")

    async with running.gateway.queue._database.write() as session:
        await move_person(session, eve, into=ada)

    (lead,) = await rows_of(running, Lead)
    assert (lead.person_id, lead.status) == (ada, "confirmed")
    assert len(await rows_of(running, LeadVoice)) == 2


@ONE_ENGINE
async def test_candidates_below_the_confidence_wait_for_nobody(environment, inference):
    environment["REVIEW_MIN_CONFIDENCE"] = "0.999"
    async with (
        run_gateway(environment, httpx.ASGITransport(inference.app)) as running,
        running.client(running.keys["operator"]) as operator,
        running.client(running.keys["admin"]) as admin,
        running.client(await running.gateway.keyring.create("ben", "operator")) as ben,
    ):
        files = [("photos[]", ("p.jpg", make_photo(1)))]
        await operator.post("/v1/persons", data={"name": "Ada"}, files=files)
        found = (await search(operator, make_photo(1))).json()
        assert await queue(operator) == []

        await judge(operator, found["id"], found["candidates"][0]["person_id"], "same")

        assert await names_in(admin) == ["Ada"], "somebody has seen more in it"
        assert await queue(ben) == [], "the queue would tell him what was said"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("status", ["waiting", "different"])
async def test_who_is_deleted_while_a_page_is_read_is_left_out(
    found, enrol, phone, operator, reviewers, monkeypatch, status
):
    await enrol("Bob", make_photo(2))
    again = (await search(phone, make_photo(1))).json()
    if status == "different":
        for one in again["candidates"]:
            await judge(reviewers["ann"], again["id"], one["person_id"], "different")
    scalars = AsyncSession.scalars

    async def read_and_delete(session, query, *rest, **more):
        rows = await scalars(session, query, *rest, **more)
        if query.column_descriptions[0]["entity"] is Lead:
            monkeypatch.setattr(AsyncSession, "scalars", scalars)
            await operator.delete(f"/v1/persons/{found[1]}")
        return rows

    monkeypatch.setattr(AsyncSession, "scalars", read_and_delete)

    assert await names_in(reviewers["ben"], status=status) == ["Bob"]


async def test_the_queue_is_read_page_by_page(enrol, phone, reviewers):
    for seed in range(1, 6):
        await enrol(f"P{seed}", make_photo(seed))
    await search(phone, make_photo(1))
    whole = await queue(reviewers["ann"])

    pages, cursor = [], None
    for _ in range(3):
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        told = (await reviewers["ann"].get("/v1/leads", params=params)).json()
        pages += told["leads"]
        cursor = told["next_cursor"]

    assert (len(whole), pages, cursor) == (5, whole, None)


@ONE_ENGINE
@pytest.mark.parametrize("status", ["waiting", "different"])
@pytest.mark.parametrize("cursor", ["x", "WzFd", "W10", "bnVsbA", *forged()])
async def test_a_cursor_of_another_list_is_refused(reviewers, status, cursor):
    params = {"status": status, "cursor": cursor}
    answer = await reviewers["ann"].get("/v1/leads", params=params)

    assert slug_of(answer) == "invalid-cursor"
