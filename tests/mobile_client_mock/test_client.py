import json
import socket
from collections.abc import Callable

import pytest

from mobile_client_mock.client import Client, Patience, SearchOptions
from mobile_client_mock.errors import NotUnderstood, Refused, Unreachable
from mobile_client_mock.photo import Upload
from tests.mobile_client_mock.conftest import KEY
from tests.mobile_client_mock.documents import PERSON, QUEUED, SEARCH
from tests.mobile_client_mock.fake_gateway import FakeGateway, Reply, ok, problem

PHOTO = Upload(b"the photo's bytes")
Connect = Callable[..., Client]


def test_a_search_carries_photo_options_and_key(gateway: FakeGateway, client: Client) -> None:
    gateway.answers(ok(SEARCH, 201))
    search = client.search(PHOTO, SearchOptions(top_k=3, model="base", face=1))
    (request,) = gateway.seen
    assert (request.method, request.path) == ("POST", "/v1/searches")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.parts == [
        ("top_k", None, b"3"),
        ("model", None, b"base"),
        ("face", None, b"1"),
        ("photo", "photo.jpg", b"the photo's bytes"),
    ]
    assert [candidate.name for candidate in search.candidates] == ["Ada [b]Example", None]
    assert search.answer.status == 201


def test_options_that_were_not_chosen_are_left_to_the_gateway(
    gateway: FakeGateway, client: Client
) -> None:
    gateway.answers(ok(SEARCH, 201))
    client.search(PHOTO)
    assert [name for name, *_ in gateway.seen[0].parts] == ["top_k", "photo"]
    assert "Prefer" not in gateway.seen[0].headers


def test_after_not_now_the_phone_waits_as_asked_and_tries_again(
    gateway: FakeGateway, client: Client, slept: list[float]
) -> None:
    gateway.answers(problem(503, "inference-unavailable", Retry_After="7"), ok(SEARCH, 201))
    assert client.search(PHOTO).verdict == "lead"
    assert slept == [7.5], "Retry-After and the backoff's jitter above it"


def test_backoff_doubles_and_ends(gateway: FakeGateway, client: Client, slept: list[float]) -> None:
    gateway.answers(problem(503, "not-ready", "Two stores are away"))
    with pytest.raises(Unreachable, match=r"Two stores are away \(tried 3 times\)") as caught:
        client.search(PHOTO)
    assert slept == [0.5, 1.0]
    assert caught.value.problem
    assert caught.value.problem.slug == "not-ready"


def test_no_wait_is_longer_than_the_patience(
    gateway: FakeGateway, connect: Connect, slept: list[float]
) -> None:
    gateway.answers(problem(429, "too-many-requests", Retry_After="86400"), ok(SEARCH, 201))
    with connect(gateway.url, Patience(longest_delay_s=9)) as client:
        client.search(PHOTO)
    assert slept == [9]


def test_every_try_of_a_post_carries_the_same_key_and_body(
    gateway: FakeGateway, client: Client
) -> None:
    gateway.answers(problem(503, "not-ready"), problem(429, "too-many-requests"), ok(SEARCH, 201))
    client.search(PHOTO)
    keys = {request.headers["Idempotency-Key"] for request in gateway.seen}
    assert len(gateway.seen) == 3
    assert len(keys) == 1
    assert len({request.parts[-1] for request in gateway.seen}) == 1
    client.search(PHOTO)
    assert gateway.seen[-1].headers["Idempotency-Key"] not in keys


MAY_HAVE_ARRIVED = {
    "lost before the answer": Reply(201, hangs_up="before"),
    "lost in the answer": Reply(201, json.dumps(PERSON).encode(), hangs_up="middle"),
    "bad gateway": problem(502, "bad-gateway"),
    "gateway timeout": Reply(504, b"<html>too late</html>", "text/html"),
}
either_loss = pytest.mark.parametrize("reply", MAY_HAVE_ARRIVED.values(), ids=MAY_HAVE_ARRIVED)


