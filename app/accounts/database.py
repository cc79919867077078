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


class DatabaseUnusable(SQLAlchemyError):
    """Data stored in the database now would be lost; the text says why."""


def why(error: BaseException) -> str:
    """Return what a driver says of an error, in one line; that of SQLAlchemy is longer."""
    return " ".join(str(error.__cause__ or error).split())[:500]


def open_engine(settings: Settings, *, connections: int) -> sa.Engine:
    """Open the database that --database names, with its table, for so many connections.

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
        # a deleted file is not replaced by a new, empty one
        sa.URL.create(
            "sqlite", database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"}
        ),
        connect_args={"timeout": _LOCKED_FOR},
        pool_size=connections,
    )

    def configure(connection: sqlite3.Connection, entry: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT * FROM sqlite_master").fetchall()  # which opens the log
        entry.info["identity"] = FileIdentity(path)

    def refuse_lost(connection: sqlite3.Connection, entry: Any, _: Any) -> None:
        """Have the pool open the file anew where this connection has another one."""
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
    """Move what is committed from SQLite's log into the database, which is then whole by itself."""
    # if it fails, the log still holds everything, and the next checkpoint moves it
    with contextlib.suppress(SQLAlchemyError), engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")


def check(engine: sa.Engine, settings: Settings) -> None:
    """Write and read; raises SQLAlchemyError."""
    if engine.dialect.name == "sqlite":
        _check_sqlite(engine, settings.data_dir / _FILE)
    else:
        _check_row(engine)


def _check_row(engine: sa.Engine) -> None:
    """Add a row, read it and remove it; a standby and a full disk refuse that."""
    # with a space in front, which no account's key has
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
                if "locked" in why(error):  # by another program, such as a backup, for a while
                    return
                raise
            try:
                if health.mark_after_crash(path, page_size) in (mark, None):
                    return
            except sqlite3.Error as error:
                said = error
    raise DatabaseUnusable(health.damage(path, said))
