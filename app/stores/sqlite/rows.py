"""Rows of the table of sessions, and the statements that read and write them."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from app.stores.record import Record, public_id

Row = tuple[Any, ...]  # the columns in the order of a record's fields

MAX_IDS = 500  # in one statement; SQLite's oldest limit on its parameters is 999

# The column `user` holds the id of the account. It kept its name, because a release that knew no
# ids stored the user's name there, which is the id of those accounts.
_COLUMNS = ", ".join(Record.__struct_fields__).replace("user_id", "user")
LOAD = f"SELECT {_COLUMNS} FROM sessions WHERE id = ?"  # noqa: S608 (constants only)
FIND = f"SELECT {_COLUMNS} FROM sessions WHERE user = ? AND public_id = ?"  # noqa: S608
OF_USER = f"SELECT {_COLUMNS} FROM sessions WHERE user = ? ORDER BY seen DESC LIMIT ?"  # noqa: S608
OLDEST = (
    f"SELECT {_COLUMNS} FROM sessions WHERE user = ? AND id != ? "  # noqa: S608
    "ORDER BY seen LIMIT ?"
)
EXPIRED = f"SELECT {_COLUMNS} FROM sessions WHERE expires <= ? LIMIT ?"  # noqa: S608
SCAN = f"SELECT {_COLUMNS} FROM sessions WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
SCAN_FIRST = f"SELECT {_COLUMNS} FROM sessions ORDER BY id LIMIT ?"  # noqa: S608
COUNT = "SELECT count(*) FROM sessions WHERE user = ?"
COUNT_ALL = "SELECT count(*) FROM sessions"  # of a million in 50 ms, from an index
COUNT_TO = "SELECT count(*) FROM (SELECT 1 FROM sessions WHERE user = ? LIMIT ?)"
INSERT = (
    f"INSERT INTO sessions ({_COLUMNS}, public_id) "  # noqa: S608
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
UPDATE = "UPDATE sessions SET data = ?, version = version + 1 WHERE id = ? AND version = ?"
TOUCH = "UPDATE sessions SET seen = ?, expires = max(expires, ?) WHERE id = ? AND seen <= ?"
DELETE = "DELETE FROM sessions WHERE id = ?"
DELETE_VERSION = "DELETE FROM sessions WHERE id = ? AND version = ?"
DELETE_EXPIRED = "DELETE FROM sessions WHERE id = ? AND expires <= ?"


def load_many(count: int) -> str:
    """Return the statement that loads so many records by their ids."""
    marks = ", ".join("?" * count)
    return f"SELECT {_COLUMNS} FROM sessions WHERE id IN ({marks})"  # noqa: S608


def to_record(row: Row) -> Record:
    """Return the record in a row."""
    return Record(**dict(zip(Record.__struct_fields__, row, strict=True)))


def to_insert(record: Record) -> Row:
    """Return the values for INSERT."""
    public = None if record.user_id is None else public_id(record.id)
    return (*msgspec.structs.astuple(record), public)


def data_version(cursor: sqlite3.Cursor) -> int:
    """Return a number that changes when a connection other than this one has written."""
    version: int = cursor.execute("PRAGMA data_version").fetchone()[0]
    return version