@either_loss
def test_what_may_have_arrived_is_posted_again_under_the_same_key(
    gateway: FakeGateway, client: Client, slept: list[float], reply: Reply
) -> None:
    replayed = ok(PERSON, 201, Idempotent_Replayed="true")
    gateway.answers(reply, replayed)
    assert client.enroll("Ada Example", [PHOTO]).id == "p-ada"
    first, second = gateway.seen
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.body == second.body, "to the last byte: the boundary of the form as well"
    assert slept == [0.5]


@either_loss
def test_a_post_that_is_given_up_may_have_arrived(
    gateway: FakeGateway, client: Client, reply: Reply
) -> None:
    gateway.answers(reply)
    with pytest.raises(Unreachable, match="tried 3 times; it may have arrived all the same"):
        client.enroll("Ada Example", [PHOTO])
    assert len(gateway.seen) == 3


@either_loss
def test_a_question_is_asked_again_after_any_loss(
    gateway: FakeGateway, client: Client, slept: list[float], reply: Reply
) -> None:
    gateway.answers(reply, ok(SEARCH))
    assert client.get_search("s-1").id == "s-1"
    assert slept == [0.5]


def test_a_post_that_is_not_answered_in_time_is_sent_again(connect: Connect) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        patience = Patience(read_timeout_s=0.05, attempts=3)
        with (
            connect(url, patience) as client,
            pytest.raises(Unreachable, match="tried 3 times; it"),
        ):
            client.enroll("Ada Example", [PHOTO])


def test_nobody_at_the_address_is_unreachable(connect: Connect) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # and never listens
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        with connect(url) as client, pytest.raises(Unreachable, match=f"{url}/.*tried 3 times"):
            client.search(PHOTO)


def test_a_silent_gateway_is_unreachable(connect: Connect) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        patience = Patience(read_timeout_s=0.05, attempts=1)
        with connect(url, patience) as client, pytest.raises(Unreachable, match="timed out"):
            client.search(PHOTO)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://"])
def test_an_address_that_is_none_is_not_tried_again(connect: Connect, url: str) -> None:
    with connect(url) as client, pytest.raises(NotUnderstood, match="cannot be asked"):
        client.search(PHOTO)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 500])
def test_a_refusal_is_final(gateway: FakeGateway, client: Client, status: int) -> None:
    gateway.answers(problem(status, "no-face", "No face was found"))
    with pytest.raises(Refused, match="no-face: No face was found") as caught:
        client.search(PHOTO)
    assert (caught.value.status, caught.value.slug) == (status, "no-face")
    assert caught.value.request_id == "req-1"
    assert len(gateway.seen) == 1


def test_a_refusal_by_something_in_between_still_has_a_status(
    gateway: FakeGateway, client: Client
) -> None:
    gateway.answers(Reply(413, b"<html>too big</html>", "text/html"))
    with pytest.raises(Refused, match="HTTP 413"):
        client.search(PHOTO)


def test_a_redirect_does_not_carry_the_key_elsewhere(gateway: FakeGateway, client: Client) -> None:
    gateway.answers(Reply(307, headers={"Location": "http://127.0.0.1:1/v1/searches"}))
    with pytest.raises(Refused, match="HTTP 307"):
        client.search(PHOTO)
    assert len(gateway.seen) == 1


def test_an_accepted_search_is_polled_to_its_end(
    gateway: FakeGateway, client: Client, slept: list[float]
) -> None:
    running = ok({**QUEUED, "status": "running"}, Retry_After="2")
    gateway.answers(ok(QUEUED, 202, Location="/v1/searches/s-1"), running, ok(SEARCH))
    search = client.search(PHOTO, SearchOptions(respond_async=True))
    assert search.status == "done"
    assert gateway.seen[0].headers["Prefer"] == "respond-async"
    assert [(one.method, one.path) for one in gateway.seen[1:]] == [("GET", "/v1/searches/s-1")] * 2
    assert slept == [1.0, 2.0], "the phone's own rhythm, unless the gateway names one"


