"""The files of an open SQLite database, and whether they were deleted or replaced."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from app.stores.errors import StoreUnavailable

log = logging.getLogger("latchkey.store")

_EMPTY = (-1, -1)


class FileIdentity:
    """The files of a database as they were when a connection opened them.

    SQLite goes on writing to a file that was deleted or replaced, and everything that is stored
    there is lost with the process. Make this when the database and its log are open.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        files = (str(path), f"{path}-wal")
        # there is no log on file systems that allow none
        self._opened = {file: found for file in files if (found := _identity(file))}

    def problem(self) -> str | None:
        """Return a sentence if one of the files is not the one that was opened, else None."""
        for file, opened in self._opened.items():
            found = _identity(file)
            if found == _EMPTY:
                # for good: from now on SQLite writes only parts of the database into it
                self._opened[file] = _EMPTY
            if found != opened or found == _EMPTY:
                return (
                    f"{self.name} was deleted or replaced while it was in use, and nothing can be "
                    "stored; put the same file back, or restart this process"
                )
        return None


class FileWatch:
    """Logs when the files of a database get lost, and when they are back."""

    def __init__(self, identity: FileIdentity) -> None:
        self._identity = identity
        self.lost = False  # at the latest call of `error`

    def error(self) -> StoreUnavailable | None:
        """Return the error for writes that would be lost, or None."""
        sentence = self._identity.problem()
        if bool(sentence) != self.lost:
            self.lost = bool(sentence)
            if sentence:
                log.error("%s", sentence)
            else:
                log.warning("%s is in its place again", self._identity.name)
        return StoreUnavailable(sentence) if sentence else None


def _identity(path: str) -> tuple[int, int] | None:
    """Return device and inode; None for a file that is missing, _EMPTY for an empty database."""
    try:
        found = os.stat(path)  # noqa: PTH116 (once per commit, at half the price)
    except OSError:
        return None
    if not found.st_size and not path.endswith("-wal"):
        return _EMPTY
    return found.st_dev, found.st_ino
