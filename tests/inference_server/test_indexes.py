"""Whose snapshot lies where, and which ones go."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.store import SqlStore
from inference_server.indexes import (
    SHADOWS,
    STANDING,
    discard_unused_snapshots,
    shelf_of,
)
from inference_server.settings import Settings
from tests.inference_server.filled_gallery import fill
from tests.inference_server.references import OTHER_STAMP, STAMP

TOKEN = "a token of the tests"


def settings_of(folder: Path, **others: str) -> Settings:
    given = {"database_url": f"sqlite:///{folder / 'gallery.db'}", "internal_token": TOKEN}
    return Settings.from_mapping({name.upper(): text for name, text in (given | others).items()})


def snapshots(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*.snapshot")}


def make_snapshots(settings: Settings) -> None:
    """As a server leaves them that has two sets of networks."""
    store = SqlStore(settings.database_url)
    fill(store, 20, STAMP)
    for place in (STANDING, SHADOWS):
        ExactIndex(store, STAMP, shelf_of(settings, place), longest_tail=4).tidy()
    store.close()


@pytest.mark.parametrize(
    ("others", "left"),
    [
        ({}, {"gallery.db.index/faces.snapshot"}),
        ({"index_url": "http://milvus:19530"}, set()),
        (
            {"shadow_weights_dir": "weights"},
            {"gallery.db.index/faces.snapshot", "gallery.db.index/shadow/faces.snapshot"},
        ),
    ],
)
def test_a_snapshot_that_no_index_uses_is_discarded(
    tmp_path: Path, others: dict[str, str], left: set[str]
):
    make_snapshots(settings_of(tmp_path))
    assert len(snapshots(tmp_path)) == 2
    discard_unused_snapshots(settings_of(tmp_path, **others))
    assert snapshots(tmp_path) == left


def test_two_sets_of_networks_keep_a_snapshot_each(tmp_path: Path):
    settings = settings_of(tmp_path)
    store = SqlStore(settings.database_url)
    fill(store, 20, STAMP)
    standing, waiting = (
        ExactIndex(store, stamp, shelf_of(settings, place), longest_tail=4)
        for stamp, place in ((STAMP, STANDING), (OTHER_STAMP, SHADOWS))
    )
    for index in (standing, waiting, standing):
        index.tidy()
    assert snapshots(tmp_path) == {"gallery.db.index/faces.snapshot"}
    assert (standing.counts().faces, waiting.counts().faces) == (20, 0)
    store.close()
