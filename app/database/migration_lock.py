"""The lock that one process at a time gets to migrate the tables."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from app.database import sqlite

log = logging.getLogger("latchkey.database")

_POSTGRESQL_LOCK = "latchkey"  # name of the lock that one migrating process has
_POLL_INTERVAL = 0.1  # seconds between two tries to get it
_TABLE_LOCK_TIMEOUT = 10_000  # milliseconds that a migration waits for transactions of others


@contextlib.contextmanager
def exclusive(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open the transaction that one process at a time gets, and commit it at the end.

    It waits for the process that has it now. The connection has no time limits, and an SQLite
    file checks foreign keys at the end, because a migration may replace a table that others
    refer to. The connection is closed afterwards.
    """
    with engine.connect() as connection:
        opened = _exclusive_sqlite if engine.dialect.name == "sqlite" else _exclusive_postgresql
        with opened(connection):
            yield connection


@contextlib.contextmanager
def _exclusive_sqlite(connection: sa.Connection) -> Iterator[None]:
    sqlite.begin_migration(connection)
    with connection.begin():
        yield
        sqlite.check_foreign_keys(connection)


@contextlib.contextmanager
def _exclusive_postgresql(connection: sa.Connection) -> Iterator[None]:
    driver: Any = connection.connection.driver_connection
    driver.answer_timeout = None
    connection.detach()
    with connection.begin():
        lock = sa.select(sa.func.pg_try_advisory_xact_lock(sa.func.hashtext(_POSTGRESQL_LOCK)))
        if not connection.execute(lock).scalar():
            log.info("waiting for another process to make or migrate the tables")
            while not connection.execute(lock).scalar():
                time.sleep(_POLL_INTERVAL)
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_TABLE_LOCK_TIMEOUT:d}")
        yield
