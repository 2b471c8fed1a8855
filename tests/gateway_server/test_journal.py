"""The journal tells what happened in one JSON line a request, and nobody's name."""

import json
import logging
from collections.abc import Callable
from io import StringIO

import httpx
import pytest
from starlette.requests import ClientDisconnect

from gateway_server.journal import Journal, start_journal
from gateway_server.metrics import Metrics
from tests.gateway_server.conftest import search, slug_of
from tests.gateway_server.photos import make_photo


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def root_as_it_was():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def lines(root_as_it_was) -> Callable[[], list[str]]:
    """What the journal has written so far, but for what the event loop says of itself."""
    stream = StringIO()
    start_journal("debug", stream)
    return lambda: [one for one in stream.getvalue().splitlines() if '"asyncio"' not in one]


def answered(lines: list[str]) -> list[dict]:
    return [one for one in map(json.loads, lines) if one["message"] == "answered"]


async def test_each_request_leaves_one_line(phone, lines):
    made = await search(phone, make_photo(1))

    (line,) = answered(lines())
    assert line["request_id"] == made.headers["x-request-id"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/searches", 201)
    assert line["duration_ms"] > 0


async def test_an_address_without_a_route_is_not_written_down(phone, lines):
    await phone.get("/Ada-Lovelace?name=Ada")

    written = lines()
    (line,) = answered(written)
    assert (line["route"], line["status"]) == ("(no route)", 404)
    assert "Ada" not in "".join(written)


async def test_no_line_holds_a_name_a_key_a_token_or_a_query(running, operator, lines):
    files = {"photos[]": ("secret-filename.jpg", make_photo(1))}
    data = {"name": "Secretname", "notes": "Secretnotes", "reference": "Secretreference"}
    await operator.post("/v1/persons", data=data, files=files)
    await operator.get("/v1/persons", params={"q": "Secretname"})
    await operator.post("/v1/persons", data={"name": "Secretname\0"}, files=files)

    told = lines()
    written = "".join(told).lower()
    assert len(answered(told)) == 3
    assert "secret" not in written
    assert not any(key in written for key in running.keys.values())
    assert "a token between two tiers" not in written


@pytest.mark.parametrize("offered", ["a", "A-z_0.9", "x" * 64])
async def test_a_request_id_is_accepted(phone, offered):
    answer = await phone.get("/healthz", headers={"X-Request-Id": offered})

    assert answer.headers["x-request-id"] == offered


@pytest.mark.parametrize("offered", ["", "x" * 65, "a b", "a\tb", "ü", "a;b", "${jndi:x}", '"'])
async def test_an_unfit_request_id_is_replaced(phone, offered):
    answer = await phone.get("/healthz", headers={"X-Request-Id": offered.encode()})

    made = answer.headers["x-request-id"]
    assert made != offered
    assert len(made) == 32


async def raise_key_error(_scope, _receive, _send):
    raise KeyError("the defect")


async def test_a_defect_of_ours_is_a_problem_whose_traceback_stays_here(lines):
    transport = httpx.ASGITransport(Journal(raise_key_error, Metrics()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        answer = await client.get("/")

    assert (answer.status_code, slug_of(answer)) == (500, "internal-error")
    assert "the defect" not in answer.text
    (told,) = [one for one in map(json.loads, lines()) if "traceback" in one]
    assert "KeyError: 'the defect'" in told["traceback"]
    assert told["request_id"] == answer.headers["x-request-id"]


async def test_a_client_that_went_away_is_no_defect(lines):
    async def lose_client(_scope, _receive, _send):
        raise ClientDisconnect

    journal = Journal(lose_client, Metrics())
    await journal({"type": "http", "method": "POST", "headers": []}, None, None)

    (line,) = answered(lines())
    assert line["status"] == 499


def test_a_line_is_one_line_whatever_it_says(lines):
    logging.getLogger("x").warning("two\nlines %s", "\u2028", extra={"more": "a\nb"})

    (line,) = lines()
    assert json.loads(line)["more"] == "a\nb"


@pytest.mark.usefixtures("root_as_it_was")
def test_the_journal_writes_lines_of_the_level_and_above(capsys):
    start_journal("warning")
    logging.getLogger("x").info("quiet")
    logging.getLogger("x").warning("loud")

    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["message"] == "loud"
