"""The list of all accounts, page by page."""

from __future__ import annotations

import difflib

import sqlalchemy as sa

from app.accounts.account import Account
from app.accounts.passwords import account_key
from app.accounts.rows import select_accounts, to_account
from app.accounts.schema import accounts as _accounts
from app.accounts.schema import roles as _roles
from app.database import Database

_ESCAPE = "\\"
_MAX_CANDIDATES = 5000  # names that are compared with a misspelt one


class AccountList:
    """Reads the accounts in the order of their names. Raises DatabaseUnavailable.

    It has the threads of `Database`, so that a long search delays no sign-in.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        *,
        search: str = "",
        role: str = "",
        disabled: bool | None = None,
        after: str = "",
        limit: int = 100,
    ) -> list[Account]:
        """Return at most `limit` accounts whose names come after the name `after`.

        `search` is a part of the name or of the address, in any spelling; `role` and `disabled`
        select accounts.
        """
        which = _which(search, role, disabled)
        query = select_accounts().where(which).order_by(_accounts.c.key).limit(limit)
        if after:
            query = query.where(_accounts.c.key > account_key(after))

        return await self._database.read(
            lambda connection: [to_account(row) for row in connection.execute(query)]
        )

    async def count(self, *, search: str = "", role: str = "", disabled: bool | None = None) -> int:
        """Return how many accounts `page` would return without a limit."""
        query = sa.select(sa.func.count()).select_from(_accounts)
        query = query.where(_which(search, role, disabled))
        return await self._database.read(lambda connection: connection.execute(query).scalar_one())

    async def similar(self, name: str, limit: int = 3) -> list[str]:
        """Return names of accounts that are similar to a name that no account has."""
        key = account_key(name)
        if not key:
            return []
        column, some = _accounts.c.key, [key[:2], key[-2:]]
        which = _begins(column, some[0]) | column.like("%" + _escaped(some[1]), escape=_ESCAPE)
        query = sa.select(column, _accounts.c.name).where(which).limit(_MAX_CANDIDATES)
        names = await self._database.read(
            lambda connection: {row.key: row.name for row in connection.execute(query)}
        )
        return [names[found] for found in difflib.get_close_matches(key, names, n=limit)]


def _which(search: str, role: str, disabled: bool | None) -> sa.ColumnElement[bool]:
    columns = _accounts.c
    which: sa.ColumnElement[bool] = sa.true()
    if search:
        part = f"%{_escaped(account_key(search) or search)}%"
        which &= columns.key.like(part, escape=_ESCAPE) | columns.email.ilike(part, escape=_ESCAPE)
    if role:
        which &= columns.id.in_(sa.select(_roles.c.account_id).where(_roles.c.role == role))
    if disabled is not None:
        which &= columns.disabled.is_not(None) if disabled else columns.disabled.is_(None)
    return which


def _begins(column: sa.Column[str], start: str) -> sa.ColumnElement[bool]:
    return column.like(_escaped(start) + "%", escape=_ESCAPE)


def _escaped(text: str) -> str:
    """Return the pattern of LIKE that matches this text."""
    for special in (_ESCAPE, "%", "_"):
        text = text.replace(special, _ESCAPE + special)
    return text.replace("\0", "")
