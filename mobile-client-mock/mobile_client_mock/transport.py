"""One request and its answer: sent with timeouts, sent again with patience, read as JSON."""

import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests
from urllib3.exceptions import NewConnectionError

from mobile_client_mock.answers import Answer
from mobile_client_mock.errors import NotUnderstood, Refused, Unreachable

NOT_NOW = frozenset({429, 502, 503, 504})
AT_WORK = "idempotency-key-in-use"  # the 409 of a gateway that has not ended the first try yet
_UNDONE = frozenset({429, 503})  # said before anything was done, unless a record is named
_NO_ANSWER = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,  # cut off in the middle
)


@dataclass(frozen=True)
class Patience:
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 60.0
    attempts: int = 4
    first_delay_s: float = 0.5  # doubles with each attempt
    longest_delay_s: float = 30.0  # the gateway's own Retry-After is honoured up to here as well
    poll_s: float = 1.0  # between two looks at an unfinished search
    finish_within_s: float = 120.0  # for what the gateway has accepted and is at


@dataclass(frozen=True)
class Connection:
    url: str
    key: str
    patience: Patience = Patience()


def _pass_over(_setback: Unreachable) -> None:
    pass


@dataclass(frozen=True)
class Habits:
    """What a test or a load does otherwise: `draw` (0..1) is the jitter."""

    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random
    notice: Callable[[Unreachable], None] = _pass_over  # of each try that is followed by another


USUAL = Habits()


class Transport:
    def __init__(self, connection: Connection, habits: Habits) -> None:
        self._url = connection.url.rstrip("/") + "/"
        self._patience = connection.patience
        self._habits = habits
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy and no .netrc between the phone and its gateway
        self._session.headers["Authorization"] = f"Bearer {connection.key}"

    def close(self) -> None:
        self._session.close()

    def ask(
        self, method: str, address: str, give_up_s: float | None = None, **content: Any
    ) -> Answer:
        response = self.send(method, address, give_up_s, **content)
        return Answer(
            status=response.status_code,
            document=_document(response) if response.content else {},
            request_id=response.headers.get("X-Request-Id", ""),
            retry_after_s=_retry_after_s(response),
        )

    def send(
        self, method: str, address: str, give_up_s: float | None = None, **content: Any
    ) -> requests.Response:
        """Tries again after whatever was no answer: a POST's key makes its tries one request.

        `give_up_s`, on the monotonic clock, stands in for the number of attempts.
        """
        request = self._prepared(method, address, content)
        at_work_until_s = time.monotonic() + self._patience.finish_within_s
        setbacks: list[Unreachable] = []
        while True:
            try:
                return self._send_once(request)
            except Unreachable as setback:
                setbacks.append(setback)
                until_s = at_work_until_s if _is_at_work(setback) else give_up_s
                if not self._may_repeat(setbacks, until_s):
                    raise _given_up(setbacks, method) from setback
            self._habits.notice(setbacks[-1])
            self._habits.sleep(self._delay_s(setbacks))

    def _prepared(
        self, method: str, address: str, content: Mapping[str, Any]
    ) -> requests.PreparedRequest:
        """Made once: another try is the same to the last byte, a form's boundary included."""
        url = self._url + address
        once = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        headers = {**once, **content.get("headers", {})}
        try:
            request = requests.Request(method, url, **{**content, "headers": headers})
            return self._session.prepare_request(request)
        except requests.RequestException as error:
            raise NotUnderstood(f"{url} cannot be asked: {error}") from error

    def _send_once(self, request: requests.PreparedRequest) -> requests.Response:
        timeout_s = (self._patience.connect_timeout_s, self._patience.read_timeout_s)
        try:
            response = self._session.send(request, timeout=timeout_s, allow_redirects=False)
        except _NO_ANSWER as error:
            undone = _never_left(error)
            raise Unreachable(f"No answer from {self._url}: {error}", is_undone=undone) from error
        except requests.RequestException as error:
            raise NotUnderstood(f"{request.url} cannot be asked: {error}") from error
        return _accepted(response)

    def _may_repeat(self, setbacks: Sequence[Unreachable], until_s: float | None) -> bool:
        if setbacks[-1].is_replay:  # and so would be the next one
            return False
        if until_s is not None:
            return time.monotonic() < until_s
        return _failures(setbacks) < self._patience.attempts

    def _delay_s(self, setbacks: Sequence[Unreachable]) -> float:
        """Backoff with full jitter above what the gateway asked for."""
        doublings = max(0, _failures(setbacks) - 1)
        backoff_s = self._patience.first_delay_s * 2.0**doublings * self._habits.draw()
        asked_s = setbacks[-1].retry_after_s or 0.0
        return min(self._patience.longest_delay_s, asked_s + backoff_s)


def _accepted(response: requests.Response) -> requests.Response:
    if response.status_code < 300:
        return response
    problem = _problem(response)
    if response.status_code not in NOT_NOW and problem.slug != AT_WORK:
        raise problem
    raise Unreachable(
        str(problem),
        problem,
        _retry_after_s(response),
        is_undone=response.status_code in _UNDONE and problem.recorded_as is None,
        is_replay=response.headers.get("Idempotent-Replayed", "") == "true",
    )


def _is_at_work(setback: Unreachable) -> bool:
    return setback.problem is not None and setback.problem.slug == AT_WORK


def _failures(setbacks: Sequence[Unreachable]) -> int:
    """Waiting for one's own first try is none."""
    return sum(not _is_at_work(setback) for setback in setbacks)


def _never_left(error: requests.RequestException) -> bool:
    """No connection came about, so no byte of the request can have arrived."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


def _given_up(setbacks: Sequence[Unreachable], method: str) -> Unreachable:
    """With all that the caller should know before asking anew, which is another request."""
    last, times = setbacks[-1], len(setbacks)
    undone = all(one.is_undone for one in setbacks)
    tried = f"tried {times} times" if times > 1 else "tried once"
    records = (one.problem.recorded_as for one in reversed(setbacks) if one.problem)
    recorded = next(filter(None, records), None)
    if recorded:
        tried += f"; the gateway keeps it as {recorded}"
    elif method == "POST" and not undone:
        tried += "; it may have arrived all the same"
    return Unreachable(f"{last} ({tried})", last.problem, last.retry_after_s, is_undone=undone)


def _problem(response: requests.Response) -> Refused:
    """What the gateway says, or what is known when something on the way to it says it."""
    try:
        members = _document(response)
    except NotUnderstood:
        members = {}
    return Refused(response.status_code, members, response.headers.get("X-Request-Id", ""))


def _document(response: requests.Response) -> Mapping[str, Any]:
    try:
        document = response.json()
    except requests.exceptions.JSONDecodeError as error:
        beginning = response.text[:80]
        raise NotUnderstood(f"The gateway's answer is not JSON: {beginning!r}") from error
    if not isinstance(document, dict):
        raise NotUnderstood(f"The gateway's answer is a {type(document).__name__}, not an object")
    return document


def _retry_after_s(response: requests.Response) -> float | None:
    text = response.headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdecimal() else None
