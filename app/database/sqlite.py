"""The database as a file in the data folder."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError

from app.database.schema import SchemaError
from app.stores.sqlite.file_identity import FileIdentity

FILE = "accounts.sqlite3"
_LOCK_TIMEOUT = 2.0  # seconds that a statement waits for a lock of another program
_MIGRATION_LOCK_TIMEOUT = 600_000  # milliseconds that a start waits for another one's migration
_BEGIN = "latchkey_begin"  # option of a connection: the statement that begins its transactions


def engine(path: Path, connections: int) -> sa.Engine:
    """Return an engine for this file, which is made if it is missing."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = sa.create_engine(
        # mode rw, so that a deleted file is not replaced by a new, empty one
        sa.URL.create(
            "sqlite", database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"}
        ),
        # no isolation level: the driver begins no transactions of its own, which leave out DDL
        connect_args={"timeout": _LOCK_TIMEOUT, "isolation_level": None},
        pool_size=connections,
    )

    def configure(connection: sqlite3.Connection, entry: Any) -> None:
        _use_log(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("SELECT * FROM sqlite_master").fetchall()  # opens the log
        entry.info["identity"] = FileIdentity(path)

    def refuse_lost(connection: sqlite3.Connection, entry: Any, _: Any) -> None:
        """Make the pool connect again if the file was replaced."""
        problem = entry.info["identity"].problem()
        if problem:
            raise DisconnectionError(problem)

    def begin(connection: sa.Connection) -> None:
        statement = connection.get_execution_options().get(_BEGIN, "BEGIN")
        if statement:
            connection.exec_driver_sql(statement)

    event.listen(engine, "connect", configure)
    event.listen(engine, "checkout", refuse_lost)
    event.listen(engine, "begin", begin)
    return engine


def _use_log(connection: sqlite3.Connection) -> None:
    """Let the file have a log (WAL); wait for other processes that open a new file as well.

    SQLite itself does not wait for them.
    """
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # of an extended code
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def locking(connection: sa.Connection) -> sa.Connection:
    """Make the transactions of a connection lock the file against other writers at once."""
    return connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})


def without_transactions(connection: sa.Connection) -> sa.Connection:
    """Make each statement of a connection a transaction of its own."""
    return connection.execution_options(**{_BEGIN: ""})


def refuse_writes(connection: sa.Connection, refuse: bool) -> None:
    """Make a connection refuse to write, or allow it again; call it outside of a transaction."""
    driver = connection.connection.driver_connection
    if driver is not None:  # None if the connection was lost
        driver.execute(f"PRAGMA query_only = {'ON' if refuse else 'OFF'}")


def problem(connection: sa.Connection) -> str | None:
    """Return a sentence if the file was deleted or replaced since the connection opened it."""
    found: str | None = connection.connection.info["identity"].problem()
    return found


def checkpoint(engine: sa.Engine) -> None:
    """Move commits from SQLite's log into the database file."""
    # if it fails, the log keeps the commits for the next checkpoint
    with contextlib.suppress(SQLAlchemyError), engine.connect() as connection:
        without_transactions(connection).exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")


def begin_migration(connection: sa.Connection) -> None:
    """Prepare a connection for a migration, and take it out of the pool."""
    driver: Any = connection.connection.driver_connection
    # a table that is replaced would take the rows with it that refer to its rows
    driver.execute("PRAGMA foreign_keys = OFF")
    driver.execute(f"PRAGMA busy_timeout = {_MIGRATION_LOCK_TIMEOUT:d}")
    connection.detach()
    locking(connection)


def check_foreign_keys(connection: sa.Connection) -> None:
    """Raise SchemaError if a row refers to a row that does not exist."""
    found = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if found is not None:
        raise SchemaError(
            f"after the migration a row of table {found[0]} would refer to a row of {found[2]} "
            "that does not exist; the database is as it was before. Correct the script"
        )
