"""The file of an SqliteStore: its tables, and the lock that makes it one process's own."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

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
    version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires);
CREATE INDEX IF NOT EXISTS sessions_by_user ON sessions (user) WHERE user IS NOT NULL;
"""


class FileOwned(Exception):
    """Another process owns this file."""


def own(path: Path) -> int:
    """Take the lock that makes this process the file's only one; it ends with the process."""
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
    """Open the file, making it where there is none; usable from any one thread at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def remedy(error: sqlite3.Error) -> str:
    """Tell what to do about a file that cannot be opened."""
    # nobody should throw his sessions away because a backup happens to be running
    if isinstance(error, sqlite3.OperationalError):
        return "see to the disk and the file's permissions, and end programs that lock it"
    return "move it away to begin with a new one"
