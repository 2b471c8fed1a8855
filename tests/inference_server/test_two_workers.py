"""Two worker processes behind one port: real gunicorn, real sockets, painted networks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.inference_server.callers import WITH_TOKEN
from tests.inference_server.painted_people import BLUE, GREEN, RED, Colour, paint
from tests.inference_server.running_milvus import running_milvus
from tests.inference_server.running_server import Answer, RunningServer, read_answer, running

pytestmark = pytest.mark.system

PAINTED = "tests.inference_server.painted_server"
WORKERS = 2
PARALLEL = 8
MOST_ROUNDS = 50


def painted_server(folder: Path, **more: str):
    variables = {
        "DATABASE_URL": f"sqlite:///{folder}/gallery.db",
        "WORKERS": str(WORKERS),
        "THREADS": "2",
        "MIN_QUALITY": "0",
        "TMPDIR": str(folder),
    }
    return running(PAINTED, **variables | more)


@pytest.fixture(scope="module", params=["exact", "milvus"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("shared")
    with ExitStack() as stack:
        milvus = request.param == "milvus"
        url = stack.enter_context(running_milvus(folder / "milvus")) if milvus else ""
        yield stack.enter_context(painted_server(folder, INDEX_URL=url))


def enrol(server: RunningServer, person_id: str, colour: Colour, face_id: str) -> Answer:
    assert server.call("PUT", f"/v1/persons/{person_id}").status in (200, 201)
    address = f"/v1/persons/{person_id}/faces?face_id={face_id}"
    return server.call("POST", address, paint(colour))


def search_through_every_worker(server: RunningServer, colour: Colour) -> list[Answer]:
    """Searches side by side, until each worker has answered one of them."""
    answers: dict[str, list[Answer]] = defaultdict(list)
    with ThreadPoolExecutor(PARALLEL) as callers:
        for _ in range(MOST_ROUNDS):
            for answer in callers.map(
                lambda photo: server.call("POST", "/v1/match", photo), [paint(colour)] * PARALLEL
            ):
                answers[answer.headers["X-Worker"]].append(answer)
            if len(answers) == WORKERS:
                return [answer for given in answers.values() for answer in given]
    raise AssertionError(f"Only {list(answers)} of {WORKERS} workers answered.")


def found(answer: Answer) -> list[str]:
    return [c["person_id"] for c in answer.json["candidates"] if c["similarity"] > 0.99]


def test_who_is_enrolled_through_one_worker_is_found_through_every_worker(server: RunningServer):
    assert enrol(server, "ann", RED, "r1").status == 201
    for answer in search_through_every_worker(server, RED):
        assert found(answer) == ["ann"]
    assert server.call("DELETE", "/v1/persons/ann").status == 204
    for answer in search_through_every_worker(server, RED):
        assert found(answer) == []


def test_enrolments_side_by_side_all_arrive(server: RunningServer):
    before = server.call("GET", "/v1/gallery").json
    wanted = [(f"p{i}", (i, 255 - i, 100), f"f{i}") for i in range(24)]
    with ThreadPoolExecutor(PARALLEL) as callers:
        answers = list(callers.map(lambda row: enrol(server, *row), wanted))
    assert [answer.status for answer in answers] == [201] * len(wanted)
    assert {answer.headers["X-Worker"] for answer in answers}
    after = server.call("GET", "/v1/gallery").json
    assert after["faces"] - before["faces"] == len(wanted)
    assert after["version"] - before["version"] == len(wanted)
    for person_id, colour, _ in wanted[::8]:
        for answer in search_through_every_worker(server, colour):
            assert found(answer) == [person_id]


def test_one_identifier_given_to_two_photos_at_once_goes_to_one(server: RunningServer):
    server.call("PUT", "/v1/persons/twins")
    address = "/v1/persons/twins/faces?face_id=contested"
    photos = [paint((200, i, i)) for i in range(PARALLEL)]
    with ThreadPoolExecutor(PARALLEL) as callers:
        answers = callers.map(lambda photo: server.call("POST", address, photo), photos)
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [201] + [409] * (PARALLEL - 1)


def test_any_worker_tells_the_metrics_of_all(server: RunningServer):
    def counted() -> float:
        text = server.call("GET", "/metrics").body.decode()
        line = 'inference_requests_total{route="list_persons",status="200"} '
        return sum(float(row.removeprefix(line)) for row in text.splitlines() if line in row)

    before = counted()
    with ThreadPoolExecutor(PARALLEL) as callers:
        calls = [callers.submit(server.call, "GET", "/v1/persons") for _ in range(40)]
    assert all(call.result().status == 200 for call in calls)
    assert counted() - before == 40


TOKEN_LINE = f"Authorization: {WITH_TOKEN['Authorization']}\r\n".encode()
HEAD = b"POST /v1/match HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + TOKEN_LINE
BROKEN = {
    "no-http": (b"GARBAGE\r\n\r\n", 400, "bad-request"),
    "no-header": (b"GET / HTTP/1.1\r\nnonsense\r\n\r\n", 400, "bad-request"),
    "endless-address": (
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        400,
        "bad-request",
    ),
    "length-and-chunks": (
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "bad-request",
    ),
    "broken-chunk": (
        HEAD + b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        400,
        "bad-request",
    ),
    "length-no-number": (HEAD + b"Content-Length: five\r\n\r\n", 400, "bad-request"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_http_is_answered_with_a_problem(server: RunningServer, case: str):
    request, status, slug = BROKEN[case]
    answer = read_answer(server.send(request))
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json["type"] == f"urn:reunite:problem:{slug}"
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(server: RunningServer):
    head = HEAD + b"Content-Type: image/png\r\nContent-Length: 1000000000\r\n\r\n"
    answer = read_answer(server.send(head))
    assert (answer.status, answer.json["type"]) == (413, "urn:reunite:problem:photo-too-large")


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(tmp_path: Path):
    chunk = b"4000\r\n" + bytes(0x4000) + b"\r\n"
    head = HEAD + b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    with painted_server(tmp_path, WORKERS="1", MAX_PHOTO_BYTES="10000") as small:
        answer = read_answer(small.send(head, *[chunk] * 5))  # never ended by the caller
    assert (answer.status, answer.json["type"]) == (413, "urn:reunite:problem:photo-too-large")


def test_a_restart_loses_nothing_and_a_stop_finishes_what_runs(tmp_path: Path):
    photo = paint(GREEN)
    with painted_server(tmp_path) as first:
        assert enrol(first, "ann", BLUE, "b1").status == 201
        length = f"Content-Type: image/png\r\nContent-Length: {len(photo)}\r\n\r\n".encode()
        half_sent = first.send(HEAD + length, photo[:100])
        first.process.terminate()
        half_sent.sendall(photo[100:])
        assert read_answer(half_sent).status == 200
        assert first.process.wait(30) == 0
    with painted_server(tmp_path) as second:
        assert found(second.call("POST", "/v1/match", paint(BLUE))) == ["ann"]
        assert second.stop() == 0
    assert {line["level"] for line in first.journal + second.journal} == {"INFO"}
    assert [path.name for path in tmp_path.iterdir() if "metrics" in path.name] == []


def test_a_server_with_milvus_lite_finds_after_a_restart_who_was_enrolled(tmp_path: Path):
    pytest.importorskip("milvus_lite", reason="the extra `milvus-lite` is not installed")
    lite = {"WORKERS": "1", "INDEX_URL": str(tmp_path / "index.db")}
    with painted_server(tmp_path, **lite) as first:
        assert enrol(first, "ann", BLUE, "b1").status == 201
        assert found(first.call("POST", "/v1/match", paint(BLUE))) == ["ann"]
        assert first.stop() == 0
    with painted_server(tmp_path, **lite) as second:
        assert found(second.call("POST", "/v1/match", paint(BLUE))) == ["ann"]
        assert second.stop() == 0
    assert {line["level"] for line in first.journal + second.journal} == {"INFO"}


def test_the_journal_is_json_and_names_nobody(server: RunningServer):
    server.call("DELETE", "/v1/persons/somebody-we-miss")
    written = json.dumps(server.journal)
    assert "NOT JSON" not in written
    assert "somebody" not in written
