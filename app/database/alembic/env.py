"""What Alembic runs for each command: it hands over the connection and the tables of a module."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy.schema import SchemaItem

from app.database.schema import Schema


def _is_seen(_: SchemaItem, name: str | None, kind: str, __: bool, ___: SchemaItem | None) -> bool:
    """Hide the tables of other modules."""
    return kind != "table" or name not in context.config.attributes["hidden"]


def _skip_empty(_: Any, __: Any, directives: list[Any]) -> None:
    if context.config.attributes.get("skip_empty") and directives[0].upgrade_ops.is_empty():
        directives.clear()


def _run() -> None:
    schema: Schema = context.config.attributes["schema"]
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=schema.metadata,
        version_table=schema.version_table,
        include_object=_is_seen,
        process_revision_directives=_skip_empty,
        render_as_batch=True,  # SQLite alters a table by making it anew
    )
    with context.begin_transaction():
        context.run_migrations()


_run()
