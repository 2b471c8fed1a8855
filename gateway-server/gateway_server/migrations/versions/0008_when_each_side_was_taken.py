"""Since when each voice on a lead has been on which side."""

import sqlalchemy as sa
from alembic import op

from gateway_server.tables import UtcTime

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for verdict in ("same", "different"):
        op.add_column("lead_voice", sa.Column(f"{verdict}_at", UtcTime(), nullable=True))
        _fill(verdict)


def _fill(verdict: str) -> None:
    """Of earlier voices only the last word is known."""
    said = sa.table(
        "lead_voice",
        sa.column("verdict", sa.String()),
        sa.column("given_at", UtcTime()),
        sa.column(f"{verdict}_at", UtcTime()),
    )
    theirs = said.update().where(said.c.verdict == verdict)
    op.execute(theirs.values({f"{verdict}_at": said.c.given_at}))


def downgrade() -> None:
    raise NotImplementedError("Biometric data is not moved backwards: restore a backup")
