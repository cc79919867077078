"""Errors of the database: which of them are outages, and what a user is told."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_READ_ONLY = "25006"  # SQLSTATE of a write to a standby of PostgreSQL


class DatabaseUnavailable(Exception):
    """The database is not available now; the message is for the user.

    A page answers 503 with Retry-After, an event acks `{"error": message}`.
    """

    status = 503  # of the response
    wait = 2  # seconds after which the client may try again


class DatabaseUnusable(SQLAlchemyError):
    """Data written to the database now would be lost; the message says why."""


def reason(error: BaseException) -> str:
    """Return the driver's message of an error, in one line."""
    return " ".join(str(error.__cause__ or error).split())[:500]


def is_outage(error: SQLAlchemyError) -> bool:
    """Whether the database failed, and not the statement that it was given."""
    if isinstance(error, DatabaseUnusable | DisconnectionError | PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or getattr(error.orig, "sqlstate", None) == _READ_ONLY:
        return True
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:  # SQLite calls a misspelt column an operational error too
        return code & 0xFF not in (sqlite3.SQLITE_ERROR, *_FAULTS_OF_STATEMENTS)
    return isinstance(error, OperationalError)


def is_lost_connection(error: SQLAlchemyError) -> bool:
    """Whether the database could not be reached, so that other calls fail as well."""
    if isinstance(error, DisconnectionError | PoolTimeout):
        return True
    return isinstance(error, DBAPIError) and (
        error.connection_invalidated
        or (isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", "") is None)
    )


_FAULTS_OF_STATEMENTS = (
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_TOOBIG,
)
