"""A photo leaves the phone: what the app asks of the gateway."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

from mobile_client_mock.answers import Answer, Person, Search
from mobile_client_mock.errors import Unreachable
from mobile_client_mock.photo import Upload
from mobile_client_mock.transport import USUAL, Connection, Habits, Patience, Transport

__all__ = ["Client", "Connection", "Habits", "Patience", "SearchOptions"]


@dataclass(frozen=True)
class SearchOptions:
    top_k: int = 5
    model: str | None = None  # None: the gateway's default
    face: int | None = None  # None: the best one
    respond_async: bool = False

    def form(self) -> dict[str, str]:
        asked = {"top_k": self.top_k, "model": self.model, "face": self.face}
        return {name: str(value) for name, value in asked.items() if value is not None}


def _look_away(_search: Search) -> None:
    pass


class Client:
    """One phone."""

    def __init__(self, connection: Connection, habits: Habits = USUAL) -> None:
        self._patience = connection.patience
        self._sleep = habits.sleep
        self._transport = Transport(connection, habits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._transport.close()

    def search(
        self,
        photo: Upload,
        options: SearchOptions = SearchOptions(),
        watch: Callable[[Search], None] = _look_away,
    ) -> Search:
        """The finished search, however the gateway chose to answer; `watch` sees it unfinished."""
        search = self.wait_for_end(self.begin_search(photo, options), watch)
        if search.refusal:
            raise search.refusal
        return search

    def begin_search(self, photo: Upload, options: SearchOptions = SearchOptions()) -> Search:
        """As acknowledged: finished or, where it was asked for or the gateway is busy, queued."""
        headers = {"Prefer": "respond-async"} if options.respond_async else {}
        files = [("photo", _part(photo))]
        return Search.of(
            self._ask("POST", "v1/searches", data=options.form(), files=files, headers=headers)
        )

    def wait_for_end(self, search: Search, watch: Callable[[Search], None] = _look_away) -> Search:
        """Done or failed, at the gateway's pace. Outages are waited out: the search is kept."""
        give_up_s = time.monotonic() + self._patience.finish_within_s
        while search.is_unfinished:
            watch(search)
            self._sleep(self._poll_after_s(search, give_up_s))
            answer = self._ask("GET", f"v1/searches/{_id(search.id)}", give_up_s=give_up_s)
            search = Search.of(answer)
        return search

    def get_search(self, search_id: str) -> Search:
        return Search.of(self._ask("GET", f"v1/searches/{_id(search_id)}"))

    def heatmap(self, search_id: str) -> bytes:
        """PNG: the face that was searched for, under what decided."""
        return self._transport.send("GET", f"v1/searches/{_id(search_id)}/heatmap").content

    def judge(self, search_id: str, person_id: str, verdict: str) -> Answer:
        said = {"person_id": person_id, "verdict": verdict}
        return self._ask("POST", f"v1/searches/{_id(search_id)}/feedback", json=said)

    def enroll(self, name: str, photos: Sequence[Upload]) -> Person:
        """For operators. Photos may be pending: the gateway has them and enrols them later."""
        files = [("photos[]", _part(photo)) for photo in photos]
        return Person.of(self._ask("POST", "v1/persons", data={"name": name}, files=files))

    def get_person(self, person_id: str) -> Person:
        """For operators: what has become of the photos since."""
        return Person.of(self._ask("GET", f"v1/persons/{_id(person_id)}"))

    def delete_person(self, person_id: str) -> Answer:
        """200 with a receipt, or 202 while the gallery has yet to forget them."""
        return self._ask("DELETE", f"v1/persons/{_id(person_id)}")

    def _ask(self, method: str, address: str, **content: Any) -> Answer:
        return self._transport.ask(method, address, **content)

    def _poll_after_s(self, search: Search, give_up_s: float) -> float:
        left_s = give_up_s - time.monotonic()
        if left_s <= 0:
            within_s = self._patience.finish_within_s
            raise Unreachable(f"Search {search.id} is still {search.status} after {within_s:g} s")
        asked_s = search.answer.retry_after_s or self._patience.poll_s
        return min(asked_s, left_s, self._patience.longest_delay_s)


def _part(photo: Upload) -> tuple[str, bytes, str]:
    return (photo.name, photo.data, photo.media_type)


def _id(text: str) -> str:
    return quote(text, safe="")
