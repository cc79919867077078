"""The action `python -m app.accounts add NAME`, which stores an account with a password.

It opens the database itself, also while the server runs, so that no password passes a socket.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import sys

from app.accounts import Accounts, AccountsUnavailable, InvalidAccount, open_database
from app.common.urls import without_credentials
from app.console.accounts import add_by_link
from app.console.errors import Failed, WrongCall
from app.console.program import Call, setting_flags
from app.extensions import own_variables
from app.ops import data_folder
from app.ops.data_folder import FolderBusy
from app.settings import Settings, parse_settings


def add(call: Call) -> None:
    """Make an account with a password that is typed or piped in, or with a one-time link."""
    if call.given.link:
        if call.given.password_stdin:
            raise WrongCall("--link and --password-stdin exclude each other")
        add_by_link(call)
        return
    settings = parse_settings(
        # no session matters here, and Redis would ask for keys
        [flag for flag in setting_flags(call.given) if not flag.startswith("--store=")],
        os.environ,
        others=lambda: own_variables(call.load().modules),
    )
    try:
        password = _read_password(call.given.password_stdin)
        name = asyncio.run(_add(settings, call.given.name, password))
    except (InvalidAccount, AccountsUnavailable, FolderBusy, OSError, UnicodeError) as error:
        raise Failed(str(error)) from None
    except (EOFError, KeyboardInterrupt):
        print(file=sys.stderr)
        raise Failed("no password, so nothing was stored") from None
    where = f"accounts: {without_credentials(settings.database)}, data: {settings.data_dir}"
    call.show({"name": name}, lambda: [f"{name} can sign in now ({where})"])


def _read_password(from_stdin: bool) -> str:
    """Return the password from one line of standard input, or typed twice at a prompt."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise WrongCall(
            "no terminal to ask for a password; pipe it in with --password-stdin, or use --link"
        )
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
