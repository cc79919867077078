"""Resets of passwords, and what follows them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tornado.web import HTTPError

from app.account_mail import AccountMail
from app.accounts import Account, Accounts, PasswordReset
from app.ops.audit import Audit
from app.rate_limits import subscriber
from app.sessions.manager import Sessions
from app.stores import StoreError

_SESSIONS_LEFT = (
    "Your password is changed, but the session store does not answer. Sign in when it does, and "
    "use “Sign out everywhere else”."
)


class Recovery:
    """Sets new passwords for users who prove their account by a link or by a recovery code.

    All sessions of the account end, and with them its sockets in every process. A sign-in under
    way with the old password ends too, because it asks for the password once more after its
    session is stored. Recovery codes are void. Second factors stay as they are, and nobody is
    signed in.
    """

    def __init__(
        self,
        reset: PasswordReset,
        accounts: Accounts,
        sessions: Sessions[Any],
        audit: Audit,
        mail: AccountMail,
    ) -> None:
        self._reset = reset
        self._accounts = accounts
        self._sessions = sessions
        self._audit = audit
        self._mail = mail

    async def reset_by_link(
        self, token: str, password: str, *, remote_address: str
    ) -> Account | None:
        """Use a link and set the password; return its account, None if the link is invalid.

        Raises InvalidAccount if the password is not allowed, AccountsUnavailable, StoreError, and
        HTTPError 503 if the password is changed but sessions may be left.
        """
        # before the change, because the sessions could not be ended without the store
        await self._sessions.store.ping()
        share = subscriber(remote_address)
        account = await self._reset.by_link(token, password, address=share)
        if account is not None:
            await self._follow(account, "link", remote_address)
        return account

    async def reset_by_code(
        self,
        name: str,
        code: str,
        password: str,
        *,
        app_code: str,
        check_limits: Callable[[], Awaitable[None]],
        check_app_codes: Callable[[str], Awaitable[None]],
        remote_address: str,
    ) -> Account | None:
        """Use a recovery code and set the password; None if the name or the code is wrong.

        Errors are those of `reset_by_link`, and AppCodeRequired; the checks of limits are those
        of `PasswordReset.by_code`.
        """
        await self._sessions.store.ping()
        account = await self._reset.by_code(
            name,
            code,
            password,
            app_code=app_code,
            check_limits=check_limits,
            check_app_codes=check_app_codes,
            address=subscriber(remote_address),
        )
        if account is not None:
            await self._follow(account, "recovery code", remote_address)
        return account

    async def _follow(self, account: Account, proof: str, remote_address: str) -> None:
        self._audit.add(
            "password reset",
            user=account.name,
            address=remote_address,
            user_id=account.id,
            method=proof,
        )
        self._mail.password_changed(account, f"by a {proof}")
        try:
            await self._sessions.end_user(account.id)
        except StoreError as error:
            raise HTTPError(503, _SESSIONS_LEFT) from error
        finally:
            await self._accounts.on_changed.tell(account.id)
