"""Loads of half a second against a gateway that answers as a test says."""

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from mobile_client_mock import cli, load
from mobile_client_mock.client import Connection, Patience, SearchOptions
from mobile_client_mock.errors import UnusablePhoto
from mobile_client_mock.load import Album, Load, Progress, schedule
from mobile_client_mock.load_report import LoadReport, Outcome, Plan, nearest_rank
from tests.mobile_client_mock.conftest import KEY
from tests.mobile_client_mock.documents import QUEUED, SEARCH
from tests.mobile_client_mock.fake_gateway import FakeGateway, Reply, Seen, ok, problem

BRIEF = Plan(phones=8, rate_per_s=60, duration_s=0.4, repeat_share=0.5, seed=1)
ONE_PHONE = Plan(phones=1, rate_per_s=60, duration_s=0.6, repeat_share=0.5, seed=1)
LONG = Plan(phones=1, rate_per_s=100, duration_s=100, repeat_share=0.3, seed=7)
AT_ONCE = Patience(attempts=1, first_delay_s=0.01, poll_s=0.01)
Play = Callable[..., LoadReport]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, colour in {"ada/1.png": "teal", "bo.webp": "tan"}.items():
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), colour).save(file)
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "LOOK_EVERY_S", 0.01)


def look_away(_progress: Progress) -> None:
    pass


@pytest.fixture
def play(gateway: FakeGateway, photos: Path) -> Play:
    def play(
        plan: Plan = BRIEF,
        patience: Patience = AT_ONCE,
        watch: Callable[[Progress], None] = look_away,
    ) -> LoadReport:
        connection = Connection(gateway.url, KEY, patience)
        return Load(plan, Album.read(photos, plan.seed), connection, SearchOptions()).run(watch)

    return play


