"""Administrators, and users whom they sign in as."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.accounts.schema import accounts, roles
from app.testing import Answer
from tests.support.accounts import account_id
from tests.support.forms import PASSWORD, send
from tests.support.postgres import Postgres
from tests.support.site import Site, serve
from tests.support.sites import sites
from tests.support.visitor import Visitor


async def administrator(site: Site, visitor: Visitor, name: str = "root") -> str:
    """Sign this browser in as a new administrator; return the account id."""
    await site.services.accounts.register(name, PASSWORD)
    id = await account_id(site, name)
    await site.services.roles.set(id, add=["admin"])
    await visitor.sign_in(name)
    return id


async def sign_in_as(visitor: Visitor, id: str, kind: str = "json") -> Answer:
    """Let an administrator sign in as the user with this account id."""
    return await send(visitor, kind, f"/admin/accounts/{id}/sign-in-as")


async def stop(visitor: Visitor, kind: str = "json") -> Answer:
    """Let an administrator stop that."""
    return await send(visitor, kind, "/impersonation/stop")


async def acting(site: Site, visitor: Visitor, name: str = "ann") -> tuple[str, str]:
    """Sign a new administrator in as a new user; return both account ids, the user's first."""
    root = await administrator(site, visitor)
    await site.services.accounts.register(name, PASSWORD)
    user = await account_id(site, name)
    answer = await sign_in_as(visitor, user)
    assert answer.status == 204, answer.text
    return user, root


@contextlib.asynccontextmanager
async def two_places(
    tmp_path: Path, kind: str, postgres: Postgres, **options: Any
) -> AsyncIterator[tuple[Site, Site]]:
    """Serve one site twice: by two processes over Redis and PostgreSQL, or by one with SQLite."""
    if kind == "sqlite":
        async with serve(tmp_path, store="sqlite", **options) as site:
            yield site, site
        return
    with postgres.lent() as name:
        async with sites(tmp_path, database=postgres.url(name), **options) as (here, there):
            yield here, there


each_place = pytest.mark.parametrize("kind", ["sqlite", "redis and postgresql"])


async def disable(site: Site, id: str) -> None:
    """Disable an account in the database, of which nobody is told."""
    statement = sa.update(accounts).where(accounts.c.id == id).values(disabled=1.0)
    await _execute(site, statement)


async def take_roles(site: Site, id: str) -> None:
    """Take all roles from an account in the database, of which nobody is told."""
    await _execute(site, sa.delete(roles).where(roles.c.account_id == id))


async def _execute(site: Site, statement: sa.Executable) -> None:
    database = site.services.accounts.database

    def execute() -> None:
        with database.writing() as connection:
            connection.execute(statement)

    await site.services.accounts.calls.run(execute)
