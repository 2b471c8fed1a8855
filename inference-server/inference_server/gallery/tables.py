"""The gallery's tables: identifiers and vectors, no names and no photos."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

from inference_server.gallery import ID_CHARS

SHA256_CHARS: Final = 64
MARK_CHARS: Final = 16

metadata = MetaData()


def _identifier() -> String:
    """Sorted by code point on every engine, so that pages come in one order."""
    return String(ID_CHARS).with_variant(String(ID_CHARS, collation="C"), "postgresql")


gallery = Table(
    "gallery",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    comment="One row; its lock admits one writer at a time",
)

person = Table(
    "person",
    metadata,
    Column("person_id", _identifier(), primary_key=True),
)

face = Table(
    "face",
    metadata,
    Column("face_id", _identifier(), primary_key=True),
    Column("person_id", _identifier(), ForeignKey(person.c.person_id), nullable=False, index=True),
    Column("version", Integer, nullable=False, index=True, comment="of the gallery, when written"),
    Column("base", LargeBinary, nullable=False, comment="float32, little-endian"),
    Column("heatmap", LargeBinary, nullable=False, comment="float32, little-endian"),
    Column("base_sha256", String(SHA256_CHARS), nullable=False),
    Column("heatmap_sha256", String(SHA256_CHARS), nullable=False),
    Column("photo_sha256", String(SHA256_CHARS), nullable=False),
    Column("face_index", Integer, nullable=False),
    Column("box", Text, nullable=False, comment="JSON: x, y, width, height in the full photo"),
    Column("quality", Integer, nullable=False),
    Column("warnings", Text, nullable=False, comment="JSON: names"),
    Column("created_at", Text, nullable=False, comment="ISO 8601 with offset"),
    Index("face_by_stamp", "base_sha256", "heatmap_sha256"),
)

removal = Table(
    "removal",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("face_id", _identifier(), primary_key=True),
    comment="What an index has to forget when it catches up",
)

departure = Table(
    "departure",
    metadata,
    Column("kind", String(6), primary_key=True, comment="person or face"),
    Column("identifier", _identifier(), primary_key=True),
    comment="Whoever was deleted stays so for bulk runs; a person who is registered again leaves",
)

change = Table(
    "change",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("mark", String(MARK_CHARS), nullable=False, comment="random, drawn by this change"),
    comment="One row a change: tells a gallery from its restored or exchanged twin",
)

embedding = Table(
    "embedding",
    metadata,
    Column("face_id", _identifier(), ForeignKey(face.c.face_id), primary_key=True),
    Column("base_sha256", String(SHA256_CHARS), primary_key=True),
    Column("heatmap_sha256", String(SHA256_CHARS), primary_key=True),
    Column("version", Integer, nullable=False, index=True, comment="of the gallery, when written"),
    Column("base", LargeBinary, nullable=False, comment="float32, little-endian"),
    Column("heatmap", LargeBinary, nullable=False, comment="float32, little-endian"),
    Index("embedding_by_stamp", "base_sha256", "heatmap_sha256"),
    comment="The same faces by other networks, while one set takes the other's place",
)

tally = Table(
    "tally",
    metadata,
    Column("base_sha256", String(SHA256_CHARS), primary_key=True),
    Column("heatmap_sha256", String(SHA256_CHARS), primary_key=True),
    Column("persons", Integer, nullable=False, comment="with at least one face by these networks"),
    Column("faces", Integer, nullable=False),
    comment="Changed with what it counts, in the same transaction",
)

switch = Table(
    "switch",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False, comment="of the gallery"),
    Column("base_sha256", String(SHA256_CHARS), nullable=False),
    Column("heatmap_sha256", String(SHA256_CHARS), nullable=False),
    Column("before_base_sha256", String(SHA256_CHARS), nullable=False),
    Column("before_heatmap_sha256", String(SHA256_CHARS), nullable=False),
    Column("made_at", Text, nullable=False, comment="ISO 8601 with offset"),
    comment="Whose vectors answer: the latest row's, or those of WEIGHTS_DIR while there is none",
)
