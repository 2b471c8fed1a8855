"""Why photos were refused."""

import sqlalchemy as sa
from alembic import op

from gateway_server.tables import UtcTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "refused_photo",
        sa.Column("face_id", sa.String(length=36), nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("problem", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("refused_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("face_id"),
    )
    with op.batch_alter_table("refused_photo", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_refused_photo_person_id"), ["person_id"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("Biometric data is not moved backwards: restore a backup")
