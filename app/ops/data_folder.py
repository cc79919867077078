"""Locks on the data folder, and the completion of an interrupted restore.

A restore copies the new files into the subfolder `restoring`, checks them, and then moves them to
their places. If it is interrupted before the moves, nothing has changed. If it is interrupted
during the moves, the next process that uses the folder moves the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from app.common.disk import sync

RESTORING = "restoring"
PARTIAL = "restoring.partial"
_NAMES = "names.json"  # what the folder holds after the restore
_LAST_BACKUP = "last_backup"  # holds when the latest backup was complete
# holds a note while a restore changes what is outside of the folder
_UNFINISHED = "restore.unfinished"
_NO_DATA = (RESTORING, PARTIAL, _LAST_BACKUP, _UNFINISHED)


class FolderBusy(Exception):
    """Another process has locked the data folder."""


class FolderLock:
    """A lock on the data folder; `with` releases it at the end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        # the number may be that of another file by then
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor != -1:
            os.close(descriptor)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def use(folder: Path) -> FolderLock:
    """Lock the folder against restores; raises FolderBusy.

    Any number of processes may use a folder. Finishes the moves of a restore that was interrupted.
    """
    if unfinished_restore(folder) is not None and not (folder / RESTORING).is_dir():
        with alone(folder):  # which raises if the restore runs
            raise FolderBusy(
                f"a restore of {folder} was interrupted; run python -m app restore once more"
            )
    if (folder / RESTORING).is_dir():
        with alone(folder):
            finish_restore(folder)
    return _lock(folder, fcntl.LOCK_SH, f"a restore of {folder} is running; start again after it")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lock the folder against all other processes; raises FolderBusy."""
    why = f"{folder} is in use by another process; stop that one first"
    with _lock(folder, fcntl.LOCK_EX, why):
        yield


def _lock(folder: Path, kind: int, why: str) -> FolderLock:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise FolderBusy(why) from None
    except OSError:
        if kind == fcntl.LOCK_EX:
            os.close(descriptor)
            raise
        # the file system has no such locks, so that only a restore is impossible
    return FolderLock(descriptor)


def entries(folder: Path) -> list[Path]:
    """List a data folder without its locks, its sockets and the files of backup and restore."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix != ".lock" and path.name not in _NO_DATA
        if not path.is_socket()
    )


def begin_restore(folder: Path, note: str) -> None:
    """Keep processes from using the folder until `commit_restore`, also after a crash."""
    (folder / _UNFINISHED).write_text(note)
    sync(folder / _UNFINISHED)
    sync(folder)


def unfinished_restore(folder: Path) -> str | None:
    """Return the note of a restore that has begun and is not complete; None if there is none."""
    try:
        return (folder / _UNFINISHED).read_text()
    except FileNotFoundError:
        return None


def forget_restore(folder: Path) -> None:
    """Undo `begin_restore`: nothing was changed."""
    (folder / _UNFINISHED).unlink(missing_ok=True)
    sync(folder)


def commit_restore(folder: Path, complete: Path) -> None:
    """Replace the contents of the folder by those of `complete`, a folder inside it."""
    names = [path.name for path in complete.iterdir()]
    (complete / _NAMES).write_text(json.dumps(names))
    sync(complete / _NAMES)
    sync(complete)
    complete.rename(folder / RESTORING)
    sync(folder)
    finish_restore(folder)


def finish_restore(folder: Path) -> None:
    """Move the restored files to their places; may be repeated after any interruption."""
    restoring = folder / RESTORING
    names_file = restoring / _NAMES
    if names_file.exists():
        names = json.loads(names_file.read_text())
        # logs of the old databases first, or SQLite would apply them to the restored ones
        for path in entries(folder):
            if path.name not in names:
                _remove(path)
        for name in names:
            if (restoring / name).exists():
                if (folder / name).is_dir():
                    _remove(folder / name)
                (restoring / name).replace(folder / name)
        (folder / _UNFINISHED).unlink(missing_ok=True)
        sync(folder)
        names_file.unlink()
    restoring.rmdir()


def set_last_backup(folder: Path, when: float) -> None:
    """Note that a backup was complete, in seconds since 1970; raises OSError."""
    new = folder / f"{_LAST_BACKUP}.lock"  # which no backup copies
    new.write_text(f"{when:.0f}\n")
    new.chmod(0o644)  # root may have made it, and the server reads it
    new.replace(folder / _LAST_BACKUP)


def last_backup(folder: Path) -> float:
    """Return when the latest backup was complete, in seconds since 1970; 0 if there was none."""
    try:
        return float((folder / _LAST_BACKUP).read_text())
    except (OSError, ValueError):
        return 0.0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
