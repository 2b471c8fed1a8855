"""Photos -> gallery: the bulk enrolment on every core, against one HTTP request per photo.

The demo people's photos, encoded again at other qualities so that no two files are equal. Both ways
are started and warm; each turn fills a gallery of its own. Over HTTP there are as many workers as
cores, asked by one caller (as `gateway-server reenrol` does) and by as many callers as cores.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from statistics import median

from growth import Growth
from PIL import Image
from timing import Measured, every_core

from inference_server.app import demands_of
from inference_server.bulk.pool import ProcessPool
from inference_server.bulk.progress import Progress, Report
from inference_server.bulk.run import BulkEnrolment
from inference_server.bulk.sources import open_source
from inference_server.bulk.worker import LoadShipped
from inference_server.face_pipeline import stamp_of
from inference_server.gallery.store import SqlStore
from inference_server.settings import Settings

DATA = "the shipped demo people, encoded again, and weights"
PEOPLE = Path(__file__).parents[1] / "data" / "people"
SIDE_PX = 250  # as in LFW
QUALITIES = (85, 92)
TURNS = 3
SHARES = (8, 4, 2, 1)  # of the photos, for the growth: every eighth …
TOKEN = "a token for the length of a benchmark"
START_LIMIT_S = 60.0

Photos = Sequence[tuple[str, bytes]]  # person_id, JPEG


@dataclass(frozen=True)
class Rates:
    """Faces per second, one per turn, by the figure's name; the first is ours."""

    title: str
    cores: int
    faces_per_s: dict[str, list[float]]
    labels: dict[str, str]

    def figures(self) -> dict[str, float]:
        medians = {name: round(median(rates), 1) for name, rates in self.faces_per_s.items()}
        ours, theirs, *_ = self.faces_per_s.values()
        speedup = median(a / b for a, b in zip(ours, theirs, strict=True))
        return {**medians, "enrol_speedup": round(speedup, 2), "enrol_cores": self.cores}

    def __str__(self) -> str:
        rows = [
            f"  {self.labels[name]:58} {median(rates):8.1f} faces/s   "
            f"({min(rates):.1f} to {max(rates):.1f})"
            for name, rates in self.faces_per_s.items()
        ]
        return "\n".join([self.title, *rows])


def run(_rounds: int) -> list[Measured]:
    """A few long turns instead of many short ones."""
    with every_core() as cores, tempfile.TemporaryDirectory() as folder:
        photos = _encode_again()
        sources = {
            len(photos) // share: _laid_out(photos[::share], Path(folder) / f"people-{share}")
            for share in SHARES
        }
        source = sources[len(photos)]
        with _bulk(source, Path(folder), cores) as bulk, _http(photos, folder, cores) as http:
            ways: dict[str, tuple[str, Callable[[], None]]] = {
                "enrol_faces_per_s": (f"bulk, {cores} processes", lambda: bulk(source)),
                "enrol_http_faces_per_s": ("HTTP, one caller", lambda: http(1)),
                "enrol_http_parallel_faces_per_s": (
                    f"HTTP, {cores} callers",
                    lambda: http(cores),
                ),
            }
            rates = _take_turns({name: way for name, (_, way) in ways.items()}, len(photos))
            growth = _growth(sources, bulk)
    title = f"{len(photos)} photos ({SIDE_PX} px JPEG) -> gallery (SQLite), {cores} cores"
    labels = {name: label for name, (label, _) in ways.items()}
    return [Rates(title, cores, rates, labels), growth]


def _growth(sources: Mapping[int, Path], bulk: Callable[[Path], None]) -> Growth:
    times_s: dict[int, list[float]] = {faces: [] for faces in sources}
    for _ in range(TURNS):
        for faces, source in sources.items():
            started = time.perf_counter()
            bulk(source)
            times_s[faces].append(time.perf_counter() - started)
    medians = [median(times) for times in times_s.values()]
    growth = Growth("enrol", "faces", "seconds to enrol them", list(sources), {"bulk": medians})
    growth.draw()
    return growth


def _take_turns(ways: dict[str, Callable[[], None]], faces: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            rates[name].append(faces / (time.perf_counter() - started))
    return rates


def _encode_again() -> Photos:
    photos = []
    for path in sorted(PEOPLE.glob("*/*")):
        picture = Image.open(path).convert("RGB").resize((SIDE_PX, SIDE_PX))
        for quality in QUALITIES:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=quality)
            photos.append((path.parent.name, file.getvalue()))
    return photos


def _laid_out(photos: Photos, folder: Path) -> Path:
    for number, (person_id, data) in enumerate(photos):
        (folder / person_id).mkdir(parents=True, exist_ok=True)
        (folder / person_id / f"{number}.jpg").write_bytes(data)
    return folder


@contextmanager
def _bulk(first: Path, folder: Path, cores: int) -> Iterator[Callable[[Path], None]]:
    settings = Settings.without_token({})
    load = LoadShipped(None, demands_of(settings))
    stamp, turns = stamp_of(load()), count()
    with ProcessPool(load, cores) as pool:

        def enrol(source: Path) -> None:
            store = SqlStore(f"sqlite:///{folder}/bulk-{next(turns)}.db")
            opened = open_source(source, settings.max_photo_bytes)
            progress = Progress(opened.count(), Report(None))
            BulkEnrolment(store, pool, stamp, progress).run(opened)
            store.close()
            if progress.reasons or progress.known_before:
                raise SystemExit(progress.summary())

        enrol(first)  # every process has loaded its networks
        yield enrol


@contextmanager
def _http(photos: Photos, folder: str, cores: int) -> Iterator[Callable[[int], None]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "INTERNAL_TOKEN": TOKEN,
        "DATABASE_URL": f"sqlite:///{folder}/http.db",
        "PORT": str(port),
        "WORKERS": str(cores),
        "LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, "-m", "inference_server.cli", "serve"]
    server = subprocess.Popen(command, env=environment)
    turns = count()

    def enrol(callers: int) -> None:
        turn = next(turns)
        with ThreadPoolExecutor(callers) as pool:
            shares = [photos[caller::callers] for caller in range(callers)]
            list(pool.map(lambda share: _send(port, share, turn), shares))

    try:
        _await(port)
        enrol(cores)
        yield enrol
    finally:
        server.terminate()
        server.wait()


def _send(port: int, photos: Photos, turn: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "image/jpeg"}
    for person_id, data in photos:
        person = f"/v1/persons/{person_id}-{turn}"
        for method, path, body in (("PUT", person, b""), ("POST", f"{person}/faces", data)):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status not in {200, 201}:
                raise SystemExit(f"{method} {path} answers {answer.status}")


def _await(port: int) -> None:
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("The inference server did not become ready.")
