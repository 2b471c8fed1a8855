"""The index's snapshot: equal to what SQL tells, or made anew; and nobody stays in it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event, Thread

import numpy as np
import pytest

from inference_server.gallery import ModelStamp, StoreUnavailable
from inference_server.gallery import segment as segment_module
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.housekeeping import Housekeeping
from inference_server.gallery.shelf import PARTIAL, SNAPSHOT, FolderShelf
from tests.inference_server.references import OTHER_STAMP, STAMP, unit_vectors
from tests.inference_server.scripted_log import ScriptedLog, brute_force

SHORT_TAIL = 10
VECTORS = unit_vectors(300, seed=30)
PROBE = unit_vectors(1, seed=31)[0]


@pytest.fixture(autouse=True)
def codes_from_the_first_face(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_module, "CODES_FROM", 1)


@pytest.fixture
def log() -> ScriptedLog:
    made = ScriptedLog()
    made.enrol_all([f"p{row % 90}" for row in range(len(VECTORS))], VECTORS)
    return made


def worker(log: ScriptedLog, folder: Path, stamp: ModelStamp = STAMP) -> ExactIndex:
    return ExactIndex(log, stamp, FolderShelf(folder), longest_tail=SHORT_TAIL)


def assert_right(index: ExactIndex, log: ScriptedLog) -> None:
    for probe in (PROBE, VECTORS[7]):
        assert list(index.search("heatmap", probe, 5).nearest) == brute_force(log, probe, 5)
    assert index.counts().faces == len(log.faces_by_id)


def bytes_of(row: int) -> bytes:
    return VECTORS[row].tobytes()


def all_files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_the_next_worker_reads_the_snapshot_and_not_the_log(log: ScriptedLog, tmp_path: Path):
    assert_right(worker(log, tmp_path), log)
    asked = log.asked_for_changes
    log.enrol("late", "late", PROBE)
    log.remove("f0000005")
    second = worker(log, tmp_path)
    assert_right(second, log)
    assert (log.asked_for_changes - asked, second._latest.base.segment.count) == (1, 300)


def test_a_snapshot_is_its_owners_alone(log: ScriptedLog, tmp_path: Path):
    old_mask = os.umask(0)
    try:
        worker(log, tmp_path / "index").counts()
    finally:
        os.umask(old_mask)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "index").iterdir()}
    assert modes == {SNAPSHOT: 0o600, "faces.lock": 0o600}
    assert stat.S_IMODE((tmp_path / "index").stat().st_mode) == 0o700


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5000] ^= 1
    path.write_bytes(content)


def flip_a_bit_of_the_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[120] ^= 1
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def cut_off_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit": flip_a_bit,
    "a bit of the header": flip_a_bit_of_the_header,
    "cut off": cut_off,
    "cut off in the header": cut_off_the_header,
    "empty": lambda path: path.write_bytes(b""),
    "something else": lambda path: path.write_text("not a snapshot\n" * 1000),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_snapshot_is_made_anew(log: ScriptedLog, tmp_path: Path, damage: str):
    worker(log, tmp_path).counts()
    sound = (tmp_path / SNAPSHOT).read_bytes()
    DAMAGES[damage](tmp_path / SNAPSHOT)
    assert_right(worker(log, tmp_path), log)
    assert (tmp_path / SNAPSHOT).read_bytes() == sound


def test_a_snapshot_of_other_networks_is_made_anew(log: ScriptedLog, tmp_path: Path):
    worker(log, tmp_path, OTHER_STAMP).counts()
    index = worker(log, tmp_path)
    assert_right(index, log)
    asked = log.asked_for_changes
    assert_right(worker(log, tmp_path), log)
    assert log.asked_for_changes == asked + 1  # what came since: nothing, but it was this model's


def test_a_snapshot_of_another_gallery_at_the_same_version_is_made_anew(
    log: ScriptedLog, tmp_path: Path
):
    worker(log, tmp_path).counts()
    exchanged = ScriptedLog("another")
    exchanged.enrol_all([f"q{row}" for row in range(300)], unit_vectors(300, seed=32))
    assert exchanged.now == log.now
    index = worker(exchanged, tmp_path)
    assert_right(index, exchanged)
    index.tidy()
    assert bytes_of(7) not in all_files(tmp_path)


@pytest.mark.parametrize("left_by", [OTHER_STAMP, STAMP])
def test_a_gallery_too_small_for_a_snapshot_keeps_no_foreign_one(
    log: ScriptedLog, tmp_path: Path, left_by: ModelStamp
):
    worker(log, tmp_path, left_by).counts()
    small = ScriptedLog("another")
    small.enrol("ann", "f1", PROBE)
    index = worker(small, tmp_path)
    assert index.counts().faces == 1
    index.tidy()
    assert not (tmp_path / SNAPSHOT).exists()
    assert_right(index, small)


def test_who_was_removed_leaves_the_file_and_every_workers_memory(log: ScriptedLog, tmp_path: Path):
    here, there = worker(log, tmp_path), worker(log, tmp_path)
    assert_right(here, log)
    assert_right(there, log)
    assert bytes_of(7) in all_files(tmp_path)
    log.remove("f0000007")
    here.tidy()
    there.tidy()
    assert bytes_of(7) not in all_files(tmp_path)
    for index in (here, there):
        assert_right(index, log)
        assert index._latest.base.segment.count == 299
        vectors = index._latest.base.segment.columns["base/vectors"]
        assert not (vectors == VECTORS[7]).all(axis=1).any()


def test_who_was_removed_while_nobody_served_leaves_the_file_at_the_next_start(
    log: ScriptedLog, tmp_path: Path
):
    worker(log, tmp_path).counts()
    log.remove("f0000007")
    worker(log, tmp_path).tidy()
    assert bytes_of(7) not in all_files(tmp_path)


def test_a_long_tail_becomes_part_of_the_snapshot(log: ScriptedLog, tmp_path: Path):
    index = worker(log, tmp_path)
    index.counts()
    for number, vector in enumerate(unit_vectors(SHORT_TAIL + 1, seed=33)):
        log.enrol(f"late{number}", f"late{number}", vector)
    index.tidy()
    assert_right(index, log)
    assert (index._latest.base.segment.count, len(index._latest.tail)) == (311, 0)


def test_nothing_is_written_while_nothing_changes(log: ScriptedLog, tmp_path: Path):
    index = worker(log, tmp_path)
    index.tidy()
    written = (tmp_path / SNAPSHOT).stat()
    index.tidy()
    assert (tmp_path / SNAPSHOT).stat().st_ino == written.st_ino


def test_a_search_keeps_its_view_while_the_snapshot_is_replaced(log: ScriptedLog, tmp_path: Path):
    index = worker(log, tmp_path)
    index.counts()
    held, expected = index._latest, brute_force(log, VECTORS[7], 5)
    log.remove("f0000007")
    index.tidy()
    assert held.nearest("heatmap", VECTORS[7], 5) == expected


def test_where_the_folder_cannot_be_used_the_index_stays_in_memory(
    log: ScriptedLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").write_text("where the folder belongs")
    index = worker(log, tmp_path / "file")
    assert_right(index, log)
    index.tidy()
    assert "kept in memory" in caplog.text


def test_a_full_disk_leaves_neither_half_a_snapshot_nor_the_old_one(
    log: ScriptedLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    index = worker(log, tmp_path)
    index.counts()
    log.remove("f0000007")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    index.tidy()
    assert_right(index, log)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.lock"]


class OftenBroken:
    """Raises once in two turns."""

    def __init__(self) -> None:
        self.turns = 0
        self.tidied = Event()

    def tidy(self) -> None:
        self.turns += 1
        if self.turns % 2:
            raise ValueError("whatever it is")
        self.tidied.set()


def test_housekeeping_goes_on_whatever_went_wrong_once(caplog: pytest.LogCaptureFixture):
    broken = OftenBroken()
    housekeeping = Housekeeping(broken, every_s=0.001)
    housekeeping.start()
    assert broken.tidied.wait(30)
    housekeeping.stop()
    assert "whatever it is" in caplog.text


def test_a_snapshot_of_people_who_are_all_gone_is_let_go(log: ScriptedLog, tmp_path: Path):
    shelf = FolderShelf(tmp_path)
    index = ExactIndex(log, STAMP, shelf, longest_tail=SHORT_TAIL)
    index.counts()
    assert (tmp_path / SNAPSHOT).exists()
    log.remove(*list(log.faces_by_id))
    index.tidy()
    assert not (tmp_path / SNAPSHOT).exists()
    assert shelf._latest is None


def test_a_log_that_breaks_off_leaves_no_snapshot(log: ScriptedLog, tmp_path: Path):
    index = worker(log, tmp_path)
    healthy = log._faces

    def away(face_ids):
        found = healthy(face_ids)
        return replace(found, vectors={name: rows[:100] for name, rows in found.vectors.items()})

    log._faces = away  # fewer vectors than identifiers: the batches end in an error
    with pytest.raises((StoreUnavailable, ValueError)):
        index.counts()
    assert not (tmp_path / SNAPSHOT).exists()
    assert not (tmp_path / PARTIAL).exists()
    log._faces = healthy
    assert_right(index, log)


WRITER = """
import os, signal, sys
from pathlib import Path
from inference_server.gallery import segment, snapshot
from tests.inference_server.scripted_log import ScriptedLog
from tests.inference_server.test_snapshots import VECTORS, worker

