"""Moments tell a gallery from its restored, exchanged or older self, on both engines."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from inference_server.gallery import BEGINNING, News, Store, StoreUnavailable
from inference_server.gallery import news as news_module
from inference_server.gallery.database import folder_beside
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.store import SqlStore
from tests.inference_server.references import OTHER_STAMP, STAMP, reference


def enrol(store: Store, *face_ids: str) -> None:
    store.add_person("ann")
    for face_id in face_ids:
        store.add_face(reference("ann", face_id))


def face_ids_in(news: News) -> list[str]:
    return sorted(str(face_id, "ascii") for batch in news.batches for face_id in batch.face_ids)


def test_a_moment_is_another_after_every_change_and_the_same_for_every_process(
    store: SqlStore, store_url: str
):
    moments = [store.moment()]
    enrol(store, "f1", "f2")
    moments.append(store.moment())
    store.remove_face("ann", "f1")
    moments.append(store.moment())
    assert [moment.version for moment in moments] == [0, 2, 3]
    assert len({moment.mark for moment in moments} | {""}) == 4
    other = SqlStore(store_url)
    assert other.moment() == moments[-1]
    other.close()


def test_news_since_the_beginning_are_all_faces_of_the_networks(store: SqlStore):
    enrol(store, "f1", "f2", "f3")
    store.remove_face("ann", "f2")
    store.add_face(reference("ann", "f4", stamp=OTHER_STAMP))
    with store.news(BEGINNING, STAMP) as news:
        assert (news.anew, news.count, news.removed) == (True, 2, frozenset())
        assert face_ids_in(news) == ["f1", "f3"]
    assert news.moment == store.moment()


def test_news_since_a_moment_hold_nothing_older(store: SqlStore):
    enrol(store, "f1", "f2")
    before = store.moment()
    store.remove_face("ann", "f1")
    enrol(store, "f3")
    with store.news(before, STAMP) as news:
        assert (news.anew, news.count, news.removed) == (False, 1, {"f1"})
        assert face_ids_in(news) == ["f3"]


def test_news_come_in_batches_with_vectors_bit_for_bit(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(news_module, "BATCH_ROWS", 2)
    enrol(store, *(f"f{number}" for number in range(5)))
    with store.news(BEGINNING, STAMP) as news:
        batches = list(news.batches)
    assert [len(batch.face_ids) for batch in batches] == [2, 2, 1]
    for batch in batches:
        for row, face_id in enumerate(batch.face_ids):
            written = reference("ann", face_id.decode())
            np.testing.assert_array_equal(batch.vectors["base"][row], written.base)
            np.testing.assert_array_equal(batch.vectors["heatmap"][row], written.heatmap)


def test_another_gallery_at_the_same_version_is_told_anew(store: SqlStore, tmp_path: Path):
    other = SqlStore(f"sqlite:///{tmp_path}/other.db")
    for each in (store, other):
        enrol(each, "f1")
    with other.news(store.moment(), STAMP) as news:
        assert (news.anew, news.count) == (True, 1)
    other.close()


def database_before_marks(path: Path) -> None:
    """As earlier versions left it: every table but `change`."""
    store = SqlStore(f"sqlite:///{path}")
    enrol(store, "f1", "f2")
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE change")
    connection.close()


def test_a_database_of_an_earlier_version_is_upgraded_and_keeps_its_faces(tmp_path: Path):
    database_before_marks(tmp_path / "gallery.db")
    stores = [SqlStore(f"sqlite:///{tmp_path}/gallery.db") for _ in range(2)]
    moments = {store.moment() for store in stores}
    (moment,) = moments
    assert moment.version == 2
    assert moment.mark != ""
    index = ExactIndex(stores[0], STAMP)
    assert index.counts().faces == 2
    stores[1].remove_face("ann", "f1")
    assert index.counts().faces == 1
    for store in stores:
        store.close()


def test_a_change_by_a_server_of_an_earlier_version_is_followed(tmp_path: Path):
    """While servers are updated one after the other, some write no marks."""
    store = SqlStore(f"sqlite:///{tmp_path}/gallery.db")
    enrol(store, "f1", "f2")
    index = ExactIndex(store, STAMP)
    assert index.counts().faces == 2
    with sqlite3.connect(tmp_path / "gallery.db") as connection:
        connection.execute("UPDATE gallery SET version = 3")
        connection.execute("DELETE FROM face WHERE face_id = 'f1'")
        connection.execute("INSERT INTO removal VALUES (3, 'f1')")
    connection.close()
    assert index.counts().faces == 1
    enrol(store, "f3")
    assert index.counts().faces == 2
    store.close()


def backup(source: Path, target: Path) -> None:
    """A consistent copy, as the README tells."""
    with sqlite3.connect(source) as here, sqlite3.connect(target) as there:
        here.backup(there)
    here.close()
    there.close()


def put_back(copy: Path, database: Path) -> None:
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    shutil.copy(copy, database.with_name("new"))
    database.with_name("new").replace(database)


@pytest.mark.parametrize("enrolled_since", [0, 1, 2, 3])
def test_a_backup_put_back_under_a_running_server_leaves_no_ghosts(
    tmp_path: Path, enrolled_since: int
):
    """Also where it has reached the old version again, by other changes."""
    database = tmp_path / "gallery.db"
    store = SqlStore(f"sqlite:///{database}")
    enrol(store, "f1")
    backup(database, tmp_path / "backup.db")
    enrol(store, "ghost1", "ghost2")
    index = ExactIndex(store, STAMP)
    assert index.counts().faces == 3
    put_back(tmp_path / "backup.db", database)
    other = SqlStore(f"sqlite:///{database}")
    enrol(other, *(f"new{number}" for number in range(enrolled_since)))
    assert index.counts() == ExactIndex(other, STAMP).counts()
    ghost = reference("ann", "ghost1").base
    found = [hit.face_id for hit in index.search("base", ghost, 5).nearest]
    assert "ghost1" not in found
    assert index.counts().faces == 1 + enrolled_since
    store.close()
    other.close()


def test_a_backup_of_an_earlier_version_is_upgraded_under_a_running_server(tmp_path: Path):
    store = SqlStore(f"sqlite:///{tmp_path}/gallery.db")
    enrol(store, "f1", "f2", "f3")
    index = ExactIndex(store, STAMP)
    assert index.counts().faces == 3
    database_before_marks(tmp_path / "old.db")
    put_back(tmp_path / "old.db", tmp_path / "gallery.db")
    with suppress(StoreUnavailable):  # at most one request is answered with the outage
        index.counts()
    assert index.counts().faces == 2
    store.close()


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("sqlite:///./data/gallery.db", "data/gallery.db.index"),
        ("sqlite:////data/gallery.db", "/data/gallery.db.index"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("postgresql://somebody@database/gallery", None),
    ],
)
def test_the_index_lies_beside_an_sqlite_file(url: str, folder: str | None):
    assert folder_beside(url) == (None if folder is None else Path(folder))
