"""`python -m app backup FOLDER` and `restore FOLDER`: a copy of the data folder.

A copy that is made while the server runs is consistent: SQLite's backup API copies each database
as of one moment. Sessions are copied before accounts, so that each has its account.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from app.ops import data_folder
from app.ops.data_folder import FolderBusy
from app.ops.keys import kept_keys
from app.settings import Parser, Settings, SettingsError, parse_settings
from app.stores.sqlite.file import FileOwned, own

COMMANDS = ("backup", "restore")

_MAGIC = b"SQLite format 3\0"
_COMPANIONS = ("-wal", "-shm", "-journal")  # files that SQLite keeps beside a database
_SESSIONS = "sessions.sqlite3"
_TABLES = MappingProxyType({"accounts.sqlite3": "accounts", _SESSIONS: "sessions"})


class BackupError(Exception):
    """A backup or restore that could not be made; the text says why and what to do."""


def backup(settings: Settings, folder: Path) -> list[str]:
    """Copy the data folder to `folder`, which appears complete or not at all.

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
    return names


def restore(settings: Settings, folder: Path, *, replace: bool) -> list[str]:
    """Put what `folder` holds into the data folder.

    All of it is copied and checked before anything is replaced, so a restore that fails changes
    nothing, and one that is interrupted while files are moved is finished by the next start.

    Returns the names of the restored files. Raises BackupError, FolderBusy, FileOwned, ValueError
    or OSError.
    """
    target = settings.data_dir
    if not folder.is_dir():
        raise BackupError(f"there is no folder {folder}")
    # before anything is copied: the wrong folder may be a large one
    if not any((folder / name).is_file() for name in (*_TABLES, "secret_key")):
        raise BackupError(f"{folder} is not a backup: it has no database and no key")
    settings.make_data_dir()
    with data_folder.alone(target), _owned(target / _SESSIONS):
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
    """Lock out a server of an older release, which locks only this file."""
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


def copy_all(source: Path, target: Path) -> list[str]:
    """Copy what a data folder holds into an empty folder; return the names."""
    # sessions first: an account that is made meanwhile may lack its sessions, but none its account
    paths = sorted(data_folder.entries(source), key=lambda path: path.name != _SESSIONS)
    copied = [path for path in paths if _copy(path, target / path.name)]
    return [path.name for path in copied]


def _copy(source: Path, target: Path) -> bool:
    """Copy a file or a folder; return False if it holds no data."""
    if source.is_dir():
        target.mkdir(mode=0o700)
        for path in source.iterdir():
            _copy(path, target / path.name)
        data_folder.sync(target)
        return True
    if not source.is_file() or source.name.endswith(_COMPANIONS):
        return False
    with source.open("rb") as file:
        is_database = file.read(len(_MAGIC)) == _MAGIC
    if is_database:
        try:
            _copy_database(source, target)
        except sqlite3.Error as error:
            raise BackupError(f"{source} could not be copied ({error})") from error
    elif source.name in _TABLES:
        raise BackupError(f"{source} is not a database; remove it, or replace it by a good copy")
    else:
        shutil.copyfile(source, target)
    target.chmod(0o600)
    data_folder.sync(target)
    return True


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database as of this moment, with what is only in its log, and check the copy."""
    with (
        contextlib.closing(sqlite3.connect(_read_only(source), uri=True, timeout=10)) as original,
        contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, with no log beside it
        (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise BackupError(f"{source} is damaged ({' '.join(found.split())})")
        table = _TABLES.get(source.name)
        tables = copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if table and (table,) not in tables:
            raise BackupError(f"{source} has no table {table}; it belongs to another program")


def _read_only(path: Path) -> str:
    # SQLite makes a log beside a database even to read it, which a read-only medium does not allow
    fixed = not os.access(path.parent, os.W_OK, effective_ids=True) and not _log(path).exists()
    return f"file:{quote(str(path.resolve()))}?mode=ro{'&immutable=1' if fixed else ''}"


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _give_to_owner(folder: Path, owner: Path) -> None:
    """Give the files that root restores to the owner of the data folder."""
    if os.geteuid() != 0:
        return
    found = owner.stat()
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, found.st_uid, found.st_gid)


def not_included(settings: Settings) -> list[str]:
    """Return a sentence for each kind of data that is not in the data folder."""
    said = []
    if settings.database != "sqlite":
        said.append("Not in the copy: accounts, which are in PostgreSQL. Use pg_dump.")
    if settings.shared:
        said.append("Not in the copy: sessions, which are in Redis. Keep its RDB or AOF file.")
    if settings.store == "memory":
        said.append("Not in the copy: sessions, which are in the memory of the process.")
    if settings.secret_keys:
        said.append("Not in the copy: the keys of --secret-keys. Keep them with your settings.")
    return said


def _read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; raises SettingsError."""
    command = arguments[0]
    parser = Parser(prog=f"python -m app {command}", allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="folder of the backup")
    if command == "restore":
        parser.add_argument(
            "--replace", action="store_true", help="remove what the data folder holds now"
        )
    for flag in _FLAGS:
        parser.add_argument(flag, metavar="VALUE", help="as for python -m app")
    return parser.parse_args(arguments[1:])


_FLAGS = ("--data-dir", "--store", "--database")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run `backup` or `restore`; return 0, 1 if it fails, 2 for a wrong call."""
    try:
        given = _read_arguments(arguments)
        values = {flag: vars(given)[flag[2:].replace("-", "_")] for flag in _FLAGS}
        settings = parse_settings(
            [f"{flag}={value}" for flag, value in values.items() if value is not None], environ
        )
    except SettingsError as error:
        print(f"latchkey: {error}", file=sys.stderr)
        return 2
    try:
        if arguments[0] == "backup":
            names = backup(settings, given.folder)
            done = f"{settings.data_dir} is copied to {given.folder}"
        else:
            names = restore(settings, given.folder, replace=given.replace)
            done = f"{given.folder} is restored to {settings.data_dir}"
    except (BackupError, FolderBusy, FileOwned, ValueError, OSError) as error:
        print(f"latchkey: {arguments[0]} failed: {error}", file=sys.stderr)
        return 1
    print(f"{done}: {', '.join(sorted(names))}")
    for sentence in not_included(settings):
        print(sentence)
    return 0
