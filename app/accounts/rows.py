"""Accounts as rows of the database: the query, and the account of a row."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.accounts.account import Account
from app.accounts.database import accounts, roles

# no role has a space
_roles = (
    sa.select(sa.func.aggregate_strings(roles.c.role, " "))
    .where(roles.c.account_id == accounts.c.id)
    .scalar_subquery()
    .label("roles")
)


def select_accounts() -> sa.Select[Any]:
    """Return the query for the rows that `to_account` takes: the columns, and the roles."""
    return sa.select(accounts, _roles)


def to_account(row: sa.Row[Any]) -> Account:
    """Return the account of a row."""
    return Account(
        id=row.id,
        name=row.name,
        created=row.created,
        announced=bool(row.announced),
        has_password=bool(row.password_hash),
        disabled=row.disabled,
        email=row.email,
        roles=frozenset((row.roles or "").split()),
    )
