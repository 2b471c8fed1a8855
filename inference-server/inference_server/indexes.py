"""Which index a server searches, by its settings."""

from __future__ import annotations

from inference_server.gallery import ModelStamp, VectorIndex
from inference_server.gallery.exact_index import ExactIndex
from inference_server.gallery.ledger import SqlLedger
from inference_server.gallery.milvus_connection import MilvusConnection
from inference_server.gallery.milvus_faces import MilvusFaces
from inference_server.gallery.milvus_index import MilvusIndex
from inference_server.gallery.milvus_schema import KINDS
from inference_server.gallery.store import SqlStore
from inference_server.settings import Settings


def open_index(settings: Settings, store: SqlStore, stamp: ModelStamp) -> VectorIndex:
    """Nothing is connected or read yet."""
    if not settings.index_url:
        return ExactIndex(store, stamp)
    return milvus_index(settings, store, stamp)


def milvus_index(settings: Settings, store: SqlStore, stamp: ModelStamp) -> MilvusIndex:
    return MilvusIndex(SqlLedger(store), stamp, milvus_faces(settings, stamp))


def milvus_faces(settings: Settings, stamp: ModelStamp) -> MilvusFaces:
    connection = MilvusConnection(settings.index_url)
    return MilvusFaces(connection, stamp, KINDS[settings.index_kind])
