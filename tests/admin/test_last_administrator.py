"""The last administrator stays, also when two administrators remove each other at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from app.accounts import Account, LastAdministrator
from app.operator import COMMAND_LINE, Operator
from tests.support.admins import each_place, two_places
from tests.support.postgres import Postgres
from tests.support.site import Site

Removal = Callable[[Operator, Account], Awaitable[Any]]
ROUNDS = 5


def disable(operator: Operator, account: Account) -> Awaitable[Any]:
    return operator.disable(account, COMMAND_LINE, keep_an_admin=True)


def delete(operator: Operator, account: Account) -> Awaitable[Any]:
    return operator.delete(account, COMMAND_LINE, keep_an_admin=True)


def dismiss(operator: Operator, account: Account) -> Awaitable[Any]:
    return operator.set_roles(account, COMMAND_LINE, remove=["admin"], keep_an_admin=True)


async def add_administrator(site: Site, name: str) -> Account:
    """Make an account with the role admin."""
    account: Account = await site.services.accounts.add(name)
    await site.services.roles.set(account.id, add=["admin"])
    return account


@each_place
@pytest.mark.parametrize("remove", [disable, delete, dismiss])
async def test_of_two_who_are_removed_at_once_one_stays(
    tmp_path: Path, postgres: Postgres, kind: str, remove: Removal
) -> None:
    """Whoever comes second is refused; a moderator does not count as an administrator."""
    async with two_places(tmp_path, kind, postgres) as (here, there):
        operators = here.services.operator, there.services.operator
        moderator = await here.services.accounts.add("moderator")
        await here.services.roles.set(moderator.id, add=["moderator"])
        for number in range(ROUNDS):
            pair = [await add_administrator(here, f"{name}{number}") for name in ("ann", "bob")]
            results = await asyncio.gather(*map(remove, operators, pair), return_exceptions=True)
            refused = [isinstance(result, LastAdministrator) for result in results]
            assert sorted(refused) == [False, True], results
            left = await here.services.operator.list.page(role="admin", disabled=False)
            assert [account.id for account in left] == [pair[refused.index(True)].id]
            await here.services.operator.delete(left[0], COMMAND_LINE)  # without the argument