class Caching:
    """Knows a photo that it has seen, as the gateway's cache does."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def __call__(self, request: Seen) -> Reply:
        (photo,) = (content for name, _, content in request.parts if name == "photo")
        cached = photo in self._known
        self._known.add(photo)
        return ok({**SEARCH, "cached": cached}, 201)


def counts(report: LoadReport) -> dict[str, int]:
    counted: dict[str, int] = report.document()["searches"]
    return counted


def test_arrivals_are_poissons_and_the_seeds() -> None:
    arrivals = schedule(LONG)
    assert arrivals == schedule(LONG)
    assert arrivals[:5] != schedule(Plan(1, 100, 100, 0.3, seed=8))[:5]
    due_s = [one.due_s for one in arrivals]
    assert due_s == sorted(due_s)
    assert due_s[-1] < LONG.duration_s
    assert abs(len(arrivals) - 10_000) < 5 * math.sqrt(10_000)
    gaps_s = [after - before for before, after in pairwise(due_s)]
    longer = sum(gap_s > 0.01 for gap_s in gaps_s) / len(gaps_s)
    assert longer == pytest.approx(1 / math.e, abs=0.03), "exponential: memory of nothing"


def test_a_repeated_photo_was_due_before() -> None:
    numbers = [one.photo for one in schedule(LONG)]
    seen: set[int] = set()
    repeats = 0
    for number in numbers:
        repeats += number in seen
        assert number in seen or number == len(seen)
        seen.add(number)
    assert repeats / len(numbers) == pytest.approx(0.3, abs=0.03)


def test_photos_differ_by_number_and_by_seed(photos: Path) -> None:
    album = Album.read(photos, seed=1)
    made = [album.photo(number).data for number in range(40)]
    assert len(set(made)) == 40
    assert made[7] == Album.read(photos, seed=1).photo(7).data
    album.make_ahead([7, 7, 8])
    assert album.photo(7).data == made[7]
    assert album.photo(7) is album.photo(7), "it was made ahead, once"
    assert not set(made) & {Album.read(photos, seed=2).photo(number).data for number in range(40)}


def test_a_folder_without_photos_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusablePhoto, match="has no photos"):
        Album.read(tmp_path, seed=1)


def test_every_arrival_is_counted_once_and_repeats_meet_the_cache(
    gateway: FakeGateway, play: Play
) -> None:
    gateway.decide = Caching()
    report = play()
    due = len(schedule(BRIEF))
    none = dict.fromkeys(("refused", "failed", "lost", "unended"), 0)
    assert counts(report) == {"due": due, "accepted": due, "done": due, **none}
    photos = {one.photo for one in schedule(BRIEF)}
    fresh, cached = (report.finished_after(cached=known) for known in (False, True))
    assert fresh
    assert cached
    assert (fresh.count, cached.count) == (len(photos), due - len(photos))
    assert sum(report.done_per_s) == due
    assert report.is_clean
    keys = [request.headers["Idempotency-Key"] for request in gateway.seen]
    assert len(set(keys)) == due


def test_no_search_starts_before_it_is_due_and_latency_counts_from_there(
    gateway: FakeGateway, play: Play
) -> None:
    gateway.answers(ok(SEARCH, 201))
    report = play()
    assert sorted(one.due_s for one in report.outcomes) == [one.due_s for one in schedule(BRIEF)]
    for one in report.outcomes:
        assert one.due_s <= one.started_s <= (one.accepted_s or 0) <= one.ended_s
        assert one.finished_after_s == one.ended_s - one.due_s


def test_a_stall_is_charged_for_all_that_it_kept_from_starting(
    gateway: FakeGateway, play: Play
) -> None:
    stall_s, stalled = 0.3, 5

    def answer(_request: Seen) -> Reply:
        if len(gateway.seen) == stalled:
            time.sleep(stall_s)
        return ok(SEARCH, 201)

    gateway.decide = answer
    outcomes = sorted(play(ONE_PHONE).outcomes, key=lambda one: one.due_s)
    released_s = outcomes[stalled - 1].started_s + stall_s
    kept = [one for one in outcomes[stalled:] if one.due_s < released_s]
    assert len(kept) > 5
    for one in kept:
        assert one.finished_after_s >= released_s - one.due_s
        assert one.started_s >= released_s


def test_phones_do_not_wait_for_each_other(gateway: FakeGateway, play: Play) -> None:
    together = threading.Barrier(2, timeout=30)

    def answer(_request: Seen) -> Reply:
        if len(gateway.seen) <= 2:
            together.wait()  # the first is answered when the second is there
        return ok(SEARCH, 201)

    gateway.decide = answer
    assert play(Plan(phones=2, rate_per_s=60, duration_s=0.2, repeat_share=0, seed=1)).is_clean


def test_a_queued_search_is_accepted_before_it_is_finished(
    gateway: FakeGateway, play: Play
) -> None:
    gateway.decide = lambda seen: ok(QUEUED, 202) if seen.method == "POST" else ok(SEARCH)
    report = play()
    assert counts(report)["done"] == counts(report)["due"]
    assert all((one.accepted_s or 0) + AT_ONCE.poll_s <= one.ended_s for one in report.outcomes)


FAILED = {**QUEUED, "status": "failed"}
NO_FACE = {"type": "urn:reunite:problem:no-face", "title": "No face", "status": 422}
AWAY = {"type": "urn:reunite:problem:away", "title": "Away", "status": 503}
ENDINGS = {
    "refused at once": (problem(422, "no-face"), None, "refused", "422 no-face", True),
    "refused for the rate": (problem(429, "slow"), None, "refused", "429 slow", True),
    "away": (problem(503, "not-ready"), None, "failed", "503 not-ready", True),
    "a defect": (problem(500, "internal"), None, "failed", "500 internal", False),
    "nobody's problem": (Reply(502, b"<html>"), None, "failed", "502", True),
    "no answer": (Reply(201, hangs_up="before"), None, "failed", "no answer in time", True),
    "nonsense": (Reply(201, b"<html>"), None, "failed", "not understood", True),
    "refused later": (
        ok(QUEUED, 202), ok({**FAILED, "problem": NO_FACE}), "refused", "422 no-face", True,
    ),
    "failed later": (
        ok(QUEUED, 202), ok({**FAILED, "problem": AWAY}), "lost", "503 away", False,
    ),
    "gone": (
        ok(QUEUED, 202), problem(404, "search-not-found"), "lost", "404 search-not-found", False,
    ),
    "never ended": (ok(QUEUED, 202), ok(QUEUED), "lost", "no answer in time", False),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDINGS)
def test_each_ending_is_counted_by_its_reason(gateway: FakeGateway, play: Play, case: str) -> None:
    posted, polled, ending, reason, is_clean = ENDINGS[case]
    gateway.decide = lambda seen: posted if seen.method == "POST" or not polled else polled
    within_s = 0.03 if case == "never ended" else 30
    patience = Patience(attempts=1, poll_s=0.01, finish_within_s=within_s)
    report = play(Plan(phones=8, rate_per_s=60, duration_s=0.1, repeat_share=0, seed=1), patience)
    due = len(report.due_s)
    assert due > 0
    assert report.reasons == {(ending, reason): due}
    assert counts(report)[ending] == due
    assert counts(report)["accepted"] == (due if polled else 0)
    assert report.is_clean is is_clean


def test_what_was_tried_again_is_counted_by_its_reason(gateway: FakeGateway, play: Play) -> None:
    asked: Counter[str] = Counter()

    def answer(request: Seen) -> Reply:
        key = request.headers["Idempotency-Key"]
        asked[key] += 1
        return ok(SEARCH, 201) if asked[key] > 1 else problem(503, "not-ready")

    gateway.decide = answer
    report = play(patience=Patience(attempts=2, first_delay_s=0.01))
    due = len(report.due_s)
    assert counts(report)["done"] == due
    assert report.setbacks == {"503 not-ready": due}


def ended(due_s: float, ended_s: float, started_s: float | None = None) -> Outcome:
    started_s = due_s if started_s is None else started_s
    return Outcome(due_s, started_s, ended_s, ended_s, False, True, 0, "")


KEPT_UP = [ended(due_s, due_s + 0.5) for due_s in range(10)]
LAST_IS_LATE = [ended(due_s, due_s + 1.5) for due_s in range(10)]
TWO_SECONDS_EACH = [ended(n, 2 * n + 2, started_s=2 * n) for n in range(10)]


@pytest.mark.parametrize(
    ("outcomes", "achieved_per_s", "is_saturated"),
    [(KEPT_UP, 1.0, False), (LAST_IS_LATE, 0.9, False), (TWO_SECONDS_EACH, 0.5, True)],
)
def test_saturation_is_what_did_not_end_though_it_could_have(
    outcomes: list[Outcome], achieved_per_s: float, is_saturated: bool
) -> None:
    due_s = tuple(one.due_s for one in outcomes)
    report = LoadReport(LONG, 10.0, due_s, tuple(outcomes), Counter(), is_interrupted=False)
    assert (report.offered_per_s, report.achieved_per_s) == (1.0, achieved_per_s)
    assert report.is_saturated is is_saturated
    assert counts(report)["done"] == 10, "late or not"


@pytest.mark.parametrize("is_interrupted", [True, False])
def test_only_an_interruption_explains_what_did_not_end(is_interrupted: bool) -> None:
    done = (ended(0.0, 0.5),)
    report = LoadReport(LONG, 10.0, (0.0, 1.0), done, Counter(), is_interrupted=is_interrupted)
    assert report.unended == 1
    assert report.is_clean is is_interrupted


def test_an_interrupted_load_tells_what_it_has_measured(gateway: FakeGateway, play: Play) -> None:
    gateway.answers(ok(SEARCH, 201))

    def interrupt(progress: Progress) -> None:
        if progress.endings["done"] >= 3:
            raise KeyboardInterrupt

    report = play(
        Plan(phones=4, rate_per_s=60, duration_s=600, repeat_share=0, seed=1), watch=interrupt
    )
    assert report.is_interrupted
    assert report.window_s < 600
    assert counts(report)["done"] >= 3
    assert counts(report)["due"] == counts(report)["done"] + report.unended


def test_a_load_in_which_nothing_was_due_is_reported_all_the_same(play: Play) -> None:
    report = play(Plan(phones=4, rate_per_s=0.001, duration_s=0.01, repeat_share=0, seed=1))
    assert set(counts(report).values()) == {0}
    assert not report.is_saturated


@pytest.mark.parametrize(
    ("percent", "found"), [(1, 15), (30, 20), (40, 20), (50, 35), (95, 50), (100, 50)]
)
def test_the_nearest_rank(percent: int, found: float) -> None:
    assert nearest_rank([15, 20, 35, 40, 50], percent) == found


@pytest.fixture
def command(gateway: FakeGateway, photos: Path) -> list[str]:
    brief = ["--phones", "8", "--rate", "60", "--duration", "0.3", "--photos", str(photos)]
    return ["load", *brief, "--url", gateway.url, "--key", KEY, "--attempts", "1"]


def test_the_load_is_shown_and_written(
    gateway: FakeGateway, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.decide = Caching()
    assert cli.main([*command, "--json", str(tmp_path / "load.json")]) == 0
    shown = capsys.readouterr().out
    written = json.loads((tmp_path / "load.json").read_text())
    searches = written["searches"]
    assert f"{searches['due']} searches in 0.3 s" in shown
    assert f"seed {written['plan']['seed']}" in shown
    for words in ("p99", "finished, cached", "waiting for a phone", "done per second"):
        assert words in shown
    assert searches["done"] + searches["failed"] == searches["due"] == len(gateway.seen)
    assert written["latencies"]["finished_uncached"]["p99_s"] > 0


def test_a_500_and_a_lost_search_are_seen_in_the_exit_code(
    gateway: FakeGateway, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers(problem(500, "internal-error"))
    assert cli.main(command) == 1
    assert "500 internal-error" in capsys.readouterr().out
    gateway.answers(ok(QUEUED, 202))
    assert cli.main([*command, "--finish-within", "0.05"]) == 1
    assert "Lost: acknowledged" in capsys.readouterr().out


def test_figures_that_cannot_be_written_are_an_error_in_words(
    gateway: FakeGateway, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers(ok(SEARCH, 201))
    assert cli.main([*command, "--json", str(tmp_path / "no" / "load.json")]) == 7
    assert "load.json cannot be written" in capsys.readouterr().err
