"""The command `python -m app.database`: the migrations of the app's tables and of a fork's."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from sqlalchemy.exc import DBAPIError

import handlers
from app.accounts.schema import SCHEMA
from app.database.engine import not_opened, open_engine
from app.database.migrations import downgrade, migrate, states, status
from app.database.module_schemas import migrations_place
from app.database.schema import Schema, SchemaError
from app.database.scratch import make_revision
from app.extensions import InvalidModule, load_extensions, own_variables, schemas
from app.module_list import listed
from app.ops import data_folder
from app.ops.data_folder import FolderBusy
from app.settings import Parser, Settings, SettingsError, parse_settings


def _read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; raises SettingsError."""
    parser = Parser(
        prog="python -m app.database",
        description="Migrations of the tables of modules. A start of the server runs them too.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(
        required=True, metavar="current|upgrade|downgrade|revision", dest="command"
    )
    said = {
        "current": "show the revision of each module in the database",
        "upgrade": "run all migrations, as the start of the server does",
        "downgrade": "run a module's migrations backwards",
        "revision": "write a migration for what has changed in a module's metadata",
    }
    made = {
        name: commands.add_parser(name, help=text, allow_abbrev=False)
        for name, text in said.items()
    }
    for name in ("downgrade", "revision"):
        made[name].add_argument("module", help="such as handlers.chat")
    made["current"].add_argument("--json", action="store_true", help="print JSON, for scripts")
    made["downgrade"].add_argument("revision", help='id to go back to, or "base" to remove all')
    made["revision"].add_argument("-m", "--message", required=True, help="what changes")
    made["revision"].add_argument(
        "--empty", action="store_true", help="write no changes, for a migration of data"
    )
    for name, command in made.items():
        if name != "revision":
            command.add_argument("--data-dir", metavar="VALUE", help="as for python -m app")
        for flag in ("--database", "--config"):
            command.add_argument(flag, metavar="VALUE", help="as for python -m app")
    return parser.parse_args(arguments)


def _settings(given: argparse.Namespace) -> Settings:
    """Return the settings; `revision` uses SQLite unless --database is given."""
    flags = {
        "--config": given.config,
        "--data-dir": vars(given).get("data_dir"),
        "--database": given.database,
    }
    if given.command == "revision" and given.database is None:
        flags["--database"] = "sqlite"
    return parse_settings(
        [f"{flag}={value}" for flag, value in flags.items() if value is not None],
        os.environ,
        others=lambda: own_variables(listed(handlers)),
    )


def _find(all_schemas: Sequence[Schema], name: str) -> Schema:
    """Return the tables of a module; `chat` stands for handlers.chat. Raises SettingsError."""
    for schema in all_schemas:
        if schema.name in (name, f"handlers.{name}"):
            return schema
    names = ", ".join(schema.name for schema in all_schemas)
    raise SettingsError(f"{name} is no module with metadata; there are: {names}")


def _revision(settings: Settings, all_schemas: list[Schema], given: argparse.Namespace) -> str:
    target = _find(all_schemas, given.module)
    if target.migrations is None:
        found = replace(target, migrations=migrations_place(importlib.import_module(target.name)))
        all_schemas[all_schemas.index(target)] = target = found
    path = make_revision(settings, all_schemas, target, given.message, empty=given.empty)
    if path is None:
        return f"the metadata of {target.name} has nothing new, so nothing is written"
    _format(path)
    return f"{os.path.relpath(path)} is written; read it before you commit it"


def _format(path: Path) -> None:
    """Format a file by ruff, if it is installed."""
    if importlib.util.find_spec("ruff") is not None:
        command = [sys.executable, "-m", "ruff", "format", "--quiet", str(path)]
        subprocess.run(command, check=False)  # noqa: S603  (a path that this program has made)


def _data_folder(settings: Settings, *, make: bool) -> AbstractContextManager[object]:
    """Lock the data folder if the database is in it; raises OSError if it is missing."""
    if settings.database != "sqlite":
        return contextlib.nullcontext()
    if make:
        settings.make_data_dir()
    elif not settings.data_dir.is_dir():
        raise OSError(f"there is no data folder {settings.data_dir}; name it by --data-dir")
    return data_folder.use(settings.data_dir)


def _run(given: argparse.Namespace, settings: Settings) -> list[str]:
    """Run a command; return the lines to print."""
    all_schemas = [SCHEMA, *schemas(load_extensions(listed(handlers)))]
    if given.command == "revision":
        return [_revision(settings, all_schemas, given)]
    with _data_folder(settings, make=given.command == "upgrade"):
        engine = open_engine(settings, connections=1)
        try:
            if given.command == "upgrade":
                migrate(engine, all_schemas)
            elif given.command == "downgrade":
                downgrade(engine, _find(all_schemas, given.module), given.revision)
            elif given.command == "current" and given.json:
                return [json.dumps(states(engine, all_schemas))]
            return [f"{name}: {words}" for name, words in status(engine, all_schemas)]
        finally:
            engine.dispose()


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0, 1 if it fails, 2 if an argument is wrong."""
    os.umask(0o077)
    settings = None
    try:
        given = _read_arguments(arguments)
        # a revision runs all migrations on a temporary database, which is of no interest
        level = logging.WARNING if given.command == "revision" else logging.INFO
        logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
        settings = _settings(given)
        lines = _run(given, settings)
    except (InvalidModule, SettingsError) as error:
        print(f"latchkey: {error}", file=sys.stderr)
        return 2
    except (SchemaError, FolderBusy, OSError) as error:
        print(f"latchkey: {error}", file=sys.stderr)
        return 1
    except DBAPIError as error:
        assert settings is not None
        print(f"latchkey: {not_opened(settings, error)}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
