"""The command `python -m app.accounts add NAME`; the server may run meanwhile."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Sequence

from app.accounts import Accounts, AccountsUnavailable, InvalidAccount, open_database
from app.common.urls import without_credentials
from app.ops import data_folder
from app.ops.data_folder import FolderBusy
from app.settings import Parser, Settings, SettingsError, parse_settings


def _read_password(from_stdin: bool) -> str:
    """Return the password from one line of standard input, or typed twice at a prompt."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise SettingsError("no terminal to ask for a password; pipe it in with --password-stdin")
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise InvalidAccount("The two passwords differ; nothing was stored.")
    return password


async def _add(settings: Settings, name: str, password: str) -> str:
    settings.make_data_dir()
    with data_folder.use(settings.data_dir):
        database = open_database(settings)
        accounts = Accounts(database, announces=False)  # hooks run in the server
        try:
            return await accounts.register(name, password)
        finally:
            await accounts.close()
            await database.close()


def _read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; raises SettingsError."""
    parser = Parser(prog="python -m app.accounts", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="add")
    meaning = "make an account: add NAME asks for its password"
    add = commands.add_parser("add", help=meaning, allow_abbrev=False)
    add.add_argument("name")
    add.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input"
    )
    for flag in ("--config", "--data-dir", "--database"):
        add.add_argument(flag, metavar="VALUE", help="as for python -m app")
    given, rest = parser.parse_known_args(arguments)
    if rest:  # which may be the password
        raise SettingsError(f"there is more than a name; see {parser.prog} add --help")
    return given


def _variables_of_the_server() -> list[str]:
    """Return the variables that modules of handlers/ read; this takes half a second."""
    import handlers
    from app.extensions import own_variables
    from app.module_list import listed

    return own_variables(listed(handlers))


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0, 1 where the account cannot be made, 2 for a wrong call."""
    try:
        given = _read_arguments(arguments)
        flags = {
            "--config": given.config,
            "--data-dir": given.data_dir,
            "--database": given.database,
        }
        settings = parse_settings(
            [f"{flag}={value}" for flag, value in flags.items() if value is not None],
            os.environ,
            others=_variables_of_the_server,
        )
        name = asyncio.run(_add(settings, given.name, _read_password(given.password_stdin)))
    except SettingsError as error:
        print(f"latchkey: {error}", file=sys.stderr)
        return 2
    except (InvalidAccount, AccountsUnavailable, FolderBusy, OSError, UnicodeError) as error:
        print(f"latchkey: {error}", file=sys.stderr)
        return 1
    except (EOFError, KeyboardInterrupt):
        print("\nlatchkey: no password, so nothing was stored", file=sys.stderr)
        return 1
    where = f"accounts: {without_credentials(settings.database)}, data: {settings.data_dir}"
    print(f"{name} can sign in now ({where})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
