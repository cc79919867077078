"""A check that acknowledged writes would survive a crash of this process.

SQLite reads back what a running process wrote, even if its write-ahead log was damaged on disk
meanwhile. After a crash the next process ignores everything in the log behind the damage. The
check does what that process would do:

1. The caller writes a random number, the mark, into the header of the database.
2. `LogCheck.keeps` copies the log and reads the mark from the copy, as after a crash.
3. If it finds another number, the log is damaged.

A checkpoint between 1 and 2 moves the mark out of the log, so the caller tries several marks.
Another process that checks the same database overwrites the mark; that is for the caller to see.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

_ATTEMPTS = 3
READ_MARK = "PRAGMA user_version"  # a field of 32 bits, which SQLite leaves to applications


class LogCheck:
    """A check of the log of the database at `path`, whose pages have `page_size` bytes.

    The caller writes one of the `marks` after the other until the log `keeps` one. If it keeps
    none, `damage` says so.
    """

    def __init__(self, path: Path, page_size: int) -> None:
        self._path = path
        self._page_size = page_size
        self._error: object = ""

    def marks(self) -> Iterator[int]:
        """Yield random numbers that fit into the header of a database."""
        for _ in range(_ATTEMPTS):
            yield secrets.randbelow(2**31 - 1) + 1

    def keeps(self, mark: int) -> bool:
        """Return whether the next process would find this mark, as far as that can be found out."""
        try:
            return self._mark_after_crash() in (mark, None)
        except sqlite3.Error as error:
            self._error = error
            return False

    def damage(self) -> str:
        """Return the message for marks that were not found."""
        said = f" ({self._error})" if self._error else ""
        return (
            f"{self._path.name}-wal is damaged{said}: data stored from now on would be lost if "
            "this process were killed. Stop it by SIGTERM, which writes everything into the "
            "database, and start it again"
        )

    def _mark_after_crash(self) -> int | None:
        """Return the mark that the next process would find in the log of this database.

        Returns None if there is no room for temporary files. Raises sqlite3.Error if the log
        cannot be read. It never opens the database itself: closing it would release the locks
        that other connections of this process have on it.
        """
        try:
            with tempfile.TemporaryDirectory(prefix="latchkey-") as folder:
                copy = Path(folder) / "copy"
                _create_empty(copy, self._page_size)
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(f"{self._path}-wal", f"{copy}-wal")
                return _read_mark(copy)
        except OSError:
            return None


def write_mark(mark: int) -> str:
    """Return the statement that writes this mark."""
    return f"PRAGMA user_version = {mark:d}"


def _create_empty(path: Path, page_size: int) -> None:
    """Create an empty database to which a log of this page size can belong."""
    with contextlib.closing(sqlite3.connect(path)) as empty:
        empty.execute(f"PRAGMA page_size = {page_size:d}")
        empty.execute("PRAGMA journal_mode = WAL")


def _read_mark(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as recovered:
        mark: int = recovered.execute(READ_MARK).fetchone()[0]
        return mark
