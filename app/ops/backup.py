"""Back up the data folder, and restore it.

A backup that is made while the server runs is consistent, and each session in it has its account.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from app.ops import data_folder
from app.ops.backup_copies import SESSIONS, TABLES, BackupError, copy_all
from app.ops.keys import kept_keys
from app.settings import Settings
from app.stores.sqlite.database_file import own

__all__ = ["BackupError", "backup", "restore"]


def backup(settings: Settings, folder: Path) -> list[str]:
    """Copy the data folder to `folder`, completely or not at all.

    Returns the names of the copies. Raises BackupError, FolderBusy or OSError.
    """
    source, folder = settings.data_dir, folder.resolve()
    if not source.is_dir():
        raise BackupError(f"there is no data folder {source}; name it by --data-dir")
    if folder.is_relative_to(source.resolve()):
        raise BackupError(f"{folder} is in the data folder; choose a folder outside of it")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} exists and is not empty; choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial")
    with data_folder.use(source), _new_folder(partial):
        names = copy_all(source, partial)
        if not names:
            raise BackupError(f"there is nothing in {source} to copy")
        data_folder.sync(partial)
        partial.rename(folder)
        data_folder.sync(folder.parent)
        data_folder.set_last_backup(source, time.time())
    return names


def restore(settings: Settings, folder: Path, *, replace: bool) -> list[str]:
    """Put the contents of `folder` into the data folder.

    All files are copied and checked before any is replaced, so a restore that fails changes
    nothing. The next start finishes a restore that is interrupted while files are moved.

    Returns the names of the restored files. Raises BackupError, FolderBusy, FileOwned, ValueError
    or OSError.
    """
    target = settings.data_dir
    if not folder.is_dir():
        raise BackupError(f"there is no folder {folder}")
    # checked before anything is copied, because a wrong folder may be large
    if not any((folder / name).is_file() for name in (*TABLES, "secret_key")):
        raise BackupError(f"{folder} is not a backup: it has no database and no key")
    settings.make_data_dir()
    with data_folder.alone(target), _owned(target / SESSIONS):
        if data_folder.entries(target) and not replace:
            raise BackupError(
                f"{target} holds data; add --replace to remove it, or name another --data-dir"
            )
        partial = target / data_folder.PARTIAL
        with _new_folder(partial):
            names = copy_all(folder, partial)
            kept_keys(partial / "secret_key")
            _give_to_owner(partial, target)
            data_folder.commit_restore(target, partial)
    return names


@contextlib.contextmanager
def _owned(sessions: Path) -> Iterator[None]:
    """Lock out a server of an older release, which locks this file only."""
    if not sessions.with_suffix(".lock").exists():
        yield
        return
    descriptor = own(sessions)
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _new_folder(path: Path) -> Iterator[None]:
    """Make an empty folder that is removed at the end, unless it was renamed."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _give_to_owner(folder: Path, owner: Path) -> None:
    """Give the files that root restores to the owner of the data folder."""
    if os.geteuid() != 0:
        return
    found = owner.stat()
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, found.st_uid, found.st_gid)
