"""Searches to be listed, thumbnails, and persons who were merged."""

import sqlalchemy as sa
from alembic import op

from gateway_server.tables import UtcTime
from gateway_server.texts import fold

revision = "0007"
down_revision = "0006"
AT_A_TIME = 500


def upgrade() -> None:
    with op.batch_alter_table("search", schema=None) as batch_op:
        batch_op.add_column(sa.Column("case_text", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("verdict", sa.String(length=16), nullable=True))
    _fill_in()
    with op.batch_alter_table("search", schema=None) as batch_op:
        batch_op.create_index("search_by_age", ["created_at", "id"], unique=False)
        batch_op.create_index("search_by_status", ["status", "created_at", "id"], unique=False)
        batch_op.create_index("search_by_verdict", ["verdict", "created_at", "id"], unique=False)
    with op.batch_alter_table("import_row", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_import_row_also_of"), ["also_of"], unique=False)
    op.create_table(
        "thumbnail",
        sa.Column("photo_sha256", sa.String(length=64), nullable=False),
        sa.Column("face_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("webp", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["photo_sha256"], ["photo.sha256"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("photo_sha256", "face_index"),
    )
    op.create_table(
        "merge",
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("into_id", sa.String(length=36), nullable=False),
        sa.Column("faces", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("merged_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["into_id"], ["person.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("person_id"),
    )
    with op.batch_alter_table("merge", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_merge_into_id"), ["into_id"], unique=False)


def _fill_in() -> None:
    """What earlier searches answered, and their case references, where lists look for them."""
    search = sa.table(
        "search",
        *(
            sa.column(name, sa.String())
            for name in ("id", "case_reference", "case_text", "verdict")
        ),
        sa.column("answer", sa.JSON()),
    )
    connection = op.get_bind()
    known = sa.select(search.c.id, search.c.case_reference, search.c.answer).order_by(search.c.id)
    after = ""
    while rows := connection.execute(known.where(search.c.id > after).limit(AT_A_TIME)).all():
        for row in rows:
            values = {"case_text": _folded(row.case_reference), "verdict": _verdict(row.answer)}
            connection.execute(search.update().where(search.c.id == row.id).values(**values))
        after = rows[-1].id


def _folded(case_reference: str | None) -> str | None:
    return None if case_reference is None else fold(case_reference)


def _verdict(answer: dict[str, str] | None) -> str | None:
    return None if answer is None else answer.get("verdict")


def downgrade() -> None:
    raise NotImplementedError("Biometric data is not moved backwards: restore a backup")
