"""What every index answers: against brute force, and in step with a store that others write to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from inference_server.gallery import Counts, ModelStamp, Resemblance, VectorIndex
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.ledger import SqlLedger
from inference_server.gallery.milvus_connection import MilvusConnection
from inference_server.gallery.milvus_faces import MilvusFaces
from inference_server.gallery.milvus_index import MilvusIndex
from inference_server.gallery.milvus_schema import KINDS
from inference_server.gallery.store import SqlStore
from tests.inference_server.references import OTHER_STAMP, STAMP, reference, unit_vectors
from tests.inference_server.scripted_log import ScriptedLog, TwoSidedLog, brute_force

Open = Callable[[ScriptedLog | SqlStore, ModelStamp], VectorIndex]

STEPS = 70


@pytest.fixture(params=["exact", "milvus-lite"])
def open_index(request: pytest.FixtureRequest) -> Open:
    """Every index of one test is derived into the same Milvus, as those of several workers are."""
    if request.param == "exact":
        return ExactIndex
    milvus: MilvusConnection = request.getfixturevalue("empty_milvus")

    def open_milvus(log: ScriptedLog | SqlStore, stamp: ModelStamp) -> VectorIndex:
        ledger = SqlLedger(log) if isinstance(log, SqlStore) else log
        return MilvusIndex(ledger, stamp, MilvusFaces(milvus, stamp, KINDS["FLAT"]))

    return open_milvus


@pytest.mark.parametrize(("persons", "faces"), [(1, 1), (40, 160), (300, 700)])
@pytest.mark.parametrize("top_k", [1, 5, 50])
def test_the_nearest_persons_are_those_of_brute_force(
    open_index: Open, persons: int, faces: int, top_k: int
):
    rng = np.random.default_rng(20)
    log = ScriptedLog()
    for number, vector in enumerate(unit_vectors(faces, seed=1)):
        log.enrol(f"p{rng.integers(persons)}", f"f{number}", vector)
    index = open_index(log, STAMP)
    for probe in unit_vectors(5, seed=2):
        assert_same(index.search("heatmap", probe, top_k).nearest, brute_force(log, probe, top_k))


def test_a_person_of_many_faces_hides_nobody(open_index: Open):
    (probe, *others) = unit_vectors(9, seed=13)
    log = ScriptedLog()
    for number, vector in enumerate(unit_vectors(600, seed=14)):
        near = probe + 0.02 * vector
        log.enrol("everywhere", f"f{number}", (near / np.linalg.norm(near)).astype(np.float32))
    for number, vector in enumerate(others):
        log.enrol(f"p{number}", f"g{number}", vector)
    found = open_index(log, STAMP).search("base", probe, 5).nearest
    assert_same(found, brute_force(log, probe, 5))


def test_the_papers_descriptors_of_16384_numbers_are_searched_as_embeddings_are(open_index: Open):
    log = ScriptedLog()
    for number, vector in enumerate(unit_vectors(70, seed=5, dimensions=16_384)):
        log.enrol(f"p{number % 30}", f"f{number}", vector)
    index = open_index(log, STAMP)
    log.remove("f3")
    for probe in unit_vectors(3, seed=6, dimensions=16_384):
        assert_same(index.search("heatmap", probe, 5).nearest, brute_force(log, probe, 5))


def test_an_index_that_follows_every_change_equals_brute_force_at_each_step(open_index: Open):
    rng = np.random.default_rng(21)
    log = ScriptedLog()
    index = open_index(log, STAMP)
    probes = unit_vectors(2, seed=3)
    for number, vector in enumerate(unit_vectors(STEPS, seed=4)):
        log.enrol(f"p{rng.integers(30)}", f"f{number}", vector)
        if rng.random() < 0.3:
            log.remove(str(rng.choice(sorted(log.faces_by_id))))
        for probe in probes:
            assert_same(index.search("base", probe, 5).nearest, brute_force(log, probe, 5))
        assert index.counts() == log.counts()


def assert_same(found: Sequence[Resemblance], expected: Sequence[Resemblance]) -> None:
    assert [(hit.person_id, hit.face_id) for hit in found] == [
        (hit.person_id, hit.face_id) for hit in expected
    ]
    for hit, wanted in zip(found, expected, strict=True):
        assert hit.similarity == pytest.approx(wanted.similarity, abs=1.5e-6)


def test_an_empty_gallery_resembles_nobody(open_index: Open):
    result = open_index(ScriptedLog(), STAMP).search("heatmap", unit_vectors(1, seed=5)[0], 5)
    assert (list(result.nearest), result.counts) == ([], Counts(0, 0, 0))


def test_equal_faces_are_ranked_by_identifier_in_whatever_order_they_came(open_index: Open):
    (probe,) = unit_vectors(1, seed=6)
    owners = {"f1": "bob", "f2": "ann", "f3": "ann", "f4": "cid"}
    orders = {STAMP: ["f1", "f2", "f3", "f4"], OTHER_STAMP: ["f4", "f2", "f1", "f3"]}
    rankings = []
    for stamp, order in orders.items():
        log = ScriptedLog()
        for face_id in order:
            log.enrol(owners[face_id], face_id, probe)
        found = open_index(log, stamp).search("base", probe, 2).nearest
        rankings.append([(hit.person_id, hit.face_id) for hit in found])
    assert rankings == [[("ann", "f2"), ("bob", "f1")]] * 2


def test_more_equal_faces_than_are_asked_for_at_once_are_ranked_by_identifier(open_index: Open):
    (probe,) = unit_vectors(1, seed=16)
    log = ScriptedLog()
    for number in reversed(range(300)):
        log.enrol(f"p{number:03}", f"f{number:03}", probe)
    found = open_index(log, STAMP).search("base", probe, 3).nearest
    assert [hit.person_id for hit in found] == ["p000", "p001", "p002"]


def test_the_same_photo_resembles_itself_by_exactly_one_at_most(open_index: Open):
    log = ScriptedLog()
    vectors = unit_vectors(50, seed=7)
    for number, vector in enumerate(vectors):
        log.enrol(f"p{number}", f"f{number}", vector)
    index = open_index(log, STAMP)
    assert all(index.search("base", vector, 1).nearest[0].similarity <= 1 for vector in vectors)


def test_each_model_searches_its_own_vectors(open_index: Open):
    log = TwoSidedLog(unit_vectors(2, seed=8))
    index = open_index(log, STAMP)
    probe = log.sides["base"][0]
    assert index.search("base", probe, 1).nearest[0].person_id == "p0"
    assert index.search("heatmap", probe, 1).nearest[0].person_id == "p1"


def test_nothing_is_read_but_the_version_while_nothing_changes(open_index: Open):
    log = ScriptedLog()
    log.enrol("ann", "f1", unit_vectors(1, seed=9)[0])
    index = open_index(log, STAMP)
    for _ in range(3):
        index.counts()
    assert log.asked_for_changes == 1


def test_a_store_put_back_to_an_older_backup_is_followed(open_index: Open):
    log = ScriptedLog()
    vectors = unit_vectors(3, seed=10)
    for number, vector in enumerate(vectors):
        log.enrol(f"p{number}", f"f{number}", vector)
    index = open_index(log, STAMP)
    index.counts()
    log.faces_by_id = {"f2": (1, "p2", vectors[2])}
    log.now = 1
    assert index.counts() == Counts(persons=1, faces=1, version=1)
    found = index.search("base", vectors[0], 5).nearest
    assert_same(found, brute_force(log, vectors[0], 5))


def test_a_face_that_went_and_came_back_with_another_photo_is_found_by_it(open_index: Open):
    log = ScriptedLog()
    first, second = unit_vectors(2, seed=15)
    log.enrol("ann", "f1", first)
    index = open_index(log, STAMP)
    index.counts()
    log.remove("f1")
    log.enrol("bob", "f1", second)
    assert_same(index.search("base", second, 5).nearest, [Resemblance("bob", "f1", 1.0)])


def test_a_person_enrolled_through_one_worker_is_found_by_the_other(
    open_index: Open, store: SqlStore, store_url: str
):
    other_store = SqlStore(store_url)
    here, there = open_index(store, STAMP), open_index(other_store, STAMP)
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


def test_an_index_of_the_old_networks_forgets_a_face_that_new_ones_embedded(
    open_index: Open, store: SqlStore
):
    index = open_index(store, STAMP)
    store.add_person("ann")
    store.add_face(reference("ann", "f1"))
    assert index.counts().faces == 1
    store.add_face(reference("ann", "f1", stamp=OTHER_STAMP))
    assert index.counts() == Counts(persons=0, faces=0, version=2)
    assert open_index(store, OTHER_STAMP).counts().faces == 1


def test_a_face_of_two_networks_is_found_by_either_and_by_its_own_vectors(
    open_index: Open, store: SqlStore
):
    store.add_person("ann")
    old, new = unit_vectors(2, seed=17)
    shadow = reference("ann", "f1", heatmap=new, stamp=OTHER_STAMP)
    store.add_face(reference("ann", "f1", heatmap=old), [shadow])
    for stamp, vector in ((STAMP, old), (OTHER_STAMP, new)):
        index = open_index(store, stamp)
        assert_same(index.search("heatmap", vector, 5).nearest, [Resemblance("ann", "f1", 1.0)])
    store.remove_person("ann")
    assert open_index(store, OTHER_STAMP).counts() == Counts(0, 0, version=2)
