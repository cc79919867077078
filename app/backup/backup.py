"""Make a backup while the server runs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from app.backup import manifest, place, postgresql, sessions
from app.backup.errors import BackupError
from app.backup.files import ACCOUNTS, KEYS, SESSIONS, copy_all
from app.backup.manifest import Manifest
from app.common.disk import sync
from app.ops import data_folder
from app.ops.key_file import write_keys
from app.ops.keys import kept_keys, key_file, signing_keys
from app.settings import Settings


def backup(settings: Settings, folder: Path) -> Manifest:
    """Copy all that the site keeps to `folder`, completely or not at all.

    Each session in the copy has its account. Raises BackupError, FolderBusy, StoreUnavailable,
    ValueError or OSError.
    """
    source, folder = settings.data_dir, folder.resolve()
    if not source.is_dir():
        raise BackupError(f"there is no data folder {source}; name it by --data-dir")
    if folder.is_relative_to(source.resolve()):
        raise BackupError(f"{folder} is in the data folder; choose a folder outside of it")
    with data_folder.use(source):
        with place.new_folder(folder) as partial:
            made = _fill(settings, partial)
        data_folder.set_last_backup(source, time.time())
    return made


def backup_dated(settings: Settings, parent: Path, keep: int) -> tuple[Path, Manifest]:
    """Make a backup in a new folder of `parent` that is named after the time.

    All but the `keep` newest ones are removed. Returns the folder, and raises what `backup` does.
    """
    folder = place.dated(parent)
    made = backup(settings, folder)
    place.remove_old(parent, keep)
    return folder, made


def _fill(settings: Settings, folder: Path) -> Manifest:
    """Copy everything into an empty folder; sessions first, so that each has its account."""
    own_database = settings.database == "sqlite"
    elsewhere = [*([SESSIONS] if settings.shared else []), *([] if own_database else [ACCOUNTS])]
    if settings.shared:
        asyncio.run(sessions.save(settings, folder / SESSIONS))
        (folder / SESSIONS).chmod(0o600)
        sync(folder / SESSIONS)
    copied = copy_all(settings.data_dir, folder, leave_out=elsewhere)
    if keys := _keys_elsewhere(settings):
        write_keys(folder / KEYS, keys)
    if own_database:
        revisions = manifest.sqlite_revisions(folder / ACCOUNTS)
    else:
        revisions = postgresql.dump(settings, folder)
        sync(folder / postgresql.DUMP)
    if not copied and own_database and not settings.shared:
        raise BackupError(f"there is nothing in {settings.data_dir} to copy")
    return manifest.write(folder, settings, revisions)


def _keys_elsewhere(settings: Settings) -> tuple[str, ...]:
    """Return the accepted keys if not all of them are in the data folder; the last one signs."""
    if settings.secret_keys:
        return signing_keys(settings)
    path = key_file(settings.data_dir, settings.secret_key_file)
    return kept_keys(path) if path.parent != settings.data_dir or path.name != KEYS else ()
