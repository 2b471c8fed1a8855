"""Many phones at a time. Searches begin when they are due, whatever the gateway does: an open loop.

A phone is a thread with a connection of its own. It takes the next arrival with its photo, waits
until it is due, sends it and follows it to its end. Every latency counts from when the search was
due, so an arrival that finds no phone free waits at the gateway's expense: a stalled gateway is
charged for those it kept from starting as well (coordinated omission).
"""

import hashlib
import random
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread

from mobile_client_mock.client import Client, Connection, Habits, SearchOptions
from mobile_client_mock.errors import NotUnderstood, Refused, Unreachable, UnusablePhoto
from mobile_client_mock.load_report import LoadReport, Outcome, Plan, label, nearest_rank
from mobile_client_mock.photo import Upload, remake, shrink

SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp"})
MOST_PHOTOS = 100  # kept in memory; every search sends a variation of one of them
MOST_BYTES_AHEAD = 64 * 1024 * 1024  # of variations
LOOK_EVERY_S = 0.2
LATEST = 200  # searches that the progress speaks of
WIND_UP_S = 1.0  # for phones that were interrupted; those inside a request are left behind


@dataclass(frozen=True)
class Arrival:
    due_s: float  # since the start
    photo: int  # the same number is the same photo, to the last byte


@dataclass(frozen=True)
class Progress:
    elapsed_s: float
    due: int
    under_way: int
    endings: Counter[str]
    p95_s: float | None  # finished, of the latest


class _Interrupted(Exception):
    pass


def schedule(plan: Plan) -> tuple[Arrival, ...]:
    """A Poisson process: the gaps between arrivals are exponential."""
    dice = random.Random(plan.seed)  # noqa: S311  # repeatable, and nobody's secret
    arrivals: list[Arrival] = []
    made = 0
    due_s = dice.expovariate(plan.rate_per_s)
    while due_s < plan.duration_s:
        is_repeat = made > 0 and dice.random() < plan.repeat_share
        arrivals.append(Arrival(due_s, dice.randrange(made) if is_repeat else made))
        made += not is_repeat
        due_s += dice.expovariate(plan.rate_per_s)
    return tuple(arrivals)


class Album:
    """As many photos as are asked for, each new to every cache, out of a few."""

    def __init__(self, photos: Sequence[Upload], seed: int) -> None:
        self._photos = photos
        self._seed = seed
        self._made: dict[int, Upload] = {}

    @classmethod
    def read(cls, folder: Path, seed: int) -> "Album":
        """Of a folder and its sub-folders. Raises UnusablePhoto."""
        files = sorted(one for one in folder.rglob("*") if one.suffix.lower() in SUFFIXES)
        if not files:
            raise UnusablePhoto(f"{folder} has no photos ({', '.join(sorted(SUFFIXES))})")
        dice = random.Random(seed)  # noqa: S311  # repeatable, and nobody's secret
        return cls([shrink(one) for one in dice.sample(files, min(MOST_PHOTOS, len(files)))], seed)

    def make_ahead(self, numbers: Iterable[int]) -> None:
        """As many of them as there is memory for: later it takes time that is the servers', too."""
        left_bytes = MOST_BYTES_AHEAD
        for number in dict.fromkeys(numbers):
            photo = self._make(number)
            left_bytes -= len(photo.data)
            if left_bytes < 0:
                return
            self._made[number] = photo

    def photo(self, number: int) -> Upload:
        return self._made.get(number) or self._make(number)

    def _make(self, number: int) -> Upload:
        token = hashlib.blake2b(f"{self._seed}/{number}".encode(), digest_size=8).digest()
        return remake(self._photos[number % len(self._photos)], token)


