"""Accounts as rows of the database: the query, the account of a row, and the lock of a row."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.accounts.account import Account
from app.accounts.passwords import DELETED, InvalidAccount
from app.accounts.schema import accounts, roles

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


def lock_account(connection: sa.Connection, account_id: str) -> sa.Row[Any] | None:
    """Lock an account until the transaction ends, and return its row; None if it is deleted.

    Who changes rows that belong to an account locks it first, so that changes of one account, and
    its deletion, run one after the other.
    """
    same = sa.select(accounts).where(accounts.c.id == account_id)
    return connection.execute(same.with_for_update()).first()


def lock_existing(connection: sa.Connection, account_id: str) -> sa.Row[Any]:
    """Do what `lock_account` does; raises InvalidAccount if the account is deleted."""
    row = lock_account(connection, account_id)
    if row is None:
        raise InvalidAccount(DELETED)
    return row
