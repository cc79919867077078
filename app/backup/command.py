"""The commands `python -m app backup FOLDER`, `restore FOLDER` and `verify FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from app.accounts import AccountsUnavailable
from app.backup.backup import backup, backup_dated
from app.backup.checks import verify
from app.backup.errors import BackupError
from app.backup.restore import Restored, restore
from app.database import Schema
from app.ops.data_folder import FolderBusy
from app.settings import Parser, Settings, SettingsError, parse_settings
from app.stores import StoreError
from app.stores.sqlite.database_file import FileOwned

COMMANDS = ("backup", "restore", "verify")

_FLAGS = ("--config", "--data-dir", "--store", "--database")
_FAILURES = (
    *(AccountsUnavailable, BackupError, FileOwned, FolderBusy, StoreError, ValueError, OSError),
)


def main(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    others: Callable[[], Collection[str]] = tuple,
    schemas: Callable[[], Sequence[Schema]] = tuple,
) -> int:
    """Run a command; return 0, 1 if it fails, 2 if an argument is wrong.

    `others` returns the names of variables that only the server reads, `schemas` the tables of the
    modules that it serves.
    """
    try:
        given = _read_arguments(arguments)
        settings = None if given.command == "verify" else _settings(given, environ, others)
    except SettingsError as error:
        print(f"latchkey: {error}", file=sys.stderr)
        return 2
    try:
        if settings is None:
            lines = _verify(given)
        elif given.command == "backup":
            lines = _backup(given, settings)
        else:
            lines = _restore(given, settings, schemas())
    except _FAILURES as error:
        print(f"latchkey: {given.command} failed: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def _backup(given: argparse.Namespace, settings: Settings) -> list[str]:
    folder = given.folder
    if given.keep is None:
        made = backup(settings, folder)
    else:
        folder, made = backup_dated(settings, folder, given.keep)
    done = f"{settings.data_dir} is copied to {folder}: {', '.join(sorted(made.files))}"
    if settings.store == "memory":
        return [done, "Not in the copy: sessions, which are in the memory of the process."]
    return [done]


def _restore(given: argparse.Namespace, settings: Settings, schemas: Sequence[Schema]) -> list[str]:
    done = restore(
        settings,
        given.folder,
        schemas,
        replace=given.replace,
        unchecked=given.unchecked,
        sign_out=given.sign_out,
    )
    names = ", ".join(sorted(done.names))
    return [f"{given.folder} is restored to {settings.data_dir}: {names}", *_about_sessions(done)]


def _about_sessions(done: Restored) -> list[str]:
    lines = []
    if done.kept:
        lines.append("Redis had sessions, which are newer; those of the backup were left out.")
    if done.ended:
        lines.append(f"Sessions that no account of the backup may have were ended: {done.ended}")
    return lines


def _verify(given: argparse.Namespace) -> list[str]:
    found = verify(given.folder)
    return [
        f"{given.folder} is complete: {len(found.files)} files, made at {found.time} by Latchkey "
        f"{found.version}, accounts in {found.database}, sessions in {found.store}"
    ]


def _settings(
    given: argparse.Namespace, environ: Mapping[str, str], others: Callable[[], Collection[str]]
) -> Settings:
    """Return the settings of the server; raises SettingsError."""
    values = {flag: vars(given)[flag[2:].replace("-", "_")] for flag in _FLAGS}
    return parse_settings(
        [f"{flag}={value}" for flag, value in values.items() if value is not None],
        environ,
        others=others,
    )


def _read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; raises SettingsError."""
    command = arguments[0]
    parser = Parser(prog=f"python -m app {command}", allow_abbrev=False)
    parser.set_defaults(command=command)
    parser.add_argument("folder", type=Path, help="folder of the backup")
    if command == "backup":
        parser.add_argument(
            "--keep",
            type=_number,
            metavar="N",
            help="make a folder in FOLDER named after the time, and keep the N newest",
        )
    if command == "restore":
        for flag, text in (
            ("--replace", "remove what the data folder and PostgreSQL hold now"),
            ("--unchecked", "accept a backup without backup.json, of an older release"),
            ("--sign-out", "end all sessions"),
        ):
            parser.add_argument(flag, action="store_true", help=text)
    if command != "verify":
        for flag in _FLAGS:
            parser.add_argument(flag, metavar="VALUE", help="as for python -m app")
    return parser.parse_args(arguments[1:])


def _number(text: str) -> int:
    """Return a number of backups (argparse calls this)."""
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError("write a number from 1 to 10000")
    return int(text)
