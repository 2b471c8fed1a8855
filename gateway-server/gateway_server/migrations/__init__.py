"""The database's schema, version by version (Alembic): from nothing, and from every earlier one.

Every start brings the database to the newest version (`Database.prepare`). For a new one: change
tables.py, run `python -m gateway_server.migrations "what changes"`, and read what it wrote.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from gateway_server.tables import ApiKey

FIRST = "0001"
"""The schema of the releases that had no migrations."""


def upgrade(connection: Connection, target: str = "head") -> None:
    """Within the caller's transaction: all of it happens, or nothing."""
    config = alembic_config()
    config.attributes["connection"] = connection
    if current_version(connection) is None and inspect(connection).has_table(ApiKey.__tablename__):
        command.stamp(config, FIRST)
    command.upgrade(config, target)


def current_version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def newest_version() -> str | None:
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
