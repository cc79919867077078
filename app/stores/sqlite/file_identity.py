"""Notice that the files of an open SQLite database were deleted or replaced."""

from __future__ import annotations

import os
from pathlib import Path

_EMPTY = (-1, -1)


class FileIdentity:
    """The files of a database as they were when a connection opened them.

    SQLite goes on writing to a file after somebody deleted or replaced it, and everything that is
    stored there is lost with the process. Make this when the database and its log are open.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        files = (str(path), f"{path}-wal")
        # without a log where the file system allows none
        self._known = {file: found for file in files if (found := _identity(file))}

    def problem(self) -> str | None:
        """Return a sentence if one of the files is not the one that was opened, else None."""
        for file, known in self._known.items():
            found = _identity(file)
            if found == _EMPTY:
                # for good: what SQLite writes into it from now on is not the whole of it
                self._known[file] = _EMPTY
            if found != known or found == _EMPTY:
                return (
                    f"{self._name} was deleted or replaced while it was in use, and nothing can be "
                    "stored; put the same file back, or restart this process"
                )
        return None


def _identity(path: str) -> tuple[int, int] | None:
    """Return device and inode; None for a file that is missing, _EMPTY for an empty database."""
    try:
        found = os.stat(path)  # noqa: PTH116 (once per commit, at half the price)
    except OSError:
        return None
    if not found.st_size and not path.endswith("-wal"):
        return _EMPTY
    return found.st_dev, found.st_ino
