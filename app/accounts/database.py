"""The database of accounts: a file in the data folder, or PostgreSQL."""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError, OperationalError, SQLAlchemyError

from app.common.urls import without_credentials
from app.settings import Settings
from app.stores.sqlite import health
from app.stores.sqlite.file_identity import FileIdentity

_FILE = "accounts.sqlite3"
_LOCK_TIMEOUT = 2.0  # seconds that a statement waits for a lock of another program

_metadata = sa.MetaData()
accounts = sa.Table(
    "accounts",
    _metadata,
    sa.Column("key", sa.Text, primary_key=True),  # what all spellings of the name share
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),  # seconds since 1970
)


class DatabaseUnusable(SQLAlchemyError):
    """Data written to the database now would be lost; the message says why."""


def reason(error: BaseException) -> str:
    """Return the driver's message of an error, in one line."""
    return " ".join(str(error.__cause__ or error).split())[:500]


def open_engine(settings: Settings, *, connections: int) -> sa.Engine:
    """Open the database of --database and create its table; `connections` is their maximum.

    Raises OSError with a sentence that says what to do.
    """
    if settings.database == "sqlite":
        path = settings.data_dir / _FILE
        where = str(path)
        remedy = "put back a copy of it, or move it away to begin with no accounts"
        engine = _sqlite(path, connections)
    else:
        where, remedy = without_credentials(settings.database), "start it, or correct --database"
        engine = _postgresql(settings.database, where, connections)
    try:
        with engine.begin() as connection:
            _make_table(connection)
            connection.execute(sa.select(accounts).limit(1))
    except SQLAlchemyError as error:
        engine.dispose()
        raise OSError(f"{where} could not be opened ({reason(error)}); {remedy}") from error
    return engine


def _make_table(connection: sa.Connection) -> None:
    """Create the table if it is missing; safe if several processes start at the same time."""
    if connection.dialect.name == "postgresql":
        # the database user may lack the right to create tables
        if sa.inspect(connection).has_table(accounts.name):
            return
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext("latchkey"))))
    connection.execute(sa.schema.CreateTable(accounts, if_not_exists=True))


def _postgresql(url: str, where: str, connections: int) -> sa.Engine:
    try:
        postgresql = importlib.import_module("app.accounts.postgresql")
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
        # mode rw, so that a deleted file is not replaced by a new, empty one
        sa.URL.create(
            "sqlite", database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"}
        ),
        connect_args={"timeout": _LOCK_TIMEOUT},
        pool_size=connections,
    )

    def configure(connection: sqlite3.Connection, entry: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT * FROM sqlite_master").fetchall()  # opens the log
        entry.info["identity"] = FileIdentity(path)

    def refuse_lost(connection: sqlite3.Connection, entry: Any, _: Any) -> None:
        """Make the pool connect again if the file was replaced."""
        problem = entry.info["identity"].problem()
        if problem:
            raise DisconnectionError(problem)

    event.listen(engine, "connect", configure)
    event.listen(engine, "checkout", refuse_lost)
    return engine


@contextlib.contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a transaction, and commit it at the end.

    Raises DatabaseUnusable if an SQLite file was deleted or replaced meanwhile.
    """
    with engine.connect() as connection:
        with connection.begin():
            yield connection
        if engine.dialect.name == "sqlite":
            problem = connection.connection.info["identity"].problem()
            if problem:
                raise DatabaseUnusable(problem)


def checkpoint(engine: sa.Engine) -> None:
    """Move commits from SQLite's log into the database file."""
    # if it fails, the log keeps the commits for the next checkpoint
    with contextlib.suppress(SQLAlchemyError), engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")


def check(engine: sa.Engine, settings: Settings) -> None:
    """Check that the database can be written and read; raises SQLAlchemyError."""
    if engine.dialect.name == "sqlite":
        _check_sqlite(engine, settings.data_dir / _FILE)
    else:
        _check_row(engine)


def _check_row(engine: sa.Engine) -> None:
    """Add, read and remove a row; this fails on a standby and with a full disk."""
    # no account's key begins with a space
    key = f" check {secrets.token_hex(8)}"
    row = {"key": key, "name": key, "password_hash": "", "created": 0.0}
    mine = accounts.c.key == key
    with engine.begin() as connection:
        connection.execute(sa.insert(accounts), row)
        connection.execute(sa.select(accounts.c.key).where(mine)).one()
        connection.execute(sa.delete(accounts).where(mine))


def _check_sqlite(engine: sa.Engine, path: Path) -> None:
    said: object = ""
    with engine.connect() as connection:
        connection.execute(sa.select(accounts.c.key).limit(1)).first()
        page_size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        connection.rollback()
        for _ in range(health.ATTEMPTS):
            mark = health.new_mark()
            try:
                connection.exec_driver_sql(health.write_mark(mark))
            except OperationalError as error:
                if "locked" in reason(error):  # by another program, such as a backup, for a while
                    return
                raise
            try:
                if health.mark_after_crash(path, page_size) in (mark, None):
                    return
            except sqlite3.Error as error:
                said = error
    raise DatabaseUnusable(health.damage(path, said))