class Load:
    """To be run once."""

    def __init__(
        self,
        plan: Plan,
        album: Album,
        connection: Connection,
        options: SearchOptions,
    ) -> None:
        self._plan = plan
        self._album = album
        self._connection = connection
        self._options = options
        self._arrivals = schedule(plan)
        self._to_come: Iterator[Arrival] = iter(self._arrivals)
        self._taking = Lock()
        self._stop = Event()
        self._started_s = 0.0  # on the monotonic clock
        self._journal = _Journal()

    def run(self, watch: Callable[[Progress], None]) -> LoadReport:
        """Until every search has ended, or Ctrl-C."""
        phones = self._take_phones()
        is_interrupted = False
        try:
            self._started_s = time.monotonic()
            for phone in phones:
                phone.start()
            while any(phone.is_alive() for phone in phones):
                watch(self._progress())
                self._stop.wait(LOOK_EVERY_S)
        except KeyboardInterrupt:
            is_interrupted = True
        self._stop.set()  # nothing starts from here on
        until_s = self._now_s() if is_interrupted else self._plan.duration_s
        _wind_up(phones)
        return self._report(until_s, is_interrupted=is_interrupted)

    def _take_phones(self) -> Sequence[Thread]:
        """Photos are made before the clock starts."""
        self._album.make_ahead(arrival.photo for arrival in self._arrivals)
        wanted = min(self._plan.phones, len(self._arrivals))
        first = [self._take() for _ in range(wanted)]
        return [Thread(target=self._use_phone, args=(one,), daemon=True) for one in first]

    def _use_phone(self, taken: tuple[Arrival, Upload] | None) -> None:
        habits = Habits(sleep=self._sleep, notice=self._journal.note_setback)
        with Client(self._connection, habits) as client, suppress(_Interrupted):
            while taken:
                arrival, photo = taken
                self._sleep(arrival.due_s - self._now_s())
                self._journal.begin()
                self._journal.end(self._search(client, arrival, photo))
                taken = self._take()

    def _take(self) -> tuple[Arrival, Upload] | None:
        with self._taking:
            arrival = next(self._to_come, None)
        return (arrival, self._album.photo(arrival.photo)) if arrival else None

    def _search(self, client: Client, arrival: Arrival, photo: Upload) -> Outcome:
        started_s, accepted_s = self._now_s(), None
        search, trouble = None, None
        try:
            search = client.begin_search(photo, self._options)
            accepted_s = self._now_s()
            search = client.wait_for_end(search)
        except (Refused, Unreachable, NotUnderstood) as error:
            trouble = error
        said = search.refusal if search and not trouble else trouble
        return Outcome(
            due_s=arrival.due_s,
            started_s=started_s,
            accepted_s=accepted_s,
            ended_s=self._now_s(),
            cached=bool(search and search.cached),
            is_final=trouble is None or accepted_s is None,
            status=_status(said),
            reason=label(said),
        )

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(max(0.0, seconds)):
            raise _Interrupted

    def _now_s(self) -> float:
        return time.monotonic() - self._started_s

    def _progress(self) -> Progress:
        now_s = self._now_s()
        due = bisect_right(self._arrivals, now_s, key=lambda arrival: arrival.due_s)
        return self._journal.progress(now_s, due)

    def _report(self, until_s: float, *, is_interrupted: bool) -> LoadReport:
        outcomes, setbacks = self._journal.read()
        window_s = min(self._plan.duration_s, until_s)
        return LoadReport(
            plan=self._plan,
            window_s=window_s,
            due_s=tuple(one.due_s for one in self._arrivals if one.due_s <= window_s),
            outcomes=outcomes,
            setbacks=setbacks,
            is_interrupted=is_interrupted,
        )


class _Journal:
    """What the phones write together."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._begun = 0
        self._outcomes: list[Outcome] = []
        self._endings: Counter[str] = Counter()
        self._latest_s: deque[float] = deque(maxlen=LATEST)
        self._setbacks: Counter[str] = Counter()

    def begin(self) -> None:
        with self._lock:
            self._begun += 1

    def end(self, outcome: Outcome) -> None:
        with self._lock:
            self._outcomes.append(outcome)
            self._endings[outcome.ending] += 1
            if outcome.ending == "done":
                self._latest_s.append(outcome.finished_after_s)

    def note_setback(self, setback: Unreachable) -> None:
        with self._lock:
            self._setbacks[label(setback)] += 1

    def progress(self, now_s: float, due: int) -> Progress:
        with self._lock:
            under_way = self._begun - len(self._outcomes)
            p95_s = nearest_rank(sorted(self._latest_s), 95)
            return Progress(now_s, due, under_way, self._endings.copy(), p95_s)

    def read(self) -> tuple[tuple[Outcome, ...], Counter[str]]:
        with self._lock:
            return tuple(self._outcomes), self._setbacks.copy()


def _wind_up(phones: Sequence[Thread]) -> None:
    give_up_s = time.monotonic() + WIND_UP_S
    for phone in phones:
        if phone.is_alive():  # joining what never started is an error
            phone.join(max(0.0, give_up_s - time.monotonic()))


def _status(said: Exception | None) -> int:
    problem = said.problem if isinstance(said, Unreachable) else said
    return problem.status if isinstance(problem, Refused) else 0
