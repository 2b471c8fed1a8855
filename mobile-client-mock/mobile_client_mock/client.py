"""A photo leaves the phone: what the app asks of the gateway, and how patiently."""

import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import requests
from urllib3.exceptions import NewConnectionError

from mobile_client_mock.answers import Answer, Person, Search
from mobile_client_mock.errors import NotUnderstood, Refused, Unreachable
from mobile_client_mock.photo import Upload

NOT_NOW = frozenset({429, 502, 503, 504})
_UNDONE = frozenset({429, 503})  # said before anything was done, unless a record is named
_IDEMPOTENT = frozenset({"GET", "DELETE"})
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
    finish_within_s: float = 120.0


@dataclass(frozen=True)
class Connection:
    url: str
    key: str
    patience: Patience = Patience()


@dataclass(frozen=True)
class SearchOptions:
    top_k: int = 5
    model: str | None = None  # None: the gateway's default
    face: int | None = None  # None: the best one
    respond_async: bool = False

    def form(self) -> dict[str, str]:
        asked = {"top_k": self.top_k, "model": self.model, "face": self.face}
        return {name: str(value) for name, value in asked.items() if value is not None}


class Client:
    """One phone. `sleep` and `draw` (0..1, for the jitter) can be replaced by quicker ones."""

    def __init__(
        self,
        connection: Connection,
        *,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._url = connection.url.rstrip("/") + "/"
        self._patience = connection.patience
        self._sleep = sleep
        self._draw = draw
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy and no .netrc between the phone and its gateway
        self._session.headers["Authorization"] = f"Bearer {connection.key}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._session.close()

    def search(self, photo: Upload, options: SearchOptions = SearchOptions()) -> Search:
        """The finished search, however the gateway chose to answer."""
        prefer = {"Prefer": "respond-async"} if options.respond_async else {}
        files = [("photo", _part(photo))]
        answer = self._post("v1/searches", data=options.form(), files=files, headers=prefer)
        return self._finish(answer)

    def get_search(self, search_id: str) -> Search:
        return Search.of(self._ask("GET", f"v1/searches/{_id(search_id)}"))

    def heatmap(self, search_id: str) -> bytes:
        """PNG: the face that was searched for, under what decided."""
        return self._send("GET", f"v1/searches/{_id(search_id)}/heatmap").content

    def judge(self, search_id: str, person_id: str, verdict: str) -> Answer:
        said = {"person_id": person_id, "verdict": verdict}
        return self._post(f"v1/searches/{_id(search_id)}/feedback", json=said)

    def enroll(self, name: str, photos: Sequence[Upload]) -> Person:
        """For operators."""
        files = [("photos[]", _part(photo)) for photo in photos]
        return Person.of(self._post("v1/persons", data={"name": name}, files=files))

    def delete_person(self, person_id: str) -> Answer:
        return self._ask("DELETE", f"v1/persons/{_id(person_id)}")

    def _finish(self, answer: Answer) -> Search:
        """Polls a 202 to its end."""
        search = Search.of(answer)
        give_up_s = time.monotonic() + self._patience.finish_within_s
        while search.is_unfinished:
            if time.monotonic() >= give_up_s:
                within = f"within {self._patience.finish_within_s:g} s"
                raise Unreachable(f"Search {search.id} was not finished {within}")
            self._sleep(answer.retry_after_s or self._patience.poll_s)
            answer = self._ask("GET", f"v1/searches/{_id(search.id)}")
            search = Search.of(answer)
        if search.status == "failed":
            problem = answer.document.get("problem") or {}
            raise Refused(int(problem.get("status", answer.status)), problem, answer.request_id)
        return search

    def _post(self, address: str, headers: Mapping[str, str] | None = None, **body: Any) -> Answer:
        """The key will tell a gateway that honours it that a second arrival is the same request."""
        once = {"Idempotency-Key": str(uuid.uuid4())}
        return self._ask("POST", address, headers={**once, **(headers or {})}, **body)

    def _ask(self, method: str, address: str, **content: Any) -> Answer:
        response = self._send(method, address, **content)
        document = _document(response) if response.content else {}
        return Answer(
            status=response.status_code,
            document=document,
            request_id=response.headers.get("X-Request-Id", ""),
            retry_after_s=_retry_after_s(response),
        )

    def _send(self, method: str, address: str, **content: Any) -> requests.Response:
        """Tries again what surely was not done, or may be done twice; nothing else."""
        attempt = 1
        while True:
            try:
                return self._send_once(method, address, **content)
            except Unreachable as error:
                may_repeat = error.is_undone or method in _IDEMPOTENT
                if not may_repeat or attempt >= self._patience.attempts:
                    raise _given_up(error, attempt, is_repeatable=may_repeat) from error
                self._sleep(self._delay_s(attempt, error.retry_after_s))
                attempt += 1

    def _send_once(self, method: str, address: str, **content: Any) -> requests.Response:
        timeout_s = (self._patience.connect_timeout_s, self._patience.read_timeout_s)
        url = self._url + address
        try:
            response = self._session.request(
                method, url, timeout=timeout_s, allow_redirects=False, **content
            )
        except _NO_ANSWER as error:
            undone = _never_left(error)
            raise Unreachable(f"No answer from {self._url}: {error}", is_undone=undone) from error
        except requests.RequestException as error:
            raise NotUnderstood(f"{url} cannot be asked: {error}") from error
        return _accepted(response)

    def _delay_s(self, attempt: int, retry_after_s: float | None) -> float:
        """Backoff with full jitter above what the gateway asked for."""
        longest_s = self._patience.longest_delay_s
        backoff_s = self._patience.first_delay_s * 2.0 ** (attempt - 1) * self._draw()
        return min(longest_s, (retry_after_s or 0.0) + backoff_s)


def _part(photo: Upload) -> tuple[str, bytes, str]:
    return (photo.name, photo.data, photo.media_type)


def _id(text: str) -> str:
    return quote(text, safe="")


def _accepted(response: requests.Response) -> requests.Response:
    if response.status_code < 300:
        return response
    problem = _problem(response)
    if response.status_code in NOT_NOW:
        undone = response.status_code in _UNDONE and problem.recorded_as is None
        raise Unreachable(str(problem), problem, _retry_after_s(response), is_undone=undone)
    raise problem


def _never_left(error: requests.RequestException) -> bool:
    """No connection came about, so no byte of the request can have arrived."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


def _given_up(error: Unreachable, attempts: int, *, is_repeatable: bool) -> Unreachable:
    """With all that the caller should know before asking for the same again."""
    tried = f"tried {attempts} times" if attempts > 1 else "tried once"
    recorded = error.problem.recorded_as if error.problem else None
    if recorded:
        tried += f"; the gateway keeps it as {recorded}"
    elif not is_repeatable:
        tried += "; it may have arrived all the same"
    return Unreachable(f"{error} ({tried})", error.problem, is_undone=error.is_undone)


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
