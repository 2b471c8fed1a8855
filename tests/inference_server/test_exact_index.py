"""How the exact index keeps its vectors; what it answers is held in test_vector_index.py."""

from __future__ import annotations

from inference_server.gallery import Counts
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.tail import FIRST_CAPACITY
from tests.inference_server.references import STAMP, unit_vectors
from tests.inference_server.scripted_log import ScriptedLog, brute_force


def test_a_restored_store_that_grew_past_the_old_version_keeps_no_ghosts():
    vectors = unit_vectors(6, seed=10)
    log = ScriptedLog("before the backup was put back")
    log.enrol("ghost", "f0", vectors[0])
    index = ExactIndex(log, STAMP)
    index.counts()
    restored = ScriptedLog("after")
    for number in range(1, 4):
        restored.enrol(f"p{number}", f"f{number}", vectors[number])
    index._log = restored
    assert index.counts() == Counts(persons=3, faces=3, version=3)
    found = index.search("base", vectors[0], 5).nearest
    assert list(found) == brute_force(restored, vectors[0], 5)


def test_a_reader_keeps_its_snapshot_while_others_append():
    log = ScriptedLog()
    vectors = unit_vectors(FIRST_CAPACITY, seed=11)
    log.enrol("p0", "f0", vectors[0])
    index = ExactIndex(log, STAMP)
    index.counts()
    held = index._latest
    for number in range(1, FIRST_CAPACITY):
        log.enrol(f"p{number}", f"f{number}", vectors[number])
        index.counts()
    found = held.nearest("base", vectors[1], 5)
    assert [hit.person_id for hit in found] == ["p0"]


def test_what_was_removed_does_not_stay_in_memory():
    log = ScriptedLog()
    vectors = unit_vectors(2, seed=12)
    for number, vector in enumerate(vectors):
        log.enrol(f"p{number}", f"f{number}", vector)
    index = ExactIndex(log, STAMP)
    index.counts()
    log.remove("f1")
    index.counts()
    buffers = [vectors.buffer for vectors in index._latest.tail.vectors.values()]
    assert not any((buffer[:2] == vectors[1]).all(axis=1).any() for buffer in buffers)
