"""${message}."""

import sqlalchemy as sa
from alembic import op

from gateway_server.tables import UtcTime
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    raise NotImplementedError("Biometric data is not moved backwards: restore a backup")
