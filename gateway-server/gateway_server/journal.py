"""The journal: one JSON object a line, and the request id that runs through all of them.

No line holds a photo, a name, a key or a query string: of an address only the route's template is
written.
"""

import json
import logging
import re
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway_server.metrics import Metrics
from gateway_server.problems import MEDIA_TYPE, InternalError

REQUEST_ID_HEADER = "X-Request-Id"
TRACE_HEADER = "traceparent"
CLIENT_CLOSED_REQUEST = 499
_ACCEPTED_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}
_request_id: ContextVar[str] = ContextVar("request_id", default="-")
_trace: ContextVar[str | None] = ContextVar("traceparent", default=None)
_log = logging.getLogger(__name__)


def current_request_id() -> str:
    return _request_id.get()


def headers_passed_on() -> dict[str, str]:
    """What the tiers behind us get to know of the request: its id, and its W3C trace, if any."""
    trace = _trace.get()
    return {REQUEST_ID_HEADER: current_request_id()} | ({TRACE_HEADER: trace} if trace else {})


@contextmanager
def in_request(request_id: str) -> Iterator[None]:
    """Work that is done later, or by another process, speaks under the id it came with."""
    token = _request_id.set(request_id)
    try:
        yield
    finally:
        _request_id.reset(token)


def _accept_or_make(offered: str | None) -> str:
    if offered is not None and _ACCEPTED_ID.fullmatch(offered):
        return offered
    return uuid.uuid4().hex


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": current_request_id(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def start_journal(level: str, stream: TextIO | None = None) -> None:
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for talkative in ("httpx", "httpcore", "aiosqlite", "PIL"):
        logging.getLogger(talkative).setLevel(logging.WARNING)


class Journal:
    """ASGI middleware: names each request, writes its line, and answers for our own defects."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _accept_or_make(headers.get(REQUEST_ID_HEADER))
        trace = headers.get(TRACE_HEADER, "")
        _trace.set(trace if _ACCEPTED_TRACE.fullmatch(trace) else None)
        answer = _Answer(send, request_id, scope.setdefault("state", {}))
        started_s = time.perf_counter()
        with in_request(request_id):
            try:
                await self._answer(scope, receive, answer)
            finally:
                self._write_line(scope, answer.status, time.perf_counter() - started_s)

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            answer.status = CLIENT_CLOSED_REQUEST
        except Exception:
            _log.exception("a defect of ours")
            if answer.status:
                raise
            await answer.send_internal_error()

    def _write_line(self, scope: Scope, status: int, duration_s: float) -> None:
        route = getattr(scope.get("route"), "path", "(no route)")
        method = scope["method"]
        self._metrics.request_answered(method, route, status, duration_s)
        facts = {"method": method, "route": route, "status": status}
        _log.info("answered", extra={**facts, "duration_ms": round(duration_s * 1000, 1)})


class _Answer:
    def __init__(self, send: Send, request_id: str, state: Mapping[str, Any]) -> None:
        """`state`: of the request; its `answer_headers` are added to the answer."""
        self._send = send
        self._request_id = request_id
        self._state = state
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update(self._state.get("answer_headers", {}))
            headers[REQUEST_ID_HEADER] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
        await self._send(message)

    async def send_internal_error(self) -> None:
        problem = InternalError()
        body = json.dumps(problem.members(self._request_id)).encode()
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
        await self.send(
            {"type": "http.response.start", "status": problem.status, "headers": headers}
        )
        await self.send({"type": "http.response.body", "body": body})
