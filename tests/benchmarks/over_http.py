"""Photo in, JSON out, through both servers: at rest, and when more comes than can be done.

The gallery holds 50,000 generated faces, the gateway their people. At rest one phone at a time
sends photos of twelve megapixels; at saturation fifty send photos as the app shrinks them, and
portraits of 250 px, by the number of gateway processes and of the inference tier's.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

from embed import GRAIN, demo_photo
from generated_faces import Population, enrol, person_id
from PIL import Image
from timing import every_core

from face_models.pipeline import Pipeline
from inference_server.face_pipeline import stamp_of
from mobile_client_mock.client import Client, Connection
from mobile_client_mock.photo import Upload

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # run as a script: the drills' servers and loads are the tests' own

from tests.system.drills import loads  # noqa: E402
from tests.system.drills.estate import Estate, estate  # noqa: E402

DATA = "the shipped demo people, among people made by tests/benchmarks/generated_faces.py"
FACES = 50_000
LARGE_PX = (4000, 3000)
WARM_UPS = 5
AT_REST = 60
LOAD_S = 15.0
UNCACHED_RATE, CACHED_RATE = 60.0, 500.0  # per second: more than can be done
GATEWAY_WORKERS = (1, 2)
PLACES = (
    (2, 4),
    (1, 2),
    (2, 1),
    (2, 2),
    (3, 1),
)  # inference processes x threads, the default first
SMALL_PX = 250  # as in LFW


@dataclass(frozen=True)
class Answered:
    title: str
    values: Mapping[str, float]

    def figures(self) -> Mapping[str, float]:
        return {key: round(value, 2) for key, value in self.values.items()}

    def __str__(self) -> str:
        lines = [f"  {key:42} {value:12.2f}" for key, value in self.values.items()]
        return "\n".join([self.title, *lines])


def run(_rounds: int) -> list[Answered]:
    with every_core() as cores, tempfile.TemporaryDirectory() as folder:
        values: dict[str, float] = {"http_cores": cores}
        for workers in GATEWAY_WORKERS:
            settings = {"WORKERS": str(workers)}
            with estate(Path(folder) / f"{workers}", settings=settings) as house:
                fill(house)
                suffix = "" if workers == 1 else f"_{workers}_workers"
                if workers == 1:
                    values |= at_rest(house)
                values |= saturated(house, suffix)
                if workers == 1:
                    values |= by_places(house)
    return [Answered(f"{FACES} faces, both servers on {cores} cores", values)]


def fill(house: Estate) -> None:
    population = Population("people", FACES)
    enrol(population, house.folder / "gallery.db", stamp_of(Pipeline.load()))
    made_at = datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ")
    people = (
        (person_id(number), f"Person {number}", f"person {number}", made_at, made_at)
        for number in range(population.persons)
    )
    columns = "id, name, search_text, created_at, updated_at"
    with sqlite3.connect(house.folder / "gateway.db", timeout=30) as connection:
        connection.executemany(f"INSERT INTO person ({columns}) VALUES (?, ?, ?, ?, ?)", people)
    connection.close()


def at_rest(house: Estate) -> Mapping[str, float]:
    photos = [
        Upload(demo_photo(LARGE_PX, GRAIN, seed=number)) for number in range(WARM_UPS + AT_REST)
    ]
    times_ms = []
    with Client(Connection(house.urls[0], house.mobile_key)) as phone:
        for photo in photos:
            started = time.perf_counter()
            search = phone.begin_search(photo)
            times_ms.append(1000 * (time.perf_counter() - started))
            assert search.status == "done", search.status
            assert not search.cached
            assert len(search.candidates) > 0
    counted = times_ms[WARM_UPS:]
    return {
        "http_photo_mb": median(len(photo.data) for photo in photos) / 1e6,
        "http_p50_ms": median(counted),
        "http_p95_ms": quantiles(counted, n=20)[-1],
    }


def by_places(house: Estate) -> Mapping[str, float]:
    """Uncached searches a second, of small photos and by the inference tier's workers x threads."""
    small = small_photos(house.folder / "phone", house.folder / "small")
    rates = {"http_uncached_rps_250px": uncached(house, small)}
    for workers, threads in PLACES:
        house.inference.stop()
        house.restart_inference({"WORKERS": f"{workers}", "THREADS": f"{threads}"})
        rates[f"http_uncached_rps_{workers}x{threads}"] = uncached(house, house.folder / "phone")
    return rates


def uncached(house: Estate, photos: Path) -> float:
    loads.load(house, photos, UNCACHED_RATE / 10, LOAD_S / 3, 0.0)  # warms up
    return loads.saturate(house, photos, UNCACHED_RATE, LOAD_S, 0.0).per_s


def small_photos(source: Path, folder: Path) -> Path:
    folder.mkdir()
    for file in source.iterdir():
        with Image.open(file) as photo:
            photo.thumbnail((SMALL_PX, SMALL_PX))
            photo.save(folder / file.name, quality=90)
    return folder


def saturated(house: Estate, suffix: str) -> Mapping[str, float]:
    photos = loads.phone_photos(house.folder / "phone")
    rates = {}
    for name, rate, repeated in (
        ("uncached", UNCACHED_RATE, 0.0),
        ("cached", CACHED_RATE, loads.REPEATED),
    ):
        loads.load(house, photos, rate / 10, LOAD_S / 3, repeated)  # warms up
        rates[name] = loads.saturate(house, photos, rate, LOAD_S, repeated)
    return {f"http_{name}_rps{suffix}": one.per_s for name, one in rates.items()} | {
        f"http_{name}_processor_ms{suffix}": one.processor_ms for name, one in rates.items()
    }
