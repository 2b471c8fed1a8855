"""Writes the next migration: what tables.py has and the newest version does not."""

import sys

from alembic import command
from sqlalchemy import create_engine

from gateway_server.migrations import alembic_config, newest_version, upgrade


def main(summary: str) -> None:
    """Compared on an empty database in memory."""
    number = int(newest_version() or "0000") + 1
    with create_engine("sqlite://").begin() as connection:
        if number > 1:
            upgrade(connection)
        config = alembic_config()
        config.attributes["connection"] = connection
        command.revision(config, summary, autogenerate=True, rev_id=f"{number:04}")


if __name__ == "__main__":
    main(sys.argv[1])
