"""The database of accounts: a file in the data folder, or PostgreSQL."""

from __future__ import annotations

import importlib
import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from app.options import shown
from app.settings import Settings

_LOCKED_FOR = 2.0  # seconds that a statement waits for another program to unlock the file

_metadata = sa.MetaData()
accounts = sa.Table(
    "accounts",
    _metadata,
    sa.Column("key", sa.Text, primary_key=True),  # what all spellings of the name share
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),  # seconds since 1970
)


def why(error: BaseException) -> str:
    """Return what a driver says of an error, in one line; that of SQLAlchemy is longer."""
    return " ".join(str(error.__cause__ or error).split())[:500]


def open_engine(settings: Settings, *, connections: int) -> sa.Engine:
    """Open the database that --database names, with its table, for so many connections.

    Raises OSError with a sentence that says what to do.
    """
    if settings.database == "sqlite":
        path = settings.data_dir / "accounts.sqlite3"
        where = str(path)
        remedy = "put back a copy of it, or move it away to begin with no accounts"
        engine = _sqlite(path, connections)
    else:
        where, remedy = shown(settings.database), "start it, or correct --database"
        engine = _postgresql(settings.database, where, connections)
    try:
        with engine.begin() as connection:
            _make_table(connection)
            connection.execute(sa.select(accounts).limit(1))
    except SQLAlchemyError as error:
        engine.dispose()
        raise OSError(f"{where} could not be opened ({why(error)}); {remedy}") from error
    return engine


def _make_table(connection: sa.Connection) -> None:
    """Make the table unless it is there; of processes that start at once, one does."""
    if connection.dialect.name == "postgresql":
        # a user who may not create tables can use the one that somebody made for him
        if sa.inspect(connection).has_table(accounts.name):
            return
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext("latchkey"))))
    connection.execute(sa.schema.CreateTable(accounts, if_not_exists=True))


def _postgresql(url: str, where: str, connections: int) -> sa.Engine:
    try:
        postgresql = importlib.import_module("app.postgresql")
    except ImportError as error:
        raise OSError(
            f"--database={where} needs the package psycopg ({error}); "
            "install it with pip install -e '.[postgresql]'"
        ) from error
    engine: sa.Engine = postgresql.engine(url, connections)
    return engine


def _sqlite(path: Path, connections: int) -> sa.Engine:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": _LOCKED_FOR},
        pool_size=connections,
    )

    def configure(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    sa.event.listen(engine, "connect", configure)
    return engine
