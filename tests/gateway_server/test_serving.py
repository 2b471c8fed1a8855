"""The real server over a real socket: `gateway-server serve`, keys made by the command."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.gateway_server.conftest import slug_of
from tests.gateway_server.photos import make_photo

pytestmark = pytest.mark.system

START_LIMIT_S = 60.0
COMMAND = [sys.executable, "-m", "gateway_server"]
MAX_PHOTO_BYTES = 1_000_000


@dataclass(frozen=True)
class Served:
    port: int
    environment: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, *words: str) -> str:
        asked = [*COMMAND, *words]
        done = subprocess.run(
            asked, env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def wait_until_up(self, server: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline_s:
            assert server.poll() is None, "the server ended by itself"
            try:
                httpx.get(f"{self.url}/healthz", trust_env=False)
            except httpx.TransportError:
                time.sleep(0.05)  # polling until it is up, not timing
            else:
                return
        raise TimeoutError(f"not up within {START_LIMIT_S} s")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway in a process of its own; its inference tier is away."""
    tmp_path = tmp_path_factory.mktemp("served")
    port = free_port()
    named = {
        "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/gateway.db",
        "PHOTO_DIR": str(tmp_path / "photos"),
        "INFERENCE_URL": f"http://127.0.0.1:{free_port()}",
        "INTERNAL_TOKEN": "token",
        "PORT": str(port),
        "MAX_PHOTO_BYTES": str(MAX_PHOTO_BYTES),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    served = Served(port, {**os.environ, **named})
    journal = (tmp_path / "journal").open("wb")
    server = subprocess.Popen([*COMMAND, "serve"], env=served.environment, stdout=journal)
    try:
        served.wait_until_up(server)
        yield served
    finally:
        server.terminate()
        server.wait()
        journal.close()


@pytest.fixture(scope="module")
def key(served: Served) -> str:
    return served.command("keys", "create", "--role", "mobile", "--name", "a phone")


def test_a_key_made_by_the_command_opens_the_running_server(served: Served):
    key = served.command("keys", "create", "--role", "mobile", "--name", "another phone")
    headers = {"Authorization": f"Bearer {key}"}

    with httpx.Client(base_url=served.url, headers=headers, trust_env=False) as phone:
        answer = phone.post("/v1/searches", files={"photo": make_photo(1)})
        assert (answer.status_code, answer.json()["status"]) == (202, "queued")
        photo = phone.get(f"{answer.headers['location']}/photo")

        served.command("keys", "revoke", key.split("_")[1])
        assert phone.get("/v1/searches/x").status_code == 401

    assert photo.content == make_photo(1)


def test_a_huge_upload_is_answered_without_being_waited_for(served: Served, key: str):
    """The answer comes while the body, of which there is only the announcement, has not."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=START_LIMIT_S)
    connection.putrequest("POST", "/v1/searches")
    connection.putheader("Authorization", f"Bearer {key}")
    connection.putheader("Content-Type", "multipart/form-data; boundary=edge")
    connection.putheader("Content-Length", str(100 * MAX_PHOTO_BYTES))
    connection.endheaders()

    answer = connection.getresponse()

    assert answer.status == 413
    assert b"photo-too-large" in answer.read()
    connection.close()


def test_a_phone_that_sends_too_much_still_reads_why(served: Served, key: str):
    """All of a 20-fold body is pushed in without a length; the refusal is read after it."""
    opening = (
        b'--edge\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
        + make_photo(1)
    )
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "multipart/form-data; boundary=edge",
    }

    def body():
        yield opening
        for _ in range(20):
            yield bytes(MAX_PHOTO_BYTES)

    answer = httpx.post(
        f"{served.url}/v1/searches", content=body(), headers=headers, trust_env=False
    )

    assert (answer.status_code, slug_of(answer)) == (413, "photo-too-large")


@pytest.mark.parametrize(
    "sent",
    [
        b"I am no HTTP\r\n\r\n",
        b"\x16\x03\x01" + bytes(200) + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Split\x00: 1\r\n\r\n",
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Flood: " + b"a" * 2**16)[: 2**16 + 1],
        b"POST /v1/searches HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["words", "TLS", "no host", "NUL", "endless headers", "a length below nothing"],
)
def test_what_is_no_http_is_refused_as_a_problem(served: Served, sent: bytes):
    with socket.create_connection(("127.0.0.1", served.port), timeout=START_LIMIT_S) as connection:
        connection.sendall(sent)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        told = httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())

    assert (told.status_code, slug_of(told)) == (400, "bad-request")
    assert told.headers["connection"] == "close"
