"""Restore a backup, into an empty machine or in place of what is there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace as changed
from pathlib import Path
from typing import NamedTuple

from app.accounts import Accounts, open_database, without_orphans
from app.accounts.schema import SCHEMA
from app.backup import manifest, place, postgresql, sessions
from app.backup.checks import check_fits, readable
from app.backup.errors import BackupError
from app.backup.files import KEYS, SESSIONS, copy_all
from app.backup.sessions import Filter
from app.common.disk import sync
from app.database import Schema
from app.ops import data_folder
from app.ops.key_file import write_keys
from app.ops.keys import kept_keys
from app.settings import Settings
from app.stores import Record, SessionStore
from app.stores.sqlite.database_file import own

# notes of a restore that has begun
KEPT, FILLED = "Redis has newer sessions", "Redis gets the sessions of the backup"


class Restored(NamedTuple):
    """What a restore has done."""

    names: list[str]  # of the files of the data folder
    ended: int  # sessions whose account is not in the backup, or may not have them
    kept: bool  # whether Redis had sessions, which stay in place of those of the backup


def restore(
    settings: Settings,
    folder: Path,
    schemas: Sequence[Schema],
    *,
    replace: bool = False,
    unchecked: bool = False,
    sign_out: bool = False,
) -> Restored:
    """Put a backup into the data folder, PostgreSQL and Redis, and migrate its tables.

    `schemas` are the tables of modules. With `replace` what is there is removed. With `unchecked`
    the folder needs no manifest, as that of an older release. With `sign_out` all sessions end.

    All is checked before anything is changed, and files are copied before any is replaced. A
    data folder whose restore was interrupted starts no process until the restore is repeated or,
    if only files were to be moved, has moved them. Raises BackupError, FolderBusy, FileOwned,
    StoreError, AccountsUnavailable, ValueError or OSError.
    """
    target = settings.data_dir
    found = readable(folder, unchecked=unchecked)
    if found is not None:
        check_fits(found, folder, settings, [SCHEMA, *schemas])
    settings.make_data_dir()
    with data_folder.alone(target), _owned(target / SESSIONS):
        interrupted = data_folder.unfinished_restore(target)
        replace = replace or interrupted is not None
        if data_folder.entries(target) and not replace:
            raise BackupError(
                f"{target} holds data; add --replace to remove it, or name another --data-dir"
            )
        with place.temporary(target / data_folder.PARTIAL) as partial:
            work = _Restore(settings, folder, partial, schemas, sign_out=sign_out)
            return work.run(replace=replace, interrupted=interrupted, dumped=found is not None)


class _Restore:
    """The steps of one restore, while the data folder is locked."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        partial: Path,
        schemas: Sequence[Schema],
        *,
        sign_out: bool,
    ) -> None:
        """`partial` is an empty folder in the data folder."""
        self._settings = settings
        self._folder = folder
        self._partial = partial
        self._schemas = schemas
        self._sign_out = sign_out

    def run(self, *, replace: bool, interrupted: str | None, dumped: bool) -> Restored:
        """Restore; `interrupted` is what the last one noted, `dumped` whether a dump is there."""
        settings, target = self._settings, self._settings.data_dir
        dumped = dumped and settings.database != "sqlite"
        if dumped:
            postgresql.check_target(settings, replace=replace)
        kept = settings.shared and asyncio.run(self._look_at_redis(interrupted))
        names = self._copy()
        if dumped or settings.shared:
            data_folder.begin_restore(target, KEPT if kept else FILLED)
        if dumped:
            try:
                postgresql.restore(settings, self._folder / postgresql.DUMP)
            except postgresql.RolledBack:
                if interrupted is None:  # nothing has been changed
                    data_folder.forget_restore(target)
                raise
        ended = asyncio.run(self._end_orphans(kept=kept))
        for path in self._partial.iterdir():
            sync(path)
        _give_to_owner(self._partial, target)
        data_folder.commit_restore(target, self._partial)
        return Restored(names, ended, kept)

    def _copy(self) -> list[str]:
        """Copy the files of the data folder, and check them."""
        elsewhere = [manifest.NAME, postgresql.DUMP]
        if self._settings.shared:
            elsewhere.append(SESSIONS)
        keys = kept_keys(self._folder / KEYS)
        path = self._settings.secret_key_file
        if path is not None:
            elsewhere.append(KEYS)
        names = copy_all(self._folder, self._partial, leave_out=elsewhere)
        if path is not None and keys and not path.exists():
            _restore_keys(path, keys)
        return names

    async def _look_at_redis(self, interrupted: str | None) -> bool:
        """Return whether Redis has sessions; raises BackupError if a process of the site runs.

        They are newer than the backup, so a session of the backup that is not among them has ended.
        """
        await sessions.check_unused(self._settings)
        if interrupted is not None:
            return interrupted == KEPT
        async with sessions.opened(self._settings) as store:
            return not await sessions.is_empty(store)

    async def _end_orphans(self, *, kept: bool) -> int:
        """Migrate the tables; fill Redis, and end the sessions that no account may have."""
        settings = self._settings
        if settings.database == "sqlite":
            settings = changed(settings, data_dir=self._partial)
        database = open_database(settings, self._schemas)
        accounts = Accounts(database, announces=False)
        try:
            return await self._end(self._filter(accounts), kept=kept)
        finally:
            await accounts.close()
            await database.close()

    async def _end(self, filter: Filter, *, kept: bool) -> int:
        if self._settings.shared:
            async with sessions.opened(self._settings) as store:
                ended = await sessions.end(store, filter)
                if not kept and (self._folder / SESSIONS).exists():
                    ended += await self._fill(store, filter)
                return ended
        path = self._partial / SESSIONS
        return await sessions.end_in_file(path, filter) if path.exists() else 0

    async def _fill(self, store: SessionStore, filter: Filter) -> int:
        """Put the sessions of the backup into Redis; return how many may not stay."""
        # a copy: SQLite may migrate the file, and needs a log beside it
        path = self._partial / SESSIONS
        shutil.copyfile(self._folder / SESSIONS, path)
        try:
            return await sessions.load(path, store, filter)
        finally:
            path.unlink()

    def _filter(self, accounts: Accounts) -> Filter:
        async def filter(records: Sequence[Record]) -> list[Record]:
            return [] if self._sign_out else await without_orphans(accounts, records)

        return filter


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


def _restore_keys(path: Path, keys: Sequence[str]) -> None:
    """Make the file of --secret-key-file; one that exists is newer, and stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_keys(path, keys)


def _give_to_owner(folder: Path, owner: Path) -> None:
    """Give the files that root restores to the owner of the data folder."""
    if os.geteuid() != 0:
        return
    found = owner.stat()
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, found.st_uid, found.st_gid)
