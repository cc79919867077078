"""Set a new password with a one-time link or a recovery code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import sqlalchemy as sa

from app.accounts.account import Account
from app.accounts.accounts import Accounts
from app.accounts.new_password import set_password
from app.accounts.one_time_links import RESETS, OneTimeLinks, take_link
from app.accounts.passwords import password_hasher
from app.accounts.recovery_codes import RecoveryCodes
from app.accounts.rows import lock_account
from app.accounts.schema import accounts as _accounts
from app.accounts.totp import Totp


class AppCodeRequired(Exception):
    """The recovery code is right, and the account asks for a code of its app as well."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        self.account = account


class PasswordReset:
    """Sets passwords by one-time links and by recovery codes.

    The proof is used up in the transaction that stores the password, so that neither happens
    without the other. A new password voids all recovery codes of the account. Every
    method raises InvalidAccount for a password that is not allowed, and AccountsUnavailable as
    `Accounts` does.
    """

    def __init__(
        self, accounts: Accounts, links: OneTimeLinks, codes: RecoveryCodes, totp: Totp
    ) -> None:
        self._accounts = accounts
        self._database = accounts.database
        self._links = links
        self._codes = codes
        self._totp = totp
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
        app_code: str,
        check_limits: Callable[[], Awaitable[None]],
        check_app_codes: Callable[[str], Awaitable[None]],
        address: str = "",
    ) -> Account | None:
        """Set the password of the account with this name and this recovery code.

        None if one of both is wrong or the account is disabled. With two-step sign-in on, raises
        AppCodeRequired unless `app_code` is a code of the authenticator app, so that one sheet of
        paper does not replace both factors; the recovery code stays unused. `check_limits` is as
        for `Accounts.prove`, and `check_app_codes` the same for codes of the app, called with the
        id of an account whose recovery code was right; the caller counts failures.
        """
        rules = self._accounts.rules
        rules.long_enough(password)
        await check_limits()
        account = await self._accounts.by_name(name)
        account_id = "" if account is None or account.disabled is not None else account.id

        def find() -> tuple[str, Callable[[sa.Connection], bool] | None]:
            # the password before the code, so that the answer tells nothing of the account
            return rules.clean(password, name), self._codes.find(account_id, code)

        clean, use_code = await self._accounts.calls.hash(
            find, check_limits=check_limits, address=address
        )
        if account is None or use_code is None:
            return None
        found = account
        two_step, now = await self._totp.is_on(account_id), self._totp.now()

        def change() -> bool:
            use_app_code = self._totp.find(account_id, app_code, now)
            if use_app_code is None:
                raise AppCodeRequired(found)
            password_hash = self._hasher.hash(clean)
            with self._database.writing() as connection:
                # before its codes, as all lock who write both
                locked = lock_account(connection, account_id)
                if locked is None or not use_code(connection):
                    return False
                if not use_app_code(connection):
                    raise AppCodeRequired(found)
                return _set(connection, account_id, password_hash)

        changed = await self._accounts.calls.hash(
            change,
            check_limits=(lambda: check_app_codes(account_id)) if two_step else None,
            address=address,
        )
        return account if changed else None


def _set(connection: sa.Connection, account_id: str, password_hash: str) -> bool:
    return set_password(connection, account_id, password_hash, _accounts.c.disabled.is_(None))
