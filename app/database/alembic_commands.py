"""The commands of Alembic; only this file and its environment import it.

Each command works on a connection that has a transaction already, and on one module.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from app.database.schema import Schema

_ENVIRONMENT = Path(__file__).resolve().parent / "alembic"


def upgrade(connection: sa.Connection, schema: Schema, revision: str) -> None:
    """Run the scripts of a module up to a revision."""
    command.upgrade(_config(connection, schema), revision)


def downgrade(connection: sa.Connection, schema: Schema, revision: str) -> None:
    """Run the scripts of a module backwards, down to a revision or to "base"."""
    command.downgrade(_config(connection, schema), revision)


def make_revision(
    connection: sa.Connection,
    schema: Schema,
    message: str,
    *,
    hidden: Collection[str],
    empty: bool = False,
) -> Path | None:
    """Write a script for what the metadata has and the database has not; return its path.

    None if there is nothing to write. `hidden` are the tables of others, `empty` writes a script
    without a change.
    """
    config = _config(connection, schema)
    config.attributes.update(hidden=hidden, skip_empty=not empty)
    made = command.revision(
        config, message, autogenerate=not empty, version_path=str(schema.migrations)
    )
    scripts = made if isinstance(made, list) else [made]
    return next((Path(script.path) for script in scripts if script is not None), None)


def _config(connection: sa.Connection, schema: Schema) -> Config:
    config = Config(cmd_opts=argparse.Namespace(quiet=True))
    options = {
        "script_location": str(_ENVIRONMENT),
        "version_locations": str(schema.migrations),
        "path_separator": "newline",
        "file_template": "%(year)d_%(month).2d_%(day).2d_%(slug)s_%(rev)s",
        "timezone": "UTC",
    }
    for name, value in options.items():
        config.set_main_option(name, value.replace("%", "%%"))
    config.attributes.update(connection=connection, schema=schema, hidden=())
    return config
