"""The accounts of a database, and the command that adds one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator

from app.accounts import Accounts, open_database
from app.settings import Settings
from tests.support.forms import PASSWORD
from tests.support.paths import ROOT
from tests.support.postgres import Place


@contextlib.asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Accounts]:
    """Open the accounts of this place and close them at the end."""
    async with opened_at(place.settings) as accounts:
        yield accounts


@contextlib.asynccontextmanager
async def opened_at(settings: Settings) -> AsyncIterator[Accounts]:
    """Open the accounts of these settings and close them at the end."""
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
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "app.accounts", *arguments),
        cwd=ROOT,
        env={**os.environ, **environ},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await child.communicate(typed.encode())
    return child.returncode or 0, out.decode(), error.decode()
