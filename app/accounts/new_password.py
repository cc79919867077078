"""The one statement that gives an account another password."""

import sqlalchemy as sa

from app.accounts.schema import accounts as _accounts
from app.accounts.schema import recovery_codes as _codes


def set_password(
    connection: sa.Connection, account_id: str, password_hash: str, may: sa.ColumnElement[bool]
) -> bool:
    """Set the password if the account is `may`, and void its recovery codes.

    A thief of the old password may have made the codes. Return whether the new one was set.
    """
    which = (_accounts.c.id == account_id) & may
    new = sa.update(_accounts).where(which).values(password_hash=password_hash)
    if connection.execute(new).rowcount != 1:
        return False
    connection.execute(sa.delete(_codes).where(_codes.c.account_id == account_id))
    return True