def test_a_busy_gateway_may_accept_what_was_not_asked_to_be_accepted(
    gateway: FakeGateway, client: Client, slept: list[float]
) -> None:
    seen: list[str] = []
    busy = ok(QUEUED, 202, Location="/v1/searches/s-1", Retry_After="3")
    gateway.answers(busy, ok({**QUEUED, "status": "running"}), ok(SEARCH))
    search = client.search(PHOTO, watch=lambda unfinished: seen.append(unfinished.status))
    assert "Prefer" not in gateway.seen[0].headers
    assert (search.status, seen, slept) == ("done", ["queued", "running"], [3.0, 1.0])


def test_what_a_gateway_says_while_it_is_polled_is_waited_out(
    gateway: FakeGateway, client: Client, slept: list[float]
) -> None:
    away = problem(503, "not-ready", Retry_After="2")
    busy = problem(429, "too-many-requests")
    lost = Reply(200, hangs_up="before")
    gateway.answers(ok(QUEUED, 202), away, busy, lost, away, away, ok(SEARCH))
    assert client.search(PHOTO).status == "done", "more setbacks than attempts: it is kept"
    assert slept == [1.0, 2.5, 1.0, 2.0, 6.0, 10.0]


def test_no_look_is_later_than_the_patience(
    gateway: FakeGateway, connect: Connect, slept: list[float]
) -> None:
    gateway.answers(ok(QUEUED, 202, Retry_After="86400"), ok(SEARCH))
    with connect(gateway.url, Patience(finish_within_s=5)) as client:
        client.search(PHOTO)
    assert 0 < slept[0] <= 5


def test_an_accepted_search_that_fails_is_refused_with_its_reason(
    gateway: FakeGateway, client: Client
) -> None:
    why = {"type": "urn:reunite:problem:no-face", "title": "No face", "status": 422, "detail": ""}
    gateway.answers(ok(QUEUED, 202), ok({**QUEUED, "status": "failed", "problem": why}))
    with pytest.raises(Refused, match="No face") as caught:
        client.search(PHOTO)
    assert (caught.value.status, caught.value.slug) == (422, "no-face")


def test_a_search_that_never_ends_is_given_up(gateway: FakeGateway, connect: Connect) -> None:
    gateway.answers(ok(QUEUED, 202))
    patience = Patience(finish_within_s=0)
    with connect(gateway.url, patience) as client, pytest.raises(Unreachable, match="still queued"):
        client.search(PHOTO)


NONSENSE = {
    "malformed JSON": b'{"id": "s-1", ',
    "HTML": b"<html>hello</html>",
    "a list": b"[]",
    "no candidates' numbers": json.dumps({**SEARCH, "candidates": [{}]}).encode(),
    "no status": b'{"id": "s-1"}',
    "a text for an object": json.dumps({**SEARCH, "gallery": "big"}).encode(),
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE)
def test_an_answer_outside_the_contract_is_not_understood(
    gateway: FakeGateway, client: Client, body: bytes
) -> None:
    gateway.answers(Reply(201, body))
    with pytest.raises(NotUnderstood):
        client.search(PHOTO)
    assert len(gateway.seen) == 1


def test_enrolment_tells_what_became_of_each_photo(gateway: FakeGateway, client: Client) -> None:
    gateway.answers(ok(PERSON, 201))
    person = client.enroll("Ada Example", [PHOTO, PHOTO, PHOTO])
    assert [name for name, *_ in gateway.seen[0].parts] == ["name", *["photos[]"] * 3]
    assert (person.id, person.faces, person.pending) == ("p-ada", 1, 1)
    assert [(one.index, one.reason) for one in person.refused] == [(1, "No face was found")]


def test_photos_that_wait_are_no_error(gateway: FakeGateway, client: Client) -> None:
    waiting = [{"index": 0, "status": "pending", "face_id": "f-1"}]
    gateway.answers(ok({**PERSON, "photos": waiting}, 202, Location="/v1/persons/p-ada"))
    person = client.enroll("Ada Example", [PHOTO])
    assert (person.answer.status, person.faces, person.pending) == (202, 0, 1)


