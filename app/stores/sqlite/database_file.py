"""The file of an SqliteStore: its tables, and the lock that keeps other processes out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from app.stores.record import public_id

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    data BLOB NOT NULL,
    created REAL NOT NULL,
    seen REAL NOT NULL,
    expires REAL NOT NULL,
    user TEXT,
    remote_address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    version INTEGER NOT NULL,
    public_id TEXT,
    user_name TEXT,
    authentication TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires);
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS sessions_by_user_and_seen ON sessions (user, seen)
    WHERE user IS NOT NULL;
CREATE INDEX IF NOT EXISTS sessions_by_public_id ON sessions (user, public_id)
    WHERE user IS NOT NULL;
DROP INDEX IF EXISTS sessions_by_user;
"""
_ADDED_COLUMNS = ("public_id", "user_name", "authentication")  # that files of older releases lack
_WITHOUT_PUBLIC_ID = "FROM sessions WHERE user IS NOT NULL AND public_id IS NULL"


class FileOwned(Exception):
    """Another process owns this file."""


def own(path: Path) -> int:
    """Lock the file for this process; return the descriptor of the lock, which ends with it."""
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise FileOwned(
            f"{path} is in use by another process; stop that one, or give this one "
            "its own --data-dir"
        ) from None
    return descriptor


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, or create it; the connection may be used by one thread at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
        _migrate(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def inspect(path: Path) -> tuple[int, bool]:
    """Return the number of sessions in a file, and whether it has the tables of this release.

    Changes nothing, and may run while another process owns the file. Raises sqlite3.Error.
    """
    url = f"file:{quote(str(path))}?mode=rw"
    with contextlib.closing(sqlite3.connect(url, uri=True)) as connection:
        connection.execute("PRAGMA query_only = ON")
        (count,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
        columns = {row[1] for row in connection.execute("PRAGMA table_info(sessions)")}
        return count, set(_ADDED_COLUMNS) <= columns


def _migrate(connection: sqlite3.Connection) -> None:
    """Migrate a file that an older release created, or wrote to in between."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(sessions)")}
    for column in _ADDED_COLUMNS:
        if column not in columns:
            connection.execute(f"ALTER TABLE sessions ADD COLUMN {column} TEXT")
    connection.executescript(_INDEXES)
    ids = connection.execute(f"SELECT id {_WITHOUT_PUBLIC_ID}").fetchall()
    if ids:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "UPDATE sessions SET public_id = ? WHERE id = ?", [(public_id(id), id) for (id,) in ids]
        )
        connection.execute("COMMIT")


def remedy(error: sqlite3.Error) -> str:
    """Return what to do about a file that cannot be opened."""
    # a backup that happens to be running is no reason to throw sessions away
    if isinstance(error, sqlite3.OperationalError):
        return "see to the disk and the file's permissions, and end programs that lock it"
    return "move it away to begin with a new one"
