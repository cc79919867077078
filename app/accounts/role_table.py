"""The roles of accounts in the database: blocking calls, for threads."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from app.accounts.account import Account
from app.accounts.administrators import ADMIN, keep_another
from app.accounts.passwords import InvalidAccount, account_key
from app.accounts.rows import lock_account, select_accounts, to_account
from app.accounts.schema import accounts as _accounts
from app.accounts.schema import roles as _roles
from app.database import Database

_MAX_IDS = 500  # in one query


class UnknownAccount(InvalidAccount):
    """No account has this id."""

    def __init__(self) -> None:
        super().__init__("This account does not exist.")


class RoleTable:
    """Has the methods of `Roles` as blocking calls. They may raise SQLAlchemyError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, account_id: str) -> frozenset[str]:
        with self._database.engine.connect() as connection:
            return _of(connection, account_id)

    def of_many(self, account_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {id: set() for id in account_ids}
        with self._database.engine.connect() as connection:
            for start in range(0, len(account_ids), _MAX_IDS):
                part = account_ids[start : start + _MAX_IDS]
                query = sa.select(_roles).where(_roles.c.account_id.in_(part))
                for id, role in connection.execute(query):
                    found[id].add(role)
        return {id: frozenset(roles) for id, roles in found.items()}

    def change(
        self, account_id: str, add: Collection[str], remove: Collection[str], keep_an_admin: bool
    ) -> tuple[frozenset[str], frozenset[str]]:
        """Return the roles before and after; raises UnknownAccount and LastAdministrator."""
        with self._database.writing() as connection:
            if keep_an_admin and ADMIN in remove:
                keep_another(connection, account_id)
            if lock_account(connection, account_id) is None:
                raise UnknownAccount
            before = _of(connection, account_id)
            after = before - {*remove} | {*add}
            if lost := before - after:
                mine = (_roles.c.account_id == account_id) & _roles.c.role.in_(lost)
                connection.execute(sa.delete(_roles).where(mine))
            if new := after - before:
                rows = [{"account_id": account_id, "role": role} for role in sorted(new)]
                connection.execute(sa.insert(_roles), rows)
        return before, after

    def accounts_with(self, role: str, limit: int, after: str) -> list[Account]:
        members = sa.select(_roles.c.account_id).where(_roles.c.role == role)
        key = _accounts.c.key
        query = select_accounts().where(_accounts.c.id.in_(members), key > account_key(after))
        with self._database.engine.connect() as connection:
            rows = connection.execute(query.order_by(key).limit(limit))
            return [to_account(row) for row in rows]


def _of(connection: sa.Connection, account_id: str) -> frozenset[str]:
    query = sa.select(_roles.c.role).where(_roles.c.account_id == account_id)
    return frozenset(connection.scalars(query))
