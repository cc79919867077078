"""Copies of the files in the data folder.

SQLite's backup API copies each database as of one moment, also while a server runs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Collection
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from app.backup.errors import BackupError
from app.common.disk import sync
from app.ops import data_folder

ACCOUNTS = "accounts.sqlite3"
SESSIONS = "sessions.sqlite3"  # also the form in which a backup holds sessions of Redis
KEYS = "secret_key"
#: Databases, and a table that each of them has.
TABLES = MappingProxyType({ACCOUNTS: "accounts", SESSIONS: "sessions"})

_MAGIC = b"SQLite format 3\0"
_COMPANIONS = ("-wal", "-shm", "-journal")  # files that SQLite keeps beside a database


def copy_all(source: Path, target: Path, leave_out: Collection[str] = ()) -> list[str]:
    """Copy the contents of a data folder into an empty folder; return the names.

    Files with the names of `leave_out` are not copied.
    """
    # sessions first, so that no session lacks its account if one is made meanwhile
    paths = sorted(data_folder.entries(source), key=lambda path: path.name != SESSIONS)
    paths = [path for path in paths if path.name not in leave_out]
    copied = [path for path in paths if _copy(path, target / path.name)]
    return [path.name for path in copied]


def _copy(source: Path, target: Path) -> bool:
    """Copy a file or a folder; return False if it holds no data."""
    if source.is_dir():
        target.mkdir(mode=0o700)
        for path in source.iterdir():
            _copy(path, target / path.name)
        sync(target)
        return True
    if not source.is_file() or source.name.endswith(_COMPANIONS):
        return False
    with source.open("rb") as file:
        is_database = file.read(len(_MAGIC)) == _MAGIC
    if is_database:
        try:
            _copy_database(source, target)
        except sqlite3.Error as error:
            target.unlink(missing_ok=True)
            raise BackupError(f"{source} could not be copied ({error})") from error
    elif source.name in TABLES:
        raise BackupError(f"{source} is not a database; remove it, or replace it by a good copy")
    else:
        shutil.copyfile(source, target)
    target.chmod(0o600)
    sync(target)
    return True


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database as of this moment, including its log, and check the copy."""
    with (
        contextlib.closing(sqlite3.connect(read_only(source), uri=True, timeout=10)) as original,
        contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, with no log beside it
        _check(copy, source)


def check_database(path: Path) -> None:
    """Raise BackupError if a database is damaged or belongs to another program."""
    try:
        with contextlib.closing(sqlite3.connect(read_only(path), uri=True)) as database:
            _check(database, path)
    except sqlite3.Error as error:
        raise BackupError(f"{path} could not be read ({error})") from error


def _check(database: sqlite3.Connection, path: Path) -> None:
    """Raise BackupError if the database of this file is damaged or another program's."""
    (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise BackupError(f"{path} is damaged ({' '.join(found.split())})")
    table = TABLES.get(path.name)
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    if table and (table,) not in tables:
        raise BackupError(f"{path} has no table {table}; it belongs to another program")


def read_only(path: Path) -> str:
    """Return the URI by which SQLite opens a file and changes nothing."""
    # SQLite writes a log beside a database even to read it, which fails on a read-only medium
    fixed = not os.access(path.parent, os.W_OK, effective_ids=True) and not _log(path).exists()
    return f"file:{quote(str(path.resolve()))}?mode=ro{'&immutable=1' if fixed else ''}"


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")
