"""How the exact index keeps its vectors; what it answers is held in test_vector_index.py."""

from __future__ import annotations

from inference_server.gallery.exact_index import FIRST_CAPACITY, ExactIndex
from tests.inference_server.references import STAMP, unit_vectors
from tests.inference_server.scripted_log import ScriptedLog


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
    buffers = [vectors.buffer for vectors in index._latest.vectors.values()]
    assert not any((buffer[:2] == vectors[1]).all(axis=1).any() for buffer in buffers)
