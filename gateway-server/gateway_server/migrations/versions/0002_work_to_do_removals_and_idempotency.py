"""Work to do removals and idempotency."""

import sqlalchemy as sa
from alembic import op

from gateway_server.tables import UtcTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=36), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("run_at", UtcTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(length=36), nullable=True),
        sa.Column("leased_until", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "subject_id", name="job_of_subject"),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index("job_by_turn", ["run_at", "id"], unique=False)

    op.create_table(
        "removal",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("face_id", sa.String(length=36), nullable=True),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("photo_sha256s", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("requested_at", UtcTime(), nullable=False),
        sa.Column("settles_at", UtcTime(), nullable=True),
        sa.Column("vectors_deleted_at", UtcTime(), nullable=True),
        sa.Column("photos_deleted_at", UtcTime(), nullable=True),
        sa.Column("answers_deleted_at", UtcTime(), nullable=True),
        sa.Column("done_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("removal", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_removal_person_id"), ["person_id"], unique=False)

    op.create_table(
        "one_time",
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("subject_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("holder", sa.String(length=36), nullable=True),
        sa.Column("leased_until", UtcTime(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("body", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["key_id"],
            ["api_key.id"],
        ),
        sa.PrimaryKeyConstraint("key_id", "idempotency_key"),
    )
    with op.batch_alter_table("face", schema=None) as batch_op:
        batch_op.alter_column(
            "status",
            existing_type=sa.VARCHAR(length=8),
            type_=sa.String(length=16),
            existing_nullable=False,
        )

    with op.batch_alter_table("failure", schema=None) as batch_op:
        batch_op.add_column(sa.Column("removal_id", sa.String(length=36), nullable=True))
        batch_op.add_column(sa.Column("next_attempt_at", UtcTime(), nullable=True))

    with op.batch_alter_table("person", schema=None) as batch_op:
        batch_op.add_column(sa.Column("found_at", UtcTime(), nullable=True))

    _queue_what_is_unfinished()


def _queue_what_is_unfinished() -> None:
    """What an earlier release left running, pending or to be retried is work to do from now on."""
    op.execute(
        "INSERT INTO job (id, kind, subject_id, request_id, created_at, run_at, attempts) "
        "SELECT id, 'search', id, request_id, created_at, created_at, 0 FROM search "
        "WHERE status IN ('queued', 'running')"
    )
    op.execute("UPDATE search SET status = 'queued' WHERE status = 'running'")
    op.execute(
        "INSERT INTO job (id, kind, subject_id, request_id, created_at, run_at, attempts) "
        "SELECT id, 'enrolment', id, '-', created_at, created_at, 0 FROM face "
        "WHERE status = 'pending'"
    )


def downgrade() -> None:
    raise NotImplementedError("Biometric data is not moved backwards: restore a backup")
