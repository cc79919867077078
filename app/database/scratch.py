"""New migrations, from the difference between the metadata and an empty database at head.

The database is a temporary file, or a schema of PostgreSQL that is never committed, so that
neither the data nor the state of a real one matters.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from app.database import sqlite
from app.database.engine import open_engine
from app.database.migration_lock import exclusive
from app.database.migration_scripts import run_scripts
from app.database.migrations import make_or_migrate
from app.database.schema import Schema, check_schemas
from app.settings import Settings


def make_revision(
    settings: Settings, schemas: Sequence[Schema], target: Schema, message: str, *, empty: bool
) -> Path | None:
    """Write the next migration of a module into its folder; return its path.

    None if the metadata has nothing new. `schemas` are those of all modules, in their order, and
    `target` is one of them, with a folder that may be missing or empty. Raises SchemaError,
    SQLAlchemyError or OSError.
    """
    check_schemas(schemas)
    assert target.migrations is not None
    before = schemas[: schemas.index(target)]
    with _scratch(settings) as connection:
        make_or_migrate(connection, [replace(each, starts_at_head=False) for each in before])
        hidden = set(sa.inspect(connection).get_table_names())
        if any(target.migrations.glob("*.py")):
            run_scripts(target, lambda commands: commands.upgrade(connection, target, "head"))
        with _folder(target.migrations):
            written: Path | None = run_scripts(
                target,
                lambda commands: commands.make_revision(
                    connection, target, message, hidden=hidden, empty=empty
                ),
            )
    return written


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make a folder, and remove it if nothing was written into it."""
    path.mkdir(exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.rmdir()


@contextlib.contextmanager
def _scratch(settings: Settings) -> Iterator[sa.Connection]:
    """Open an empty database of the kind of --database, which is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="latchkey-") as folder:
        if settings.database == "sqlite":
            engine = sqlite.engine(Path(folder) / sqlite.FILE, 1)
        else:
            engine = open_engine(settings, connections=1)
        try:
            with contextlib.suppress(_Done), exclusive(engine) as connection:
                if settings.database != "sqlite":
                    name = f"latchkey_{secrets.token_hex(8)}"
                    connection.exec_driver_sql(f"CREATE SCHEMA {name}")
                    connection.exec_driver_sql(f"SET LOCAL search_path TO {name}")
                yield connection
                raise _Done
        finally:
            engine.dispose()


class _Done(Exception):
    """Rolls the transaction back."""
