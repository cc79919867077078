"""The tables of all modules are made or migrated when a process starts.

A start first compares, with a few small queries. Only if something is missing does it take the
lock that one process at a time gets, compare again, and change the tables in one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, NoReferencedTableError, SQLAlchemyError

from app.database.errors import reason
from app.database.migration_lock import exclusive
from app.database.migration_scripts import run_scripts
from app.database.module_tables import ModuleTables, version_table
from app.database.revisions import Revisions, read_revisions
from app.database.schema import Schema, SchemaError, check_schemas

log = logging.getLogger("latchkey.database")


def migrate(engine: sa.Engine, schemas: Sequence[Schema]) -> None:
    """Bring the tables of all modules to their newest state, or change nothing.

    Raises SchemaError with a sentence that says what to do, or SQLAlchemyError if the database
    cannot be used.
    """
    check_schemas(schemas)
    revisions = _revisions(schemas)
    with engine.connect() as connection:
        states = [ModuleTables(connection, *each) for each in revisions.items()]
        behind = [state for state in states if not state.is_current()]
    if behind:
        with exclusive(engine) as connection:
            make_or_migrate(connection, schemas)


def make_or_migrate(connection: sa.Connection, schemas: Sequence[Schema]) -> None:
    """Bring the tables of all modules to their newest state, in the connection's transaction."""
    for schema, revisions in _revisions(schemas).items():
        _bring_to_head(ModuleTables(connection, schema, revisions))


def _revisions(schemas: Sequence[Schema]) -> dict[Schema, Revisions | None]:
    return {
        schema: read_revisions(schema.migrations) if schema.migrations else None
        for schema in schemas
    }


def pending(engine: sa.Engine, schemas: Sequence[Schema]) -> list[str]:
    """Return the names of the modules whose tables the next start makes or migrates.

    Raises SchemaError if it cannot, and SQLAlchemyError if the database cannot be used.
    """
    check_schemas(schemas)
    with engine.connect() as connection:
        return [
            schema.name
            for schema, revisions in _revisions(schemas).items()
            if not ModuleTables(connection, schema, revisions).is_current()
        ]


def status(engine: sa.Engine, schemas: Sequence[Schema]) -> list[tuple[str, str]]:
    """Return the name of each module with tables, and a few words about them."""
    with engine.connect() as connection:
        return [
            (schema.name, ModuleTables(connection, schema, revisions).describe())
            for schema, revisions in _revisions(schemas).items()
        ]


def states(engine: sa.Engine, schemas: Sequence[Schema]) -> dict[str, dict[str, object]]:
    """Return the state of the tables of each module, for a script."""
    with engine.connect() as connection:
        return {
            schema.name: ModuleTables(connection, schema, revisions).state()
            for schema, revisions in _revisions(schemas).items()
        }


def downgrade(engine: sa.Engine, schema: Schema, revision: str) -> None:
    """Run the migrations of a module backwards, down to a revision or to "base"."""
    known = read_revisions(schema.migrations).known if schema.migrations else frozenset()
    if revision not in {"base", *known}:
        raise SchemaError(
            f"{schema.name} has no revision {revision}; it has {', '.join(sorted(known)) or 'none'}"
        )
    with exclusive(engine) as connection:
        run_scripts(schema, lambda alembic: alembic.downgrade(connection, schema, revision))


def _bring_to_head(state: ModuleTables) -> None:
    if state.is_current():
        return
    schema, connection, revisions = state.schema, state.connection, state.revisions
    if revisions is None:
        _make(connection, schema, state.missing)
    elif schema.starts_at_head and not state.stamped and not state.has_tables:
        _make(connection, schema, state.missing)
        _stamp(state, revisions.head)
    else:
        if not state.stamped and state.has_tables:
            # an older release, or this module before it had migrations, has made the tables
            log.info("%s: its tables are those of revision %s", schema.name, revisions.base)
            _stamp(state, revisions.base)
        run_scripts(schema, lambda alembic: alembic.upgrade(connection, schema, "head"))
        ModuleTables(connection, schema, revisions).check_columns()


def _make(connection: sa.Connection, schema: Schema, tables: list[sa.Table]) -> None:
    """Make tables from the metadata."""
    try:
        schema.metadata.create_all(connection, tables=tables, checkfirst=False)
    except NoReferencedTableError as error:
        raise SchemaError(
            f"{schema.name}: {reason(error)}; refer to a table of another module by its column, "
            "such as sa.ForeignKey(accounts_table.c.id) with accounts_table of app.accounts"
        ) from error
    except SQLAlchemyError as error:
        if isinstance(error, DBAPIError):
            raise
        raise SchemaError(
            f"{schema.name}: its tables cannot be made ({reason(error)}); correct its metadata"
        ) from error


def _stamp(state: ModuleTables, revision: str) -> None:
    table = version_table(state.schema)
    table.create(state.connection, checkfirst=True)
    state.connection.execute(sa.insert(table), {"version_num": revision})
