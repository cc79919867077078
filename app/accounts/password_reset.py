"""A new password for who has lost the old one, and proves the account another way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import sqlalchemy as sa

from app.accounts.account import Account
from app.accounts.accounts import Accounts
from app.accounts.database import accounts as _accounts
from app.accounts.one_time_links import RESETS, OneTimeLinks, take_link
from app.accounts.passwords import password_hasher
from app.accounts.recovery_codes import RecoveryCodes


class PasswordReset:
    """Sets passwords by one-time links and by recovery codes.

    The proof is used up in the transaction that stores the password, so that neither happens
    without the other. Every method raises InvalidAccount for a password that is not allowed, and
    AccountsUnavailable as `Accounts` does.
    """

    def __init__(self, accounts: Accounts, links: OneTimeLinks, codes: RecoveryCodes) -> None:
        self._accounts = accounts
        self._database = accounts.database
        self._links = links
        self._codes = codes
        self._hasher = password_hasher()

    async def by_link(self, token: str, password: str, *, address: str = "") -> Account | None:
        """Set the password of the account that a link was made for; None if it is invalid."""
        rules = self._accounts.rules
        rules.long_enough(password)
        # a guessed link costs no hash
        link = await self._links.peek(token, *RESETS, address=address)
        if link is None:
            return None
        names = link.account.name, link.account.email

        def change() -> Account | None:
            password_hash = self._hasher.hash(rules.clean(password, *names))
            with self._database.writing() as connection:
                use = take_link(connection, token, *RESETS)
                if use is None or not _set(connection, use.account.id, password_hash):
                    return None
                return use.account

        return await self._accounts.calls.hash(change, address=address)

    async def by_code(
        self,
        name: str,
        code: str,
        password: str,
        *,
        check_limits: Callable[[], Awaitable[None]],
        address: str = "",
    ) -> Account | None:
        """Set the password of the account with this name and this recovery code.

        None if one of both is wrong or the account is disabled. `check_limits` is as for
        `Accounts.prove`; the caller counts failures.
        """
        rules = self._accounts.rules
        rules.long_enough(password)
        await check_limits()
        account = await self._accounts.by_name(name)
        account_id = "" if account is None or account.disabled is not None else account.id

        def change() -> bool:
            # before the code, so that the answer tells nothing of the account
            clean = rules.clean(password, name)
            use_code = self._codes.find(account_id, code)
            if use_code is None:
                return False
            password_hash = self._hasher.hash(clean)
            with self._database.writing() as connection:
                return use_code(connection) and _set(connection, account_id, password_hash)

        changed = await self._accounts.calls.hash(
            change, check_limits=check_limits, address=address
        )
        return account if changed else None


def _set(connection: sa.Connection, account_id: str, password_hash: str) -> bool:
    may = (_accounts.c.id == account_id) & _accounts.c.disabled.is_(None)
    new = sa.update(_accounts).where(may).values(password_hash=password_hash)
    return connection.execute(new).rowcount == 1
