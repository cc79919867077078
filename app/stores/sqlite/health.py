"""A check that acknowledged writes would survive a crash of this process.

SQLite reads back what a running process wrote, even if its write-ahead log was damaged on disk
meanwhile. After a crash the next process ignores everything in the log behind the damage. The
check does what that process would do:

1. The caller writes a random number, the mark, into the header of the database.
2. `mark_after_crash` copies the log and reads the mark from the copy, as after a crash.
3. If it finds another number, the log is damaged.

A checkpoint between 1 and 2 moves the mark out of the log, so the caller tries up to ATTEMPTS
times.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sqlite3
import tempfile
from pathlib import Path

ATTEMPTS = 3

_READ_MARK = "PRAGMA user_version"  # a field of 32 bits, which SQLite leaves to applications


def new_mark() -> int:
    """Return a random number that fits into the header of a database."""
    return secrets.randbelow(2**31 - 1) + 1


def write_mark(mark: int) -> str:
    """Return the statement that writes this mark."""
    return f"PRAGMA user_version = {mark:d}"


def mark_after_crash(path: Path, page_size: int) -> int | None:
    """Return the mark that the next process would find in the log of this database.

    Returns None if that cannot be found out, because there is no room for temporary files.
    Raises sqlite3.Error if the log cannot be read. It never opens the database itself: closing it
    would release the locks that other connections of this process have on it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="latchkey-") as folder:
            copy = Path(folder) / "copy"
            _create_empty(copy, page_size)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}-wal", f"{copy}-wal")
            return _read_mark(copy)
    except OSError:
        return None


def damage(path: Path, error: object = "") -> str:
    """Return the message for a mark that was not found; `error` is what SQLite said, if any."""
    said = f" ({error})" if error else ""
    return (
        f"{path.name}-wal is damaged{said}: data stored from now on would be lost if this process "
        "were killed. Stop it by SIGTERM, which writes everything into the database, and start it "
        "again"
    )


def _create_empty(path: Path, page_size: int) -> None:
    """Create an empty database to which a log of this page size can belong."""
    with contextlib.closing(sqlite3.connect(path)) as empty:
        empty.execute(f"PRAGMA page_size = {page_size:d}")
        empty.execute("PRAGMA journal_mode = WAL")


def _read_mark(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as recovered:
        mark: int = recovered.execute(_READ_MARK).fetchone()[0]
        return mark