def test_a_person_may_be_forgotten_later(gateway: FakeGateway, client: Client) -> None:
    gateway.answers(ok({"id": "p-ada", "status": "deleting"}, 202))
    answer = client.delete_person("p-ada")
    assert (answer.status, answer.state) == (202, "deleting")


def test_a_request_that_is_still_at_work_is_waited_for(
    gateway: FakeGateway, client: Client, slept: list[float]
) -> None:
    lost = Reply(201, hangs_up="before")
    at_work = problem(409, "idempotency-key-in-use", Retry_After="2")
    gateway.answers(lost, *[at_work] * 4, ok(PERSON, 201, Idempotent_Replayed="true"))
    assert client.enroll("Ada Example", [PHOTO]).id == "p-ada"
    assert len({request.headers["Idempotency-Key"] for request in gateway.seen}) == 1
    assert slept == [0.5, *[2.5] * 4], "longer than the attempts, and no backoff: nothing failed"


def test_a_request_that_stays_at_work_is_given_up(gateway: FakeGateway, connect: Connect) -> None:
    gateway.answers(problem(409, "idempotency-key-in-use", "The first is still running"))
    with (
        connect(gateway.url, Patience(finish_within_s=0)) as client,
        pytest.raises(Unreachable, match="first is still running") as caught,
    ):
        client.judge("s-1", "p-ada", "same")
    assert not caught.value.is_undone


def test_a_key_that_was_used_for_something_else_is_a_defect(
    gateway: FakeGateway, client: Client
) -> None:
    gateway.answers(problem(422, "idempotency-key-reused"))
    with pytest.raises(Refused) as caught:
        client.judge("s-1", "p-ada", "same")
    assert caught.value.slug == "idempotency-key-reused"
    assert len(gateway.seen) == 1


def test_only_a_post_carries_a_key(gateway: FakeGateway, client: Client) -> None:
    gateway.answers(ok({}))
    client.delete_person("p-ada")
    client.judge("s-1", "p-ada", "same")
    assert ["Idempotency-Key" in request.headers for request in gateway.seen] == [False, True]


KEPT = {
    "search": {"search_id": "s-1", "failure_id": "x-1"},
    "person": {"person_id": "s-1", "failure_id": "x-1"},
}


@pytest.mark.parametrize("kind", KEPT)
def test_what_the_gateway_has_recorded_is_named_when_it_is_given_up(
    gateway: FakeGateway, client: Client, kind: str
) -> None:
    gateway.answers(problem(503, "inference-unavailable", kept=KEPT[kind]))
    with pytest.raises(Unreachable, match=f"tried 3 times; the gateway keeps it as {kind} s-1"):
        client.search(PHOTO)


def test_an_outage_that_is_only_told_again_is_final(gateway: FakeGateway, client: Client) -> None:
    away = problem(503, "inference-unavailable", kept=KEPT["search"])
    again = problem(503, "inference-unavailable", kept=KEPT["search"], Idempotent_Replayed="true")
    gateway.answers(away, again)
    with pytest.raises(Unreachable, match="tried 2 times; the gateway keeps it as search s-1"):
        client.search(PHOTO)


def test_a_verdict_is_sent_as_json(gateway: FakeGateway, client: Client) -> None:
    gateway.answers(ok({}, 201))
    client.judge("s-1", "p-ada", "same")
    (request,) = gateway.seen
    assert request.path == "/v1/searches/s-1/feedback"
    assert json.loads(request.body) == {"person_id": "p-ada", "verdict": "same"}


def test_an_id_cannot_lead_to_another_address(gateway: FakeGateway, client: Client) -> None:
    gateway.answers(Reply(204, b""))
    assert client.delete_person("../searches/1?x=#y").status == 204
    assert gateway.seen[0].path == "/v1/persons/..%2Fsearches%2F1%3Fx%3D%23y"


def test_the_heatmap_comes_as_the_gateway_made_it(gateway: FakeGateway, client: Client) -> None:
    gateway.answers(Reply(200, b"\x89PNG...", "image/png"))
    assert client.heatmap("s-1") == b"\x89PNG..."
