"""Many faces in one transaction come to the same as one after the other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference_server.gallery import FaceIdInUse, ModelStamp, PersonNotFound, Reference
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.store import SqlStore
from inference_server.gallery.tallies import read_tally
from tests.inference_server.references import OTHER_STAMP, STAMP, reference

ANN = reference("ann", "f1")
OLD = reference("ann", "f2", stamp=OTHER_STAMP)
RENEWED = reference("ann", "f2")
TAKEN = replace(reference("bob", "f3"), face_id="f1")
BATCHES = {
    "new": ([], [ANN, reference("bob", "f3")]),
    "repeated": ([ANN], [ANN]),
    "twice in one batch": ([], [ANN, ANN]),
    "replaced": ([OLD], [RENEWED]),
    "replaced in one batch": ([], [OLD, RENEWED]),
    "in use": ([ANN], [TAKEN]),
    "in use in one batch": ([], [ANN, TAKEN]),
    "all of them": ([ANN, OLD], [ANN, RENEWED, TAKEN, reference("cid", "f4")]),
}


def one_by_one(store: SqlStore, references: list[Reference]) -> list[str]:
    said = []
    for one in references:
        version = store.version()
        try:
            _, is_new = store.add_face(one)
        except PersonNotFound:
            store.add_person(one.person_id)
            _, is_new = store.add_face(one)
        except FaceIdInUse:
            said.append("in-use")
            continue
        changed = store.version() > version
        said.append("new" if is_new else "replaced" if changed else "repeated")
    return said


def searchable(store: SqlStore) -> dict[str, tuple[str, bytes]]:
    changes = store.changes_since(0, STAMP)
    rows = zip(changes.face_ids, changes.person_ids, changes.vectors["heatmap"], strict=True)
    return {face_id: (person_id, vector.tobytes()) for face_id, person_id, vector in rows}


def tally_of(store: SqlStore, stamp: ModelStamp) -> tuple[int, int]:
    with store.reading() as connection:
        return read_tally(connection, stamp)


@pytest.mark.parametrize(("before", "batch"), BATCHES.values(), ids=BATCHES)
def test_a_batch_is_as_one_after_the_other(store: SqlStore, tmp_path, before, batch):
    alone = SqlStore(f"sqlite:///{tmp_path}/alone.db")
    for one in (store, alone):
        one_by_one(one, [*before, reference("bob", "f0")])

    assert list(store.add_faces(batch)) == one_by_one(alone, batch)

    assert searchable(store) == searchable(alone)
    assert store.count_outdated(STAMP) == alone.count_outdated(STAMP)
    for stamp in (STAMP, OTHER_STAMP):
        assert tally_of(store, stamp) == tally_of(alone, stamp)
    alone.close()


def test_a_batch_is_one_version_and_nothing_new_is_none(store: SqlStore):
    store.add_faces([ANN, reference("bob", "f3")])
    assert store.version() == 1
    store.add_faces([ANN, TAKEN])
    store.add_faces([])
    assert store.version() == 1


def test_vectors_that_waited_in_the_shadow_are_not_made_again(store: SqlStore):
    store.add_person("ann")
    store.add_face(ANN, [reference("ann", "f1", stamp=OTHER_STAMP)])
    again = reference("ann", "f1", stamp=OTHER_STAMP)
    assert list(store.add_faces([again])) == ["repeated"]
    (found,) = store.find_enrolled(["ann"], [ANN.photo_sha256], OTHER_STAMP)
    assert found.is_current
    assert tally_of(store, STAMP) == tally_of(store, OTHER_STAMP) == (1, 1)


def test_an_index_that_was_there_before_finds_the_whole_batch(store: SqlStore):
    index = ExactIndex(store, STAMP)
    store.add_faces([ANN, OLD])
    assert index.counts().faces == 1
    store.add_faces([RENEWED, reference("bob", "f3")])
    assert (index.counts().persons, index.counts().faces) == (2, 3)


def test_what_is_enrolled_is_found_by_person_and_photo(store: SqlStore):
    store.add_faces([ANN, OLD, reference("bob", "f3")])
    photos = [ANN.photo_sha256, OLD.photo_sha256, "0" * 64]

    found = store.find_enrolled(["ann", "nobody"], photos, STAMP)

    assert {(one.face_id, one.is_current) for one in found} == {("f1", True), ("f2", False)}
    assert store.find_enrolled([], [], STAMP) == []
