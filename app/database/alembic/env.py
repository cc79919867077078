"""What Alembic runs for each command: it hands over the connection and the tables of a module."""

from __future__ import annotations

import logging
from typing import Any, Literal

from alembic import context
from alembic.runtime.migration import MigrationInfo
from sqlalchemy.schema import SchemaItem
from sqlalchemy.sql.elements import False_, True_

from app.database.schema import Schema

log = logging.getLogger("latchkey.database")


def _is_seen(_: SchemaItem, name: str | None, kind: str, __: bool, ___: SchemaItem | None) -> bool:
    """Hide the tables of other modules."""
    return kind != "table" or name not in context.config.attributes["hidden"]


def _render(kind: str, item: Any, _: object) -> str | Literal[False]:
    """Write a default of true or false for both databases; Alembic writes 0 or 1 for SQLite."""
    value = getattr(item, "arg", None) if kind == "server_default" else None
    if isinstance(value, True_ | False_):
        return f"sa.{'true' if isinstance(value, True_) else 'false'}()"
    return False


def _skip_empty(_: Any, __: Any, directives: list[Any]) -> None:
    if context.config.attributes.get("skip_empty") and directives[0].upgrade_ops.is_empty():
        directives.clear()


def _log_step(ctx: object, step: MigrationInfo, heads: object, run_args: object) -> None:
    schema: Schema = context.config.attributes["schema"]
    verb = "upgraded to" if step.is_upgrade else "downgraded to"
    revisions = ", ".join(step.destination_revision_ids) or "base"
    log.info("%s: %s revision %s", schema.name, verb, revisions)


def _run() -> None:
    schema: Schema = context.config.attributes["schema"]
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=schema.metadata,
        version_table=schema.version_table,
        include_object=_is_seen,
        render_item=_render,
        process_revision_directives=_skip_empty,
        on_version_apply=_log_step,
        transactional_ddl=True,  # of SQLite too, since its driver begins no transactions here
        render_as_batch=True,  # SQLite alters a table by making it anew
    )
    with context.begin_transaction():
        context.run_migrations()


_run()
