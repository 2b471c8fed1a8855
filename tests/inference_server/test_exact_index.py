"""Exact search: against brute force, and in step with a store that others write to."""

from __future__ import annotations

import numpy as np
import pytest

from inference_server.gallery import Changes, Counts, ModelStamp, Resemblance
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.store import SqlStore
from inference_server.gallery.tail import FIRST_CAPACITY
from tests.inference_server.references import OTHER_STAMP, STAMP, reference, unit_vectors
from tests.inference_server.scripted_log import ScriptedLog, brute_force


@pytest.mark.parametrize(("persons", "faces"), [(1, 1), (40, 160), (300, 700)])
@pytest.mark.parametrize("top_k", [1, 5, 50])
def test_the_nearest_persons_are_those_of_brute_force(persons: int, faces: int, top_k: int):
    rng = np.random.default_rng(20)
    log = ScriptedLog()
    for number, vector in enumerate(unit_vectors(faces, seed=1)):
        log.enrol(f"p{rng.integers(persons)}", f"f{number}", vector)
    index = ExactIndex(log, STAMP)
    for probe in unit_vectors(5, seed=2):
        assert_same(index.search("heatmap", probe, top_k).nearest, brute_force(log, probe, top_k))


def test_the_papers_descriptors_of_16384_numbers_are_searched_as_embeddings_are():
    log = ScriptedLog()
    for number, vector in enumerate(unit_vectors(70, seed=5, dimensions=16_384)):
        log.enrol(f"p{number % 30}", f"f{number}", vector)
    index = ExactIndex(log, STAMP)
    log.remove("f3")
    for probe in unit_vectors(3, seed=6, dimensions=16_384):
        assert_same(index.search("heatmap", probe, 5).nearest, brute_force(log, probe, 5))


def test_an_index_that_follows_every_change_equals_brute_force_at_each_step():
    rng = np.random.default_rng(21)
    log = ScriptedLog()
    index = ExactIndex(log, STAMP)
    probes = unit_vectors(2, seed=3)
    for number, vector in enumerate(unit_vectors(3 * FIRST_CAPACITY, seed=4)):
        log.enrol(f"p{rng.integers(30)}", f"f{number}", vector)
        if rng.random() < 0.3:
            log.remove(str(rng.choice(sorted(log.faces))))
        for probe in probes:
            assert_same(index.search("base", probe, 5).nearest, brute_force(log, probe, 5))
        assert index.counts() == Counts(
            persons=len({person for _, person, _ in log.faces.values()}),
            faces=len(log.faces),
            version=log.now,
        )


def assert_same(found: list[Resemblance], expected: list[Resemblance]) -> None:
    assert list(found) == expected


def test_an_empty_gallery_resembles_nobody():
    result = ExactIndex(ScriptedLog(), STAMP).search("heatmap", unit_vectors(1, seed=5)[0], 5)
    assert (list(result.nearest), result.counts) == ([], Counts(0, 0, 0))


def test_equal_faces_are_ranked_by_identifier_in_whatever_order_they_came():
    (probe,) = unit_vectors(1, seed=6)
    orders = [["f1", "f2", "f3", "f4"], ["f4", "f2", "f1", "f3"]]
    owners = {"f1": "bob", "f2": "ann", "f3": "ann", "f4": "cid"}
    rankings = []
    for order in orders:
        log = ScriptedLog()
        for face_id in order:
            log.enrol(owners[face_id], face_id, probe)
        found = ExactIndex(log, STAMP).search("base", probe, 2).nearest
        rankings.append([(hit.person_id, hit.face_id) for hit in found])
    assert rankings == [[("ann", "f2"), ("bob", "f1")]] * 2


def test_the_same_photo_resembles_itself_by_exactly_one_at_most():
    log = ScriptedLog()
    vectors = unit_vectors(200, seed=7)
    for number, vector in enumerate(vectors):
        log.enrol(f"p{number}", f"f{number}", vector)
    index = ExactIndex(log, STAMP)
    assert all(index.search("base", vector, 1).nearest[0].similarity <= 1 for vector in vectors)


def test_each_model_searches_its_own_vectors():
    log = TwoSidedLog()
    index = ExactIndex(log, STAMP)
    probe = log.sides["base"][0]
    assert index.search("base", probe, 1).nearest[0].person_id == "p0"
    assert index.search("heatmap", probe, 1).nearest[0].person_id == "p1"


class TwoSidedLog(ScriptedLog):
    """Two persons whose base vectors are each other's heatmap vectors."""

    def __init__(self) -> None:
        super().__init__()
        base, heatmap = unit_vectors(2, seed=8), unit_vectors(2, seed=8)[::-1]
        self.sides = {"base": base, "heatmap": heatmap}

        self.now = 1

    def changes_since(self, version: int, stamp: ModelStamp) -> Changes:
        return Changes(1, frozenset(), ("f0", "f1"), ("p0", "p1"), self.sides)


def test_nothing_is_read_but_the_version_while_nothing_changes():
    log = ScriptedLog()
    log.enrol("ann", "f1", unit_vectors(1, seed=9)[0])
    index = ExactIndex(log, STAMP)
    for _ in range(3):
        index.counts()
    assert log.asked_for_changes == 1


def test_a_store_put_back_to_an_older_backup_is_followed():
    log = ScriptedLog()
    vectors = unit_vectors(3, seed=10)
    for number, vector in enumerate(vectors):
        log.enrol(f"p{number}", f"f{number}", vector)
    index = ExactIndex(log, STAMP)
    index.counts()
    backup = ScriptedLog()
    backup.enrol("p2", "f2", vectors[2])
    index._log = backup
    assert index.counts() == Counts(persons=1, faces=1, version=1)


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
    assert_same(index.search("base", vectors[0], 5).nearest, brute_force(restored, vectors[0], 5))


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


def test_a_person_enrolled_through_one_worker_is_found_by_the_other(
    store: SqlStore, store_url: str
):
    other_store = SqlStore(store_url)
    here, there = ExactIndex(store, STAMP), ExactIndex(other_store, STAMP)
    assert there.counts().faces == 0
    store.add_person("ann")
    store.add_face(reference("ann", "f1"))
    probe = reference("ann", "f1").heatmap
    for index in (here, there):
        assert [hit.face_id for hit in index.search("heatmap", probe, 5).nearest] == ["f1"]
    other_store.remove_person("ann")
    for index in (here, there):
        assert list(index.search("heatmap", probe, 5).nearest) == []
    other_store.close()


def test_an_index_of_the_old_networks_forgets_a_face_that_new_ones_embedded(store: SqlStore):
    index = ExactIndex(store, STAMP)
    store.add_person("ann")
    store.add_face(reference("ann", "f1"))
    assert index.counts().faces == 1
    store.add_face(reference("ann", "f1", stamp=OTHER_STAMP))
    assert index.counts() == Counts(persons=0, faces=0, version=2)
    assert ExactIndex(store, OTHER_STAMP).counts().faces == 1
