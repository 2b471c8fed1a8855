"""Phones that upload at the same time, each with the patience of a real one, and never give up."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, Queue

from mobile_client_mock.client import Client, Connection, Habits, Patience, SearchOptions
from mobile_client_mock.errors import ClientError, Unreachable
from mobile_client_mock.photo import Upload, remake, shrink
from tests.system.drills.estate import Estate, demo_people

STUBBORN = Patience(
    connect_timeout_s=2, read_timeout_s=20, attempts=200, first_delay_s=0.1, longest_delay_s=2,
    poll_s=0.3, finish_within_s=180,
)  # fmt: skip


@dataclass
class Ended:
    """What became of the uploads: search ids by upload, and everything that went otherwise."""

    acknowledged: dict[int, str] = field(default_factory=dict)
    done: dict[int, str] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    seen: Counter[int] = field(default_factory=Counter)  # HTTP statuses other than success
    seconds: float = 0.0


class Fleet:
    def __init__(self, estate: Estate, phones: int, uploads: int) -> None:
        self._estate = estate
        self._phones = phones
        self._waiting: Queue[int] = Queue()
        for number in range(uploads):
            self._waiting.put(number)
        self._originals = [shrink(one.enrolled[0]) for one in demo_people(10)]
        self._lock = threading.Lock()
        self.ended = Ended()
        self.uploads = uploads

    def run(self, meanwhile: Callable[["Fleet"], None]) -> Ended:
        """`meanwhile` does the mischief; the phones go on until every upload has ended."""
        started_s = time.monotonic()
        threads = [
            threading.Thread(target=self._phone, args=(number,), daemon=True)
            for number in range(self._phones)
        ]
        for thread in threads:
            thread.start()
        meanwhile(self)
        for thread in threads:
            thread.join()
        self.ended.seconds = time.monotonic() - started_s
        return self.ended

    def wait_for(self, acknowledged: int) -> None:
        while len(self.ended.acknowledged) < acknowledged and not self.is_over:
            time.sleep(0.01)

    @property
    def is_over(self) -> bool:
        return len(self.ended.done) + self.ended.failed.total() >= self.uploads

    def photo(self, number: int) -> Upload:
        """Every upload is a photo of its own: the cache has no part in this."""
        original = self._originals[number % len(self._originals)]
        return remake(original, number.to_bytes(3, "big"))

    def _phone(self, number: int) -> None:
        urls: Sequence[str] = self._estate.urls
        habits = Habits(notice=self._notice)
        connection = Connection(urls[number % len(urls)], self._estate.mobile_key, STUBBORN)
        with Client(connection, habits) as phone:
            while True:
                try:
                    upload = self._waiting.get_nowait()
                except Empty:
                    return
                self._upload(phone, upload)

    def _upload(self, phone: Client, upload: int) -> None:
        options = SearchOptions(respond_async=upload % 3 == 0)
        try:
            search = phone.begin_search(self.photo(upload), options)
            with self._lock:
                self.ended.acknowledged[upload] = search.id
            search = phone.wait_for_end(search)
        except ClientError as error:
            with self._lock:
                self.ended.failed[f"{type(error).__name__}: {str(error)[:120]}"] += 1
            return
        with self._lock:
            if search.status == "done":
                self.ended.done[upload] = search.id
            else:
                self.ended.failed[f"ended {search.status}"] += 1

    def _notice(self, setback: Unreachable) -> None:
        status = setback.problem.status if setback.problem else 0
        with self._lock:
            self.ended.seen[status] += 1
