"""The one who talks to the inference tier: timeouts, retries, no foreign error beyond it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from gateway_server.breaker import Breaker, BreakerSettings
from gateway_server.inference_client import PAUSES_S, InferenceClient, make_http
from gateway_server.metrics import Metrics
from gateway_server.photo_archive import StoredPhoto
from gateway_server.problems import InferenceUnavailable, NoFace
from gateway_server.settings import Settings
from tests.gateway_server.conftest import list_failures, run_gateway, search
from tests.gateway_server.fake_inference import TOKEN, FakeInference
from tests.gateway_server.photos import make_photo

TINY_TIMEOUT_S = 0.05
ATTEMPTS = len(PAUSES_S) + 1
GALLERY = b'{"persons":1,"faces":1,"version":7,"models":{}}'
NEVER_OPENS = BreakerSettings(failures=1000, pause_s=1)
PHOTO = StoredPhoto(make_photo(1), "image/jpeg")
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@asynccontextmanager
async def inference_client(
    url: str, transport: httpx.AsyncBaseTransport | None = None, **settings: str
) -> AsyncIterator[InferenceClient]:
    named = {"INTERNAL_TOKEN": TOKEN, "INFERENCE_URL": url, **settings}
    async with make_http(Settings.from_mapping(named), transport) as http:
        yield InferenceClient(http, Metrics(), Breaker(NEVER_OPENS))


@asynccontextmanager
async def server_that(talk: Talk) -> AsyncIterator[tuple[str, list[object]]]:
    """The address of a real socket, and a list that grows with each connection."""
    served: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        with suppress(asyncio.CancelledError, OSError, EOFError):
            await talk(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", served
    server.close()
    for task in served:
        task.cancel()
    await asyncio.gather(*served, return_exceptions=True)


async def stay_silent(_reader, _writer):
    await asyncio.Event().wait()


async def hang_up(_reader, _writer):
    pass


async def speak_another_language(_reader, writer):
    writer.write(b"220 mail.example ESMTP\r\n")
    await writer.drain()


async def break_off(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()


async def answer_once_and_hang_up(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(GALLERY) + GALLERY)
    await writer.drain()


@pytest.mark.parametrize(
    ("talk", "reason", "connections"),
    [
        (stay_silent, "inference-timeout", 1),
        (hang_up, "inference-unreachable", ATTEMPTS),
        (speak_another_language, "inference-unreachable", ATTEMPTS),
        (break_off, "inference-unreachable", ATTEMPTS),
    ],
)
async def test_a_server_that_does_not_answer_is_an_outage(talk, reason, connections):
    patience = {"READ_TIMEOUT_S": str(TINY_TIMEOUT_S)} if talk is stay_silent else {}
    async with (
        server_that(talk) as (url, seen),
        inference_client(url, **patience) as inference,
    ):
        with pytest.raises(InferenceUnavailable) as outage:
            await inference.match(PHOTO, {})

    assert outage.value.reason == reason
    assert len(seen) == connections


async def test_a_port_without_a_server_is_an_outage():
    async with inference_client(dead_url()) as inference:
        with pytest.raises(InferenceUnavailable) as outage:
            await inference.gallery()

    assert outage.value.reason == "inference-unreachable"


async def test_a_connection_that_was_closed_meanwhile_is_made_again():
    async with server_that(answer_once_and_hang_up) as (url, seen), inference_client(url) as client:
        versions = [(await client.gallery()).version for _ in range(3)]

    assert versions == [7, 7, 7]
    assert len(seen) >= 3


async def test_a_full_pool_is_an_outage():
    async with (
        server_that(stay_silent) as (url, _),
        inference_client(
            url,
            INFERENCE_CONNECTIONS="1",
            POOL_TIMEOUT_S=str(TINY_TIMEOUT_S),
            READ_TIMEOUT_S=str(10 * TINY_TIMEOUT_S),
        ) as inference,
    ):
        calls = [inference.match(PHOTO, {}) for _ in range(2)]
        outages = await asyncio.gather(*calls, return_exceptions=True)

    assert sorted(str(one).rpartition(" ")[2] for one in outages) == [
        "(PoolTimeout)",
        "(ReadTimeout)",
    ]


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    """The token and the photo would pass through them."""
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, dead_url())

    async with server_that(answer_once_and_hang_up) as (url, _), inference_client(url) as client:
        assert (await client.gallery()).version == 7


class Unsteady(httpx.AsyncBaseTransport):
    """Loses the first `losses` requests, then passes on to a fake."""

    def __init__(self, losses: int, error: type[httpx.TransportError]) -> None:
        self.left = losses
        self.error = error
        self.fake = FakeInference()
        self._onward = httpx.ASGITransport(self.fake.app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.left:
            self.left -= 1
            raise self.error("lost")
        return await self._onward.handle_async_request(request)


@pytest.mark.parametrize("losses", [1, ATTEMPTS - 1])
@pytest.mark.parametrize(
    "error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadError, httpx.RemoteProtocolError]
)
async def test_a_call_whose_connection_was_lost_is_made_again(losses, error):
    transport = Unsteady(losses, error)
    async with inference_client("http://inference", transport) as inference:
        match = await inference.match(PHOTO, {"top_k": 3})

    assert match.verdict == "no_credible_lead"
    assert transport.fake.called("match") == 1


@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout])
async def test_a_call_that_a_busy_tier_did_not_answer_is_not_made_again(error):
    transport = Unsteady(1, error)
    async with inference_client("http://inference", transport) as inference:
        with pytest.raises(InferenceUnavailable):
            await inference.match(PHOTO, {})

    assert transport.fake.calls == []


async def test_the_photos_refusal_is_told_from_an_outage():
    transport = Unsteady(0, httpx.ConnectError)
    transport.fake.refuse(PHOTO.data, "no-face")

    async with inference_client("http://inference", transport) as inference:
        with pytest.raises(NoFace, match="the inference tier says no-face"):
            await inference.match(PHOTO, {})


@pytest.mark.parametrize(
    ("quality", "x"), [("70", "NaN"), ("101", "1"), ("-1", "1"), ("70.5", "1")]
)
async def test_figures_out_of_range_are_not_as_agreed(quality, x):
    """JSON written by Python may hold NaN, which no database and no client takes."""
    transport = Unsteady(0, httpx.ConnectError)
    answer = b'{"face_id":"f","quality":%s,"warnings":[],"box":[%s,1,2,3]}'
    answer %= quality.encode(), x.encode()
    transport.fake.fail("enrol", lambda request: starlette_json(answer))

    async with inference_client("http://inference", transport) as inference:
        with pytest.raises(InferenceUnavailable) as outage:
            await inference.enrol("p", "f", PHOTO, None)

    assert outage.value.reason == "inference-garbled"


async def test_a_heatmap_that_is_no_picture_is_not_as_agreed():
    transport = Unsteady(0, httpx.ConnectError)
    transport.fake.fail("heatmap", lambda request: starlette_json(b"{}"))

    async with inference_client("http://inference", transport) as inference:
        with pytest.raises(InferenceUnavailable) as outage:
            await inference.heatmap(PHOTO, {})

    assert outage.value.reason == "inference-garbled"


async def test_calls_are_counted_by_operation_and_outcome():
    metrics = Metrics()
    transport = Unsteady(0, httpx.ConnectError)
    transport.fake.refuse(PHOTO.data, "no-face")
    settings = Settings.from_mapping({"INTERNAL_TOKEN": TOKEN})
    async with make_http(settings, transport) as http:
        client = InferenceClient(http, metrics, Breaker(NEVER_OPENS))
        await client.gallery()
        with pytest.raises(NoFace):
            await client.match(PHOTO, {})

    text = (await metrics.exposition()).decode()
    assert 'gateway_inference_calls_total{operation="gallery",outcome="answered"} 1.0' in text
    assert 'gateway_inference_calls_total{operation="match",outcome="no-face"} 1.0' in text


async def test_the_request_id_goes_along(phone, inference):
    await phone.post(
        "/v1/searches", files={"photo": make_photo(1)}, headers={"X-Request-Id": "from-the-phone"}
    )

    assert inference.request_ids == ["from-the-phone", "from-the-phone"]


async def test_a_dead_inference_tier_costs_the_phone_no_photo(environment):
    environment["INFERENCE_URL"] = dead_url()

    async with (
        run_gateway(environment, None) as running,
        running.client(running.keys["mobile"]) as phone,
        running.client(running.keys["operator"]) as operator,
    ):
        answer = await search(phone, make_photo(1))
        photo = await phone.get(f"{answer.headers['location']}/photo")
        (failure,) = await list_failures(operator)

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert (failure["reason"], failure["attempts"]) == ("inference-unreachable", 1)
    assert failure["next_attempt_at"] > failure["last_attempt_at"]
    assert photo.content == make_photo(1)


def dead_url() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{found.getsockname()[1]}"


def starlette_json(body: bytes):
    from starlette.responses import Response

    return Response(body, media_type="application/json")
