"""Keep one administrator: what would leave no enabled account with the role admin is refused."""

from __future__ import annotations

import sqlalchemy as sa

from app.accounts.passwords import InvalidAccount
from app.accounts.schema import accounts as _accounts
from app.accounts.schema import roles as _roles

ADMIN = "admin"  # the role


class LastAdministrator(InvalidAccount):
    """Without this account no administrator could sign in."""

    def __init__(self) -> None:
        super().__init__("This is the last administrator who may sign in. Name another one first.")


def keep_another(connection: sa.Connection, account_id: str) -> None:
    """Raise LastAdministrator if no other enabled account is an administrator's.

    Call it in the transaction that then changes the account: it locks all administrators, so that
    two transactions which change two of them run one after the other.
    """
    columns = _accounts.c
    members = sa.select(_roles.c.account_id).where(_roles.c.role == ADMIN)
    enabled = columns.id.in_(members) & columns.disabled.is_(None)
    query = sa.select(columns.id).where(enabled).order_by(columns.id)
    connection.execute(query.with_for_update()).all()
    # PostgreSQL may have waited for the locks: read anew what others have committed meanwhile
    if connection.scalars(query).all() == [account_id]:
        raise LastAdministrator
