"""Both executors under the same tests: real processes, killed ones too, and a real Ray cluster."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

import pytest

from inference_server.bulk import Executor, WorkersUnusable, command
from inference_server.bulk.pool import ProcessPool
from inference_server.bulk.progress import Progress, Report
from inference_server.bulk.ray_cluster import RayCluster
from inference_server.bulk.run import BulkEnrolment
from inference_server.bulk.sources import open_source
from inference_server.bulk.worker import LoadPipeline
from inference_server.face_pipeline import stamp_of
from inference_server.gallery.store import SqlStore
from inference_server.settings import Settings
from tests.inference_server.bulk_sources import (
    KILLS,
    SOURCES,
    LoadNothing,
    LoadPainted,
    as_folder,
    painted_photos,
)
from tests.inference_server.painted_people import paint
from tests.inference_server.test_bulk_run import enrol_source, vectors

NEEDS_RAY = pytest.mark.skipif(
    find_spec("ray") is None, reason="the extra `ray` of the inference server is not installed"
)
KILLED_WITHIN_S = 300
Start = Callable[[LoadPipeline], AbstractContextManager[Executor]]

pytestmark = [
    pytest.mark.system,
    # what Ray 2.60 does to itself
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
    pytest.mark.filterwarnings("ignore:The minimum number of concurrent actors:UserWarning"),
    pytest.mark.filterwarnings("ignore:unclosed file <_io:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:subprocess [0-9]+ is still running:ResourceWarning"),
]


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """Two nodes with a core each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 1024 * 1024, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(num_cpus=1, object_store_memory=node["object_store_memory"])
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(params=["pool", pytest.param("ray", marks=NEEDS_RAY)])
def how(request: pytest.FixtureRequest) -> list[str]:
    """The command's options for the executor."""
    if request.param == "pool":
        return []
    return ["--ray", request.getfixturevalue("ray_address")]


@pytest.fixture
def start(how: list[str]) -> Start:
    if how:
        return lambda load: RayCluster(load, how[1])
    return lambda load: ProcessPool(load, processes=2)


def run_through(start: Start, store: SqlStore, source: Path) -> Progress:
    opened, load = open_source(source, 200_000), LoadPainted()
    progress = Progress(opened.count(), Report(None))
    with start(load) as executor:
        BulkEnrolment(store, executor, stamp_of(load()), progress).run(opened)
    return progress


@pytest.fixture
def photos() -> dict[str, bytes]:
    return {
        **painted_photos(people=6, photos=4),
        "ann/none.png": paint(),
        "ann/broken.jpg": b"\xff\xd8\xff and no more",
        "bob/deadly.png": paint((9, 9, 9)) + KILLS,
    }


def test_the_gallery_is_the_same_and_a_deadly_photo_is_refused(
    start: Start, file_store: SqlStore, tmp_path: Path, photos
):
    progress = run_through(start, file_store, as_folder(photos, tmp_path))

    reference = SqlStore(f"sqlite:///{tmp_path}/here.db")
    del photos["bob/deadly.png"]
    enrol_source(reference, SOURCES["zip"](photos, tmp_path))
    assert vectors(file_store) == vectors(reference)
    assert progress.faces == 24
    assert progress.reasons == {"no-face": 1, "unreadable-image": 1, "internal-error": 1}
    reference.close()


def test_a_killed_run_goes_on_where_it_was(how: list[str], file_store: SqlStore, tmp_path: Path):
    source = as_folder(painted_photos(people=30, photos=4), tmp_path)
    url = str(file_store._database.reading.url)
    arguments = [sys.executable, "-m", "tests.inference_server.bulk_runner", str(source), *how]
    environment = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": os.pathsep.join(sys.path)}

    with subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL) as first:
        began = monotonic()
        while file_store.version() < 2 and first.poll() is None:
            assert monotonic() - began < KILLED_WITHIN_S
            sleep(0.005)  # what it waits for needs the processor
        first.send_signal(signal.SIGKILL)
    half = len(vectors(file_store))
    second = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)

    assert first.returncode == -signal.SIGKILL
    assert 0 < half < 120
    assert second.returncode == 0, second.stderr
    assert f"{120 - half} enrolled, {half} enrolled before, 0 refused" in second.stdout
    assert len(vectors(file_store)) == 120


def test_networks_that_do_not_load_end_the_run(start: Start, file_store: SqlStore, tmp_path: Path):
    source = open_source(as_folder(painted_photos(1, 1), tmp_path), 200_000)
    stamp = stamp_of(LoadPainted()())
    progress = Progress(1, Report(None))

    with pytest.raises(WorkersUnusable), start(LoadNothing()) as executor:
        BulkEnrolment(file_store, executor, stamp, progress).run(source)


def test_a_cluster_that_is_not_there_is_said_to_be(monkeypatch, tmp_path: Path):
    asked = argparse.Namespace(source=tmp_path, report=None, processes=None, ray="127.0.0.1:1")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setattr("inference_server.bulk.ray_cluster.find_spec", lambda name: None)
    settings = Settings.without_token({"DATABASE_URL": f"sqlite:///{tmp_path}/g.db"})

    with pytest.raises(WorkersUnusable, match="extra `ray`"):
        command.run(asked, settings, LoadPainted())
