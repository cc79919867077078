"""The engine of --database: a file in the data folder, or PostgreSQL."""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from app.common.urls import without_credentials
from app.database import sqlite
from app.database.errors import DatabaseUnusable, reason
from app.settings import Settings


def open_engine(settings: Settings, *, connections: int) -> sa.Engine:
    """Return an engine with at most so many connections; it connects on first use.

    Raises OSError with a sentence that says what to do.
    """
    if settings.database == "sqlite":
        return sqlite.engine(settings.data_dir / sqlite.FILE, connections)
    where = without_credentials(settings.database)
    try:
        postgresql = importlib.import_module("app.database.postgresql")
    except ImportError as error:
        raise OSError(
            f"--database={where} needs the package psycopg ({error}); "
            "install it with pip install -e '.[postgresql]'"
        ) from error
    engine: sa.Engine = postgresql.engine(settings.database, connections)
    return engine


def not_opened(settings: Settings, error: SQLAlchemyError) -> OSError:
    """Return the error of a database that cannot be opened, with a sentence for the operator."""
    if settings.database == "sqlite":
        where = str(settings.data_dir / sqlite.FILE)
        remedy = "put back a copy of it, or move it away to begin with no accounts"
    else:
        where, remedy = without_credentials(settings.database), "start it, or correct --database"
    return OSError(f"{where} could not be opened ({reason(error)}); {remedy}")


@contextlib.contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a transaction that may only read, and end it at the end."""
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        if is_sqlite:
            sqlite.refuse_writes(connection, True)
        else:
            connection.execution_options(postgresql_readonly=True)
        try:
            with connection.begin():
                yield connection
        finally:
            if is_sqlite:
                sqlite.refuse_writes(connection, False)


@contextlib.contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a transaction, and commit it at the end.

    On SQLite it locks the file against other writers from its beginning, so that what it reads
    stays true. Raises DatabaseUnusable if the file was deleted or replaced meanwhile.
    """
    with engine.connect() as connection:
        is_sqlite = engine.dialect.name == "sqlite"
        if is_sqlite:
            sqlite.locking(connection)
        with connection.begin():
            yield connection
        if is_sqlite and (problem := sqlite.problem(connection)):
            raise DatabaseUnusable(problem)


@contextlib.contextmanager
def with_timeout(
    transaction: Callable[[], AbstractContextManager[sa.Connection]], seconds: float
) -> Iterator[sa.Connection]:
    """Open a transaction whose statements may take so long on PostgreSQL."""
    with transaction() as connection:
        driver: Any = connection.connection.driver_connection
        if connection.dialect.name == "sqlite":
            yield connection
            return
        milliseconds = math.ceil(seconds * 1000)
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds:d}")
        try:
            driver.answer_timeout = seconds + 1
            yield connection
        finally:
            del driver.answer_timeout  # the class has the usual one
