"""The commands `python -m app backup FOLDER` and `python -m app restore FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from app.ops.backup import BackupError, backup, restore
from app.ops.data_folder import FolderBusy
from app.settings import Parser, Settings, SettingsError, parse_settings
from app.stores.sqlite.database_file import FileOwned

COMMANDS = ("backup", "restore")

_FLAGS = ("--config", "--data-dir", "--store", "--database")


def main(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    others: Callable[[], Collection[str]] = tuple,
) -> int:
    """Run `backup` or `restore`; return 0, 1 if it fails, 2 if an argument is wrong.

    `others` returns the names of variables that only the server reads.
    """
    try:
        given = _read_arguments(arguments)
        values = {flag: vars(given)[flag[2:].replace("-", "_")] for flag in _FLAGS}
        settings = parse_settings(
            [f"{flag}={value}" for flag, value in values.items() if value is not None],
            environ,
            others=others,
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
    for sentence in _not_included(settings):
        print(sentence)
    return 0


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


def _not_included(settings: Settings) -> list[str]:
    """Return a sentence for each kind of data that is outside the data folder."""
    found = []
    if settings.database != "sqlite":
        found.append("Not in the copy: accounts and tables, which are in PostgreSQL. Use pg_dump.")
    if settings.shared:
        found.append("Not in the copy: sessions, which are in Redis. Keep its RDB or AOF file.")
    if settings.store == "memory":
        found.append("Not in the copy: sessions, which are in the memory of the process.")
    if settings.secret_keys:
        found.append("Not in the copy: the keys of --secret-keys. Keep them with your settings.")
    path = settings.secret_key_file
    if path is not None and not path.resolve().is_relative_to(settings.data_dir.resolve()):
        found.append(f"Not in the copy: the keys in {path}. Keep a copy of that file.")
    return found
