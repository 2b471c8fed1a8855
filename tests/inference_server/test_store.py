"""The gallery's truth: the same tests for SQLite and for PostgreSQL."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest
from sqlalchemy.engine import make_url

from inference_server.gallery import (
    FaceIdInUse,
    FaceNotFound,
    PersonNotFound,
    Store,
    StoreUnavailable,
)
from inference_server.gallery.store import SqlStore
from tests.inference_server.references import (
    ENROLLED_AT,
    OTHER_STAMP,
    STAMP,
    reference,
    unit_vectors,
)


def enrol(store: Store, person_id: str, *face_ids: str) -> None:
    store.add_person(person_id)
    for face_id in face_ids:
        store.add_face(reference(person_id, face_id))


def test_a_new_store_is_empty_and_at_version_zero(store: SqlStore):
    page = store.list_persons(limit=10, after=None)
    assert (store.version(), page.persons, page.next_after) == (0, (), None)


def test_a_person_is_created_once(store: SqlStore):
    assert [store.add_person("ann")[1], store.add_person("ann")[1]] == [True, False]


def test_a_person_who_existed_is_answered_with_their_faces(store: SqlStore):
    enrol(store, "ann", "f1", "f2")
    person, created = store.add_person("ann")
    assert not created
    assert [(face.face_id, face.quality, face.created_at) for face in person.faces] == [
        ("f1", 77, ENROLLED_AT),
        ("f2", 77, ENROLLED_AT),
    ]


def test_vectors_come_back_bit_for_bit(store: SqlStore):
    enrol(store, "ann", "f1")
    written = reference("ann", "f1")
    changes = store.changes_since(0, STAMP)
    assert (changes.face_ids, changes.person_ids) == (("f1",), ("ann",))
    np.testing.assert_array_equal(changes.vectors["base"], written.base[np.newaxis])
    np.testing.assert_array_equal(changes.vectors["heatmap"], written.heatmap[np.newaxis])


def test_vectors_of_16384_numbers_come_back_bit_for_bit(store: SqlStore):
    store.add_person("ann")
    written = unit_vectors(2, seed=8, dimensions=16_384)
    for face_id, vector in zip(("f1", "f2"), written, strict=True):
        store.add_face(reference("ann", face_id, heatmap=vector))
    changes = store.changes_since(0, STAMP)
    np.testing.assert_array_equal(changes.vectors["heatmap"], written)
    assert changes.vectors["base"].shape == (2, 128)
    assert store.add_face(reference("ann", "f1"))[0].heatmap.shape == (16_384,)


def test_every_enrolment_and_removal_adds_one_to_the_version(store: SqlStore):
    versions = []
    for change in (
        lambda: store.add_person("ann"),
        lambda: store.add_face(reference("ann", "f1")),
        lambda: store.add_face(reference("ann", "f2")),
        lambda: store.remove_face("ann", "f1"),
        lambda: store.remove_person("ann"),
    ):
        change()
        versions.append(store.version())
    assert versions == [0, 1, 2, 3, 4]


def test_the_same_face_again_is_answered_with_what_is_stored(store: SqlStore):
    enrol(store, "ann", "f1")
    again = reference("ann", "f1", quality=1, created_at=ENROLLED_AT.replace(year=2027))
    stored, created = store.add_face(again)
    assert (created, stored.quality, stored.created_at) == (False, 77, ENROLLED_AT)
    assert stored.box == (10.5, 20.0, 100.0, 120.25)
    assert stored.warnings == ("several_faces",)
    assert store.version() == 1


@pytest.mark.parametrize(
    "difference",
    [{"photo_sha256": "0" * 64}, {"face_index": 1}, {"person_id": "bob"}],
    ids=["photo", "face", "person"],
)
def test_a_face_id_stands_for_one_face_of_one_photo_of_one_person(
    store: SqlStore, difference: dict[str, object]
):
    enrol(store, "ann", "f1")
    store.add_person("bob")
    with pytest.raises(FaceIdInUse, match="f1"):
        store.add_face(replace(reference("ann", "f1"), **difference))
    assert store.version() == 1


def test_the_same_face_embedded_by_other_networks_takes_the_old_ones_place(store: SqlStore):
    enrol(store, "ann", "f1")
    newer = reference("ann", "f1", stamp=OTHER_STAMP, base=unit_vectors(1, seed=9)[0])
    _, created = store.add_face(newer)
    changes = store.changes_since(1, OTHER_STAMP)
    assert (created, changes.removed, changes.face_ids) == (False, {"f1"}, ("f1",))
    np.testing.assert_array_equal(changes.vectors["base"][0], newer.base)


def test_only_faces_of_the_loaded_networks_are_searchable(store: SqlStore):
    enrol(store, "ann", "f1")
    store.add_face(reference("ann", "f2", stamp=OTHER_STAMP))
    store.add_face(reference("ann", "f3", stamp=replace(OTHER_STAMP, base="1" * 64)))
    assert store.changes_since(0, STAMP).face_ids == ("f1",)
    assert store.count_outdated(STAMP) == 2


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (lambda store: store.add_face(reference("nobody", "f9")), PersonNotFound),
        (lambda store: store.remove_person("nobody"), PersonNotFound),
        (lambda store: store.remove_face("nobody", "f1"), PersonNotFound),
        (lambda store: store.remove_face("ann", "f9"), FaceNotFound),
        (lambda store: store.remove_face("ann", "f2"), FaceNotFound),
    ],
    ids=["enrol-nobody", "remove-nobody", "face-of-nobody", "no-such-face", "face-of-another"],
)
def test_what_is_not_there_is_refused_and_changes_nothing(store: SqlStore, action, error):
    enrol(store, "ann", "f1")
    enrol(store, "bob", "f2")
    with pytest.raises(error):
        action(store)
    assert store.version() == 2
    assert store.changes_since(0, STAMP).face_ids == ("f1", "f2")


def test_a_removed_person_takes_all_faces_along_in_one_version(store: SqlStore):
    enrol(store, "ann", "f1", "f2")
    enrol(store, "bob", "f3")
    store.remove_person("ann")
    changes = store.changes_since(3, STAMP)
    assert (changes.version, changes.removed, changes.face_ids) == (4, {"f1", "f2"}, ())
    assert [person.person_id for person in store.list_persons(10, None).persons] == ["bob"]


def test_changes_since_a_version_hold_nothing_older(store: SqlStore):
    enrol(store, "ann", "f1", "f2")
    store.remove_face("ann", "f1")
    store.add_face(reference("ann", "f3"))
    changes = store.changes_since(3, STAMP)
    assert (changes.version, changes.removed, changes.face_ids) == (4, frozenset(), ("f3",))


def test_a_face_id_may_be_used_again_after_its_removal(store: SqlStore):
    enrol(store, "ann", "f1")
    store.remove_face("ann", "f1")
    _, created = store.add_face(reference("ann", "f1", photo_sha256="0" * 64))
    changes = store.changes_since(1, STAMP)
    assert (created, changes.removed, changes.face_ids) == (True, {"f1"}, ("f1",))


def test_persons_are_listed_in_pages_by_code_point(store: SqlStore):
    for person_id in ("b", "_", "A", "a", "-", "0"):
        store.add_person(person_id)
    first = store.list_persons(limit=4, after=None)
    second = store.list_persons(limit=4, after=first.next_after)
    assert [person.person_id for person in first.persons] == ["-", "0", "A", "_"]
    assert [person.person_id for person in second.persons] == ["a", "b"]
    assert second.next_after is None


def test_a_full_last_page_has_no_next(store: SqlStore):
    enrol(store, "ann", "f1")
    assert store.list_persons(limit=1, after=None).next_after is None


def test_another_process_sees_what_was_committed(store: SqlStore, store_url: str):
    enrol(store, "ann", "f1")
    other = SqlStore(store_url)
    assert (other.version(), other.changes_since(0, STAMP).face_ids) == (1, ("f1",))
    other.close()


def test_writers_of_two_processes_take_turns(store_url: str):
    stores = [SqlStore(store_url), SqlStore(store_url)]
    together = Barrier(len(stores))

    def write(number: int) -> None:
        together.wait()  # the tables, too, are made by both at once
        enrol(stores[number], f"p{number}", *(f"f{number}-{i}" for i in range(10)))

    threads = [Thread(target=write, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    changes = stores[0].changes_since(0, STAMP)
    assert (changes.version, len(changes.face_ids)) == (20, 20)
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    "url",
    ["postgresql://nobody@127.0.0.1:1/none", "sqlite:////proc/none/gallery.db"],
    ids=["refused-connection", "folder-that-cannot-be-made"],
)
def test_a_database_that_is_away_is_said_to_be_unavailable(url: str):
    store = SqlStore(url)
    with pytest.raises(StoreUnavailable):
        store.version()
    store.close()


def test_a_file_that_is_no_database_is_said_to_be_unavailable(tmp_path: Path):
    file = tmp_path / "gallery.db"
    file.write_text("not a database, and longer than the hundred bytes of a header " * 4)
    store = SqlStore(f"sqlite:///{file}")
    with pytest.raises(StoreUnavailable):
        store.version()
    store.close()


def test_a_store_that_was_away_is_used_as_soon_as_it_is_back(tmp_path: Path):
    obstacle = tmp_path / "data"
    obstacle.write_text("a file where the folder belongs")
    store = SqlStore(f"sqlite:///{obstacle}/gallery.db")
    with pytest.raises(StoreUnavailable):
        store.version()
    obstacle.unlink()
    assert store.version() == 0
    store.close()


@pytest.mark.parametrize("url", ["mysql://localhost/x", "sqlite+aiosqlite:///x.db", "gallery.db"])
def test_only_engines_that_are_known_are_opened(url: str):
    with pytest.raises(ValueError, match=r"sqlite|SQLAlchemy"):
        SqlStore(url)


def test_sqlite_keeps_readers_and_a_writer_apart_by_its_write_ahead_log(tmp_path: Path):
    store = SqlStore(f"sqlite:///{tmp_path}/gallery.db")
    store.add_person("ann")
    with sqlite3.connect(tmp_path / "gallery.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    store.close()


def test_passwords_of_the_database_are_not_in_the_refusal():
    url = make_url("postgresql://nobody@127.0.0.1:1/none").set(password="hush-hush")
    store = SqlStore(url.render_as_string(hide_password=False))
    with pytest.raises(StoreUnavailable) as caught:
        store.version()
    assert "hush-hush" not in str(caught.value)
    store.close()
