"""What an operator changes of accounts: whether they are disabled, and their names."""

from __future__ import annotations

import dataclasses
import time

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from app.accounts.account import Account
from app.accounts.accounts import Accounts
from app.accounts.administrators import keep_another
from app.accounts.lookalikes import lookalikes, skeleton_of
from app.accounts.passwords import NameTaken, account_key, clean_name, refuse_issuer
from app.accounts.schema import accounts as _accounts
from app.accounts.schema import trusted_devices as _trusted_devices
from app.database import Database


class AccountChanges:
    """Changes accounts in the database, and tells `accounts.on_changed`; it ends no session.

    Every method raises AccountsUnavailable if the database fails.
    """

    def __init__(self, database: Database, accounts: Accounts) -> None:
        self._database = database
        self._accounts = accounts

    async def set_disabled(
        self, account: Account, disabled: bool, *, keep_an_admin: bool = False
    ) -> bool:
        """Disable or enable an account; return False if it is so already, or deleted.

        With `keep_an_admin` it raises LastAdministrator instead of disabling the last one.
        """
        now = time.time() if disabled else None
        keep = disabled and keep_an_admin
        changed = await self._accounts.calls.run(lambda: self._set_disabled(account.id, now, keep))
        if changed:
            await self._accounts.on_changed.tell(account.id)
        return changed

    async def rename(self, account: Account, name: str) -> Account | None:
        """Give an account another name, or another spelling; None if it is deleted.

        Raises NameTaken or another InvalidAccount.
        """
        name = clean_name(name)
        renamed = await self._accounts.calls.run(lambda: self._rename(account.id, name))
        if not renamed:
            return None
        await self._accounts.on_changed.tell(account.id)
        return dataclasses.replace(account, name=name)

    def _set_disabled(self, account_id: str, now: float | None, keep_an_admin: bool) -> bool:
        columns = _accounts.c
        differs = columns.disabled.is_not(None) if now is None else columns.disabled.is_(None)
        which = (columns.id == account_id) & differs
        with self._database.writing() as connection:
            if keep_an_admin:
                keep_another(connection, account_id)
            statement = sa.update(_accounts).where(which).values(disabled=now)
            if connection.execute(statement).rowcount != 1:
                return False
            # an account that is enabled again trusts no device of before
            mine = _trusted_devices.c.account_id == account_id
            connection.execute(sa.delete(_trusted_devices).where(mine))
            return True

    def _rename(self, account_id: str, name: str) -> bool:
        key, same = account_key(name), _accounts.c.id == account_id
        refuse_issuer(skeleton_of(key))
        similar = _accounts.c.key.in_(lookalikes(key)) & ~same
        try:
            with self._database.writing() as connection:
                if connection.execute(sa.select(_accounts.c.id).where(similar).limit(1)).first():
                    raise NameTaken("This name looks like one that is taken; choose another one.")
                statement = sa.update(_accounts).where(same).values(key=key, name=name)
                return connection.execute(statement).rowcount == 1
        except IntegrityError:
            raise NameTaken("This name is taken; choose another one.") from None
