"""The confirmed addresses of accounts."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from app.accounts.account import Account, is_storable
from app.accounts.accounts import Accounts
from app.accounts.one_time_links import take_link
from app.accounts.rows import select_accounts, to_account
from app.accounts.schema import accounts as _accounts

_MAX_ACCOUNTS = 5  # of one address that get a mail


@dataclass(frozen=True)
class Change:
    """An address that was changed; `account` is as it was before."""

    account: Account
    new: str | None  # None: it was removed


class Emails:
    """Sets and finds the addresses. An address may belong to several accounts.

    Every method raises AccountsUnavailable as `Accounts` does. Those that change an account tell
    `accounts.on_changed`.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._database = accounts.database

    async def confirm(self, token: str, *, address: str = "") -> Change | None:
        """Use a link of the purpose "email", and set the address that it confirms.

        None if the link is invalid. `address` is the key by which limits count a client.
        """

        def change() -> Change | None:
            with self._database.writing() as connection:
                use = take_link(connection, token, "email")
                if use is None or use.email is None:
                    return None
                _set(connection, use.account.id, use.email)
                return Change(use.account, use.email)

        return await self._told(await self._accounts.calls.run(change, address=address))

    async def remove(self, account: Account) -> Change:
        """Remove the address of an account."""

        def change() -> Change:
            with self._database.writing() as connection:
                _set(connection, account.id, None)
            return Change(account, None)

        changed = await self._told(await self._accounts.calls.run(change))
        assert changed is not None
        return changed

    async def accounts_of(self, email: str) -> list[Account]:
        """Return the accounts that have confirmed this clean address, at most a few."""
        if not is_storable(email):
            return []

        def find() -> list[Account]:
            query = select_accounts().where(_accounts.c.email == email).limit(_MAX_ACCOUNTS)
            with self._database.engine.connect() as connection:
                return [to_account(row) for row in connection.execute(query)]

        return await self._accounts.calls.run(find)

    async def _told(self, change: Change | None) -> Change | None:
        if change is not None:
            await self._accounts.on_changed.tell(change.account.id)
        return change


def _set(connection: sa.Connection, account_id: str, email: str | None) -> None:
    mine = _accounts.c.id == account_id
    connection.execute(sa.update(_accounts).where(mine).values(email=email))
