"""What Alembic runs: the migrations on the connection that it was given."""

from typing import Literal

from alembic import context

from gateway_server.tables import Row, UtcTime


def _render(kind: str, item: object, _context: object) -> str | Literal[False]:
    return "UtcTime()" if kind == "type" and isinstance(item, UtcTime) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
    compare_type=True,
    render_item=_render,
)
context.run_migrations()
