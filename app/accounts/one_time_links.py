"""One-time links: each token lets its holder do one thing with an account, once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from app.accounts.account import Account
from app.accounts.accounts import Accounts
from app.accounts.rows import lock_existing, select_accounts, to_account
from app.accounts.schema import accounts as _accounts
from app.accounts.schema import one_time_links as _links
from app.accounts.tokens import may_be_token, new_token, token_hash

#: What a link is good for: a new password, or the confirmation of an address. Links for passwords
#: that an operator gives, and those by mail, do not replace each other: anybody can ask for a mail.
Purpose = Literal["reset", "mailed reset", "email"]
#: The purposes of links for a new password.
RESETS: tuple[Purpose, ...] = ("reset", "mailed reset")


@dataclass(frozen=True)
class Use:
    """What a valid link was made for."""

    account: Account
    #: The address that the link was sent to and confirms; None for a link by an operator.
    email: str | None


class OneTimeLinks:
    """The links that are still to be used. The database has the hash of each token only.

    A link dies when it is used or expires, when a new one of its purpose is made for the account,
    and when the account's password or confirmed address changes. It is invalid while the account
    is disabled. Every method raises AccountsUnavailable as `Accounts` does.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._database = accounts.database
        self._calls = accounts.calls

    async def create(
        self, account_id: str, purpose: Purpose, lifetime: float, email: str | None = None
    ) -> str:
        """Make a link that is valid for `lifetime` seconds, and return its token.

        `email` is the address that the link confirms. Raises InvalidAccount if the account is
        deleted.
        """
        token = new_token()

        def insert() -> None:
            with self._database.writing() as connection:
                _insert(connection, token, account_id, purpose, time.time() + lifetime, email)

        await self._calls.run(insert)
        return token

    async def peek(self, token: str, *purposes: Purpose, address: str = "") -> Use | None:
        """Return what a link of one of these purposes is good for, and leave it as it is.

        None if it is invalid.
        """

        def find() -> Use | None:
            with self._database.engine.connect() as connection:
                return _find(connection, token, purposes)

        return await self._calls.run(find, address=address)

    async def use(self, token: str, *purposes: Purpose, address: str = "") -> Use | None:
        """Use a link up, and return what it was made for; None if it is invalid.

        Of two calls at once, in any process, one gets None. `address` is the key by which limits
        count a client.
        """

        def take() -> Use | None:
            with self._database.writing() as connection:
                return take_link(connection, token, *purposes)

        return await self._calls.run(take, address=address)

    async def discard(self, account_id: str, purpose: Purpose) -> None:
        """Make the link of this purpose invalid, if there is one."""

        def delete() -> None:
            with self._database.writing() as connection:
                connection.execute(sa.delete(_links).where(_of(account_id, purpose)))

        await self._calls.run(delete)


def take_link(connection: sa.Connection, token: str, *purposes: Purpose) -> Use | None:
    """Use a link up in a transaction; see `OneTimeLinks.use`."""
    found = _find(connection, token, purposes, lock=True)
    if found is None:
        return None
    # two transactions may find the link, one after the other; one of them deletes it
    taken = sa.delete(_links).where(_links.c.token_hash == token_hash(token))
    return found if connection.execute(taken).rowcount == 1 else None


def _insert(
    connection: sa.Connection,
    token: str,
    account_id: str,
    purpose: Purpose,
    expires: float,
    email: str | None,
) -> None:
    account = lock_existing(connection, account_id)  # of two links at once the earlier one dies
    dead = _of(account_id, purpose) | (_links.c.expires < time.time())
    connection.execute(sa.delete(_links).where(dead))
    row = {
        "token_hash": token_hash(token),
        "account_id": account_id,
        "purpose": purpose,
        "email": email,
        "state": _state(account),
        "expires": expires,
    }
    connection.execute(sa.insert(_links), row)


def _find(
    connection: sa.Connection, token: str, purposes: Sequence[Purpose], *, lock: bool = False
) -> Use | None:
    if not may_be_token(token):
        return None
    query = (
        select_accounts()
        .add_columns(_links.c.state, _links.c.email.label("link_email"))
        .join(_links, _links.c.account_id == _accounts.c.id)
        .where(_links.c.token_hash == token_hash(token), _links.c.purpose.in_(purposes))
        .where(_links.c.expires > time.time(), _accounts.c.disabled.is_(None))
    )
    if lock:  # the account, so that its password does not change meanwhile
        query = query.with_for_update(of=_accounts)
    row = connection.execute(query).first()
    if row is None or row.state != _state(row):
        return None
    return Use(to_account(row), row.link_email)


def _of(account_id: str, purpose: Purpose) -> sa.ColumnElement[bool]:
    return (_links.c.account_id == account_id) & (_links.c.purpose == purpose)


def _state(account: sa.Row[Any]) -> str:
    """Return a digest of what must not change before a link of this account is used."""
    state = f"{account.password_hash}\0{account.email or ''}"
    return hashlib.sha256(state.encode()).hexdigest()
