"""Check that data acknowledged by SQLite would still be there at the next start.

The proof is a random number that is written into the header of the database. It has to be found
again in a copy of the write-ahead log, read as SQLite reads it after a crash: a running process
does not notice that its log was damaged, while the next one ignores all that follows the damage.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sqlite3
import tempfile
from pathlib import Path

ATTEMPTS = 3  # a checkpoint in between moves the number out of the log


def new_mark() -> int:
    """Return a number that fits into the header of a database."""
    return secrets.randbelow(2**31 - 1) + 1


def write_mark(mark: int) -> str:
    """Return the statement that writes this number."""
    return f"PRAGMA user_version = {mark:d}"


READ_MARK = "PRAGMA user_version"


def damage(path: Path, error: object = "") -> str:
    """Return the error message for a number that is not found."""
    said = f" ({error})" if error else ""
    return (
        f"{path.name}-wal is damaged{said}: data stored from now on would be lost if this process "
        "were killed. Stop it by SIGTERM, which writes everything into the database, and start it "
        "again"
    )


def mark_after_crash(path: Path, page_size: int) -> int | None:
    """Return the number that the next start would find in the log of this database.

    None: this could not be found out, since there is no room for temporary files. Raises
    sqlite3.Error where the log cannot be read at all. Never opens the database itself: closing it
    would let go of the locks that other connections of this process have on it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="latchkey-") as folder:
            copy = Path(folder) / "copy"
            with contextlib.closing(sqlite3.connect(copy)) as empty:
                empty.execute(f"PRAGMA page_size = {page_size:d}")
                empty.execute("PRAGMA journal_mode = WAL")
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}-wal", f"{copy}-wal")
            with contextlib.closing(sqlite3.connect(copy)) as recovered:
                mark: int = recovered.execute(READ_MARK).fetchone()[0]
                return mark
    except OSError:
        return None
