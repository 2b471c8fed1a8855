"""Which index a server searches, by its settings, and what it leaves on the disk."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from inference_server.gallery import ModelStamp
from inference_server.gallery.database import folder_beside
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.housekeeping import Housekeeping
from inference_server.gallery.ledger import SqlLedger
from inference_server.gallery.milvus_connection import MilvusConnection
from inference_server.gallery.milvus_faces import MilvusFaces
from inference_server.gallery.milvus_index import MilvusIndex
from inference_server.gallery.milvus_schema import KINDS
from inference_server.gallery.shelf import FolderShelf, MemoryShelf, Shelf
from inference_server.gallery.store import SqlStore
from inference_server.settings import BESIDE_DATABASE, Settings

log = logging.getLogger(__name__)

STANDING: Final = "."
SHADOWS: Final = "shadow"
"""Where in the index's folder the snapshot of these networks lies: one file holds one set's."""


def open_index(
    settings: Settings, store: SqlStore, stamp: ModelStamp, place: str = STANDING
) -> ExactIndex | MilvusIndex:
    """Nothing is connected or read yet."""
    if not settings.index_url:
        return ExactIndex(store, stamp, shelf_of(settings, place))
    return milvus_index(settings, store, stamp)


def look_after(index: ExactIndex | MilvusIndex) -> None:
    """In the process that searches, in the background, whether its networks answer or wait."""
    Housekeeping(index).start()


def discard_unused_snapshots(settings: Settings) -> None:
    """Nobody would take those out of them who are removed from now on."""
    used = set() if settings.index_url else {STANDING}
    if used and settings.shadow_weights_dir is not None:
        used.add(SHADOWS)
    for place in {STANDING, SHADOWS} - used:
        try:
            shelf_of(settings, place).discard()
        except OSError as error:
            log.warning("an unused snapshot could not be removed: %s", error)


def shelf_of(settings: Settings, place: str = STANDING) -> Shelf:
    """Where the exact index keeps its snapshot."""
    if settings.index_dir != BESIDE_DATABASE:
        return FolderShelf(Path(settings.index_dir) / place)
    folder = folder_beside(settings.database_url)
    return MemoryShelf() if folder is None else FolderShelf(folder / place)


def milvus_index(settings: Settings, store: SqlStore, stamp: ModelStamp) -> MilvusIndex:
    return MilvusIndex(SqlLedger(store), stamp, milvus_faces(settings, stamp))


def milvus_faces(settings: Settings, stamp: ModelStamp) -> MilvusFaces:
    connection = MilvusConnection(settings.index_url)
    return MilvusFaces(connection, stamp, KINDS[settings.index_kind])
