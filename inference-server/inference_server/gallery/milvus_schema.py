"""What Milvus is told of the faces: names, fields, and how their vectors are indexed.

The collection's name holds the digest of the stamp and the kind of index, so vectors that must
not be compared never lie in one collection, and another kind can be built beside the one in use.

A row is a face *as it was written at a version*: `row_id` is face_id@version. Rows are never
changed. So a worker that is late can neither overwrite what a faster one knows better, nor, since
deletions name the version up to which they mean it, delete it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from face_models.spec import digest_of
from inference_server.gallery import ID_CHARS, MODELS, ModelStamp
from inference_server.gallery.ledger import VersionedFaces
from inference_server.gallery.milvus_collection import Row
from inference_server.gallery.tables import MARK_CHARS

if TYPE_CHECKING:
    from pymilvus import CollectionSchema
    from pymilvus.milvus_client.index import IndexParams

METRIC: Final = "IP"  # of rows of length 1: the cosine, as the exact index computes it
VERSION_CHARS: Final = 20
NAME_CHARS: Final = 255
STAMP_CHARS: Final = 16  # of the digest, in a collection's name


@dataclass(frozen=True, slots=True)
class Kind:
    """How vectors are indexed: parameters of the build, and of a search for `limit` rows."""

    name: str
    build: dict[str, int]
    search: dict[str, int]
    effort: str | None = None  # the parameter of a search that may not be smaller than its limit

    def search_params(self, limit: int) -> dict[str, Any]:
        effort = {self.effort: max(self.search[self.effort], limit)} if self.effort else {}
        return {"metric_type": METRIC, "params": {**self.search, **effort}}


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("FLAT", {}, {}),
        Kind("IVF_SQ8", {"nlist": 4096}, {"nprobe": 128}),
        Kind("HNSW", {"M": 16, "efConstruction": 200}, {"ef": 128}, effort="ef"),
        Kind("DISKANN", {}, {"search_list": 128}, effort="search_list"),
    )
}


def collection_name(stamp: ModelStamp, kind: Kind) -> str:
    return f"reunite_{digest_of(stamp.base, stamp.heatmap)[:STAMP_CHARS]}_{kind.name.lower()}"


def description(stamp: ModelStamp) -> str:
    """For a person who looks at the cluster; whole, unlike the name."""
    return f"faces by base={stamp.base} heatmap={stamp.heatmap}"


def face_schema(stamp: ModelStamp, dimensions: dict[str, int]) -> CollectionSchema:
    """`dimensions`: by model."""
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(description=description(stamp))
    row_id_chars = ID_CHARS + 1 + VERSION_CHARS
    schema.add_field("row_id", DataType.VARCHAR, is_primary=True, max_length=row_id_chars)
    schema.add_field("face_id", DataType.VARCHAR, max_length=ID_CHARS)
    schema.add_field("person_id", DataType.VARCHAR, max_length=ID_CHARS)
    schema.add_field("version", DataType.INT64)
    for model in MODELS:
        schema.add_field(model, DataType.FLOAT_VECTOR, dim=dimensions[model])
    return schema


def face_indexes(kind: Kind) -> IndexParams:
    from pymilvus import MilvusClient

    indexes = MilvusClient.prepare_index_params()
    for model in MODELS:
        indexes.add_index(model, kind.name, model, metric_type=METRIC, params=kind.build)
    return indexes


def face_rows(faces: VersionedFaces) -> list[Row]:
    columns = zip(faces.face_ids, faces.person_ids, faces.versions, strict=True)
    return [
        {
            "row_id": row_id(face_id, version),
            "face_id": face_id,
            "person_id": person_id,
            "version": version,
            **{model: faces.vectors[model][number] for model in MODELS},
        }
        for number, (face_id, person_id, version) in enumerate(columns)
    ]


def row_id(face_id: str, version: int) -> str:
    return f"{face_id}@{version}"


def face_id_of(row: str) -> str:
    return row.rpartition("@")[0]


def position_schema() -> CollectionSchema:
    """`collection` has followed the change log to `version`, `mark`; Milvus wants a vector, too."""
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema()
    position_chars = NAME_CHARS + 1 + VERSION_CHARS
    schema.add_field("position_id", DataType.VARCHAR, is_primary=True, max_length=position_chars)
    schema.add_field("collection", DataType.VARCHAR, max_length=NAME_CHARS)
    schema.add_field("version", DataType.INT64)
    schema.add_field("mark", DataType.VARCHAR, max_length=MARK_CHARS)
    schema.add_field("unused", DataType.FLOAT_VECTOR, dim=2)
    return schema


def position_indexes() -> IndexParams:
    from pymilvus import MilvusClient

    indexes = MilvusClient.prepare_index_params()
    indexes.add_index("unused", "FLAT", "unused", metric_type=METRIC)
    return indexes
