"""The roles of accounts: what an account may do besides what every user may."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from app.accounts.account import Account, is_storable
from app.accounts.accounts import Accounts
from app.accounts.passwords import InvalidAccount
from app.accounts.role_memory import RoleMemory
from app.accounts.role_table import RoleTable

_ROLE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class InvalidRole(InvalidAccount):
    """This is no name of a role."""

    def __init__(self, role: str) -> None:
        super().__init__(
            f"{role[:100]!r} is no name of a role: it has at most 64 characters, of a-z, 0-9, "
            "- and _, and begins with a letter or a digit."
        )


class Roles:
    """The roles of accounts, by the ids of these; `services.roles`.

    A role is a word such as "moderator", which the handlers of a fork ask for. Every method raises
    AccountsUnavailable if the database does not answer.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._table = RoleTable(accounts.database)
        self._memory = RoleMemory(self.of)

    async def of(self, account_id: str) -> frozenset[str]:
        """Return the roles of an account as they are now; none if there is no such account."""
        if not is_storable(account_id):
            return frozenset()
        return await self._accounts.calls.run(lambda: self._table.of(account_id))

    async def of_many(self, account_ids: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return the roles of these accounts, by id; it takes a query for each 500 ids."""
        wanted = [each for each in dict.fromkeys(account_ids) if is_storable(each)]
        if not wanted:
            return {}
        return await self._accounts.calls.run(lambda: self._table.of_many(wanted))

    async def remembered(self, account_id: str) -> frozenset[str]:
        """Return the roles of an account as they were a second ago at most.

        For events, which may be many. A change is known at once, unless it was made at another
        process and its message was lost.
        """
        return await self._memory.of(account_id)

    def forget(self, account_id: str) -> None:
        """Read the roles of this account anew; `services.on_account_changed` calls it."""
        self._memory.forget(account_id)

    async def set(
        self,
        account_id: str,
        *,
        add: Collection[str] = (),
        remove: Collection[str] = (),
        keep_an_admin: bool = False,
    ) -> frozenset[str]:
        """Give an account roles, and take others from it; return those that it has then.

        It does nothing about roles that the account has, or has not, already. The change is in
        force at this process when it returns, and at the others within a second. Raises
        UnknownAccount and InvalidRole, which are InvalidAccount; with `keep_an_admin` also
        LastAdministrator instead of taking the role admin from the last one who may sign in.
        """
        _check(add, remove)
        before, after = await self._accounts.calls.run(
            lambda: self._table.change(account_id, add, remove, keep_an_admin)
        )
        if before != after:
            await self._accounts.on_changed.tell(account_id)
        return after

    async def accounts_with(self, role: str, *, limit: int = 100, after: str = "") -> list[Account]:
        """Return accounts that have a role, in the order of their names.

        `after` is the name of the last one of the page before.
        """
        return await self._accounts.calls.run(lambda: self._table.accounts_with(role, limit, after))


def check_role(role: str) -> str:
    """Return a name of a role; raises InvalidRole."""
    if not _ROLE.fullmatch(role):
        raise InvalidRole(role)
    return role


def _check(add: Collection[str], remove: Collection[str]) -> None:
    """Refuse what is no role, and a role that is to be added and removed."""
    if isinstance(add, str) or isinstance(remove, str):
        raise TypeError('write add=["moderator"], a collection of roles')
    for role in (*add, *remove):
        check_role(role)
    if both := {*add} & {*remove}:
        raise InvalidAccount(f"The role {min(both)} cannot be added and removed at once.")
