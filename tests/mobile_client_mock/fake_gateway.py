"""A gateway of a few lines over a real socket: it answers what a test queued, and remembers."""

import email.parser
import email.policy
import json
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes = b"{}"
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs_up: str = ""  # "before" the answer or in the "middle" of it


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def parts(self) -> list[tuple[str, str | None, bytes]]:
        """Name, file name and content of each part of a multipart body."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + self.body)
        return [
            (
                str(part.get_param("name", header="content-disposition")),
                part.get_filename(),
                part.get_payload(decode=True),
            )
            for part in form.iter_parts()
        ]


@dataclass
class FakeGateway:
    url: str = ""
    replies: deque[Reply] = field(default_factory=deque)
    decide: Callable[[Seen], Reply] | None = None  # in place of what is queued
    seen: list[Seen] = field(default_factory=list)

    def answers(self, *replies: Reply) -> None:
        """One for each request to come, in order; the last is not used up."""
        self.replies = deque(replies)

    def next_reply(self, request: Seen) -> Reply:
        if self.decide:
            return self.decide(request)
        return self.replies.popleft() if len(self.replies) > 1 else self.replies[0]


def ok(document: Mapping[str, Any], status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(document).encode(), headers=_dashed(headers))


def problem(
    status: int, slug: str, detail: str = "", *, kept: Mapping[str, str] = {}, **headers: str
) -> Reply:
    """`kept` names what the gateway recorded, as `search_id` or `person_id`."""
    members = {
        "type": f"urn:reunite:problem:{slug}",
        "title": slug,
        "status": status,
        "detail": detail,
    }
    return Reply(status, json.dumps({**members, **kept}).encode(), PROBLEM, _dashed(headers))


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def run_gateway() -> Iterator[FakeGateway]:
    gateway = FakeGateway()

    class Handler(_Handler):
        served = gateway

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        gateway.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield gateway
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: FakeGateway
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_arguments: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Seen(self.command, self.path, dict(self.headers), body)
        self.served.seen.append(request)
        reply = self.served.next_reply(request)
        if reply.hangs_up == "before":
            return self._hang_up()
        self.send_response(reply.status)
        for name, value in {"X-Request-Id": "req-1", **reply.headers}.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Type", reply.media_type)
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if reply.hangs_up == "middle":
            self.wfile.write(reply.body[: len(reply.body) // 2])
            return self._hang_up()
        if reply.status != 204:
            self.wfile.write(reply.body)
        return None

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