segment.CODES_FROM = 1
log = ScriptedLog()
log.enrol_all([f"p{row % 90}" for row in range(300)], VECTORS)
if sys.argv[2] == "killed":
    snapshot._digest_of_rest = lambda file: os.kill(os.getpid(), signal.SIGKILL)
print(worker(log, Path(sys.argv[1])).counts().faces)
"""


def writer(folder: Path, fate: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), fate],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_worker_killed_while_it_writes_leaves_nothing_that_is_taken_for_a_snapshot(
    log: ScriptedLog, tmp_path: Path
):
    with writer(tmp_path, "killed") as killed:
        assert killed.wait() == -9
    assert (tmp_path / PARTIAL).exists()
    index = worker(log, tmp_path)
    assert_right(index, log)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.lock", SNAPSHOT]


def test_what_a_killed_worker_left_goes_even_if_no_snapshot_is_needed(tmp_path: Path):
    with writer(tmp_path, "killed") as killed:
        killed.wait()
    small = ScriptedLog("small")
    worker(small, tmp_path).tidy()
    assert [path.name for path in tmp_path.iterdir()] == ["faces.lock"]


def test_two_processes_that_start_together_make_one_sound_snapshot(
    log: ScriptedLog, tmp_path: Path
):
    processes = [writer(tmp_path, "lives") for _ in range(2)]
    assert [process.communicate()[0] for process in processes] == ["300\n", "300\n"]
    assert_right(worker(log, tmp_path), log)


def test_searches_enrolments_and_tidying_side_by_side_stay_right(log: ScriptedLog, tmp_path: Path):
    """Each answer is complete for the persons who are there all the time."""
    index = worker(log, tmp_path)
    expected = brute_force(log, VECTORS[7], 1)
    together, failures = Barrier(3), []

    def search() -> None:
        together.wait()
        for _ in range(200):
            found = list(index.search("heatmap", VECTORS[7], 1).nearest)
            if found != expected:
                failures.append(found)

    def change() -> None:
        together.wait()
        for number, vector in enumerate(unit_vectors(40, seed=34)):
            log.enrol("late", f"late{number}", vector)
            log.remove(f"f{100 + number:07}")
            index.counts()

    def tidy() -> None:
        together.wait()
        for _ in range(15):
            index.tidy()

    threads = [Thread(target=work) for work in (search, change, tidy)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert_right(index, log)


def test_descriptors_of_16384_numbers_have_a_snapshot_too(tmp_path: Path):
    log = ScriptedLog()
    vectors = unit_vectors(60, seed=35, dimensions=16_384)
    log.enrol_all([f"p{row % 20}" for row in range(60)], vectors)
    for _ in range(2):
        index = worker(log, tmp_path)
        found = index.search("heatmap", vectors[3], 5).nearest
        assert list(found) == brute_force(log, vectors[3], 5)
    np.testing.assert_array_equal(
        index._latest.base.take("heatmap", np.array([3, 9, 30])), vectors[[3, 9, 30]]
    )


class Sometimes:
    """An index whose database is away at first."""

    def __init__(self) -> None:
        self.tidied = 0
        self.done: Barrier = Barrier(2, timeout=10)

    def tidy(self) -> None:
        self.tidied += 1
        if self.tidied == 1:
            raise StoreUnavailable("away")
        if self.tidied == 2:
            self.done.wait()


def test_housekeeping_outlives_an_outage_and_ends_when_it_is_told():
    index = Sometimes()
    housekeeping = Housekeeping(index, every_s=0.001)
    housekeeping.start()
    index.done.wait()
    housekeeping.stop()
    assert index.tidied >= 2
