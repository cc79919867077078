"""The accounts of a database, and the command that adds one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from app.accounts import Accounts, open_database
from app.settings import Settings
from tests.support import made_tables
from tests.support.forms import PASSWORD
from tests.support.postgres import Place
from tests.support.process import run
from tests.support.site import Site


async def account_id(site: Site, name: str) -> str:
    """Return the id of the account with this name."""
    account = await site.services.accounts.by_name(name)
    return str(account.id)


@contextlib.asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Accounts]:
    """Open the accounts of this place and close them at the end."""
    async with opened_at(place.settings) as accounts:
        yield accounts


@contextlib.asynccontextmanager
async def opened_at(settings: Settings) -> AsyncIterator[Accounts]:
    """Open the accounts of these settings and close them at the end."""
    if settings.database == "sqlite":
        made_tables.put(settings.data_dir)
    database = open_database(settings)
    accounts = Accounts(database)
    try:
        yield accounts
    finally:
        await accounts.close()
        await database.close()


async def add(
    *arguments: str, typed: str = PASSWORD + "\n", **environ: str
) -> tuple[int, str, str]:
    """Run `python -m app.accounts`; return its exit code, its output and its errors."""
    return await run(*arguments, program="app.accounts", typed=typed, **environ)
