"""The accounts, for coroutines: worker threads ask the database and compute hashes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Sequence

from app.accounts.account import Account, Identity, is_storable
from app.accounts.account_table import AccountTable, Proof
from app.accounts.calls import CONNECTIONS, AccountsUnavailable, DatabaseCalls
from app.accounts.password_rules import Strength
from app.accounts.passwords import clean_name
from app.accounts.schema import SCHEMA
from app.common.listeners import Listeners
from app.database import Database, Schema
from app.settings import Settings


def open_database(settings: Settings, schemas: Sequence[Schema] = ()) -> Database:
    """Open the database, with the table of accounts and those of other modules.

    Raises SchemaError, or OSError with a sentence that says what to do.
    """
    return Database(settings, [SCHEMA, *schemas], connections=CONNECTIONS)


class Accounts:
    """The accounts. `address` is the key by which limits count a client.

    Every method raises AccountsUnavailable if the database fails, its queue is full or `close` was
    called, and AddressBusy if the share of the address is used.
    """

    def __init__(self, database: Database, *, announces: bool = True) -> None:
        """`database` is one of `open_database`.

        With `announces` unset, leave it to the server to tell of new accounts.
        """
        self._announces = announces
        #: For the other tables of accounts.
        self.database = database
        self._table = AccountTable(database)
        #: What a new password has to be.
        self.rules = self._table.rules
        #: Runs the calls of the other tables of accounts, too.
        self.calls = DatabaseCalls()
        self._asking: asyncio.Task[bool] | None = None
        #: Called after an account was stored, or deleted; see `announce`.
        self.on_created: Listeners[[Account]] = Listeners("a new account")
        self.on_deleted: Listeners[[Account]] = Listeners("the deletion of an account")
        #: Called with the id after an account was changed here: its name, its roles, whether it is
        #: disabled; or deleted.
        self.on_changed: Listeners[[str]] = Listeners("a changed account")

    # -- find --

    async def by_id(self, account_id: str) -> Account | None:
        """Return the account with this id, such as `session.user_id`; None if it is deleted."""
        if not is_storable(account_id):
            return None
        return await self.calls.run(lambda: self._table.by_id(account_id))

    async def by_ids(self, account_ids: Iterable[str]) -> dict[str, Account]:
        """Return the accounts with these ids, by id; those that are deleted are missing.

        It takes one call of the database for each 500 ids.
        """
        wanted = [each for each in dict.fromkeys(account_ids) if is_storable(each)]
        if not wanted:
            return {}
        return await self.calls.run(lambda: self._table.by_ids(wanted))

    async def by_name(self, name: str) -> Account | None:
        """Return the account with this name, in any spelling; None if there is none."""
        return await self.calls.run(lambda: self._table.by_name(name))

    async def by_identity(self, identity: Identity) -> Account | None:
        """Return the account that somebody at another issuer has here; None if there is none."""
        return await self.calls.run(lambda: self._table.by_identity(identity))

    async def names_of_other_ids(self, names: Sequence[str]) -> set[str]:
        """Return those of these names whose account has another id than its name."""
        return await self.calls.run(lambda: self._table.names_of_other_ids(names))

    # -- create --

    async def register(
        self, name: str, password: str, *, check_limits: Callable[[], Awaitable[None]] | None = None
    ) -> str:
        """Create an account and return its name as it is stored; raises InvalidAccount."""
        proof = await self.create(name, password, check_limits=check_limits)
        assert proof.name is not None
        return proof.name

    async def create(
        self,
        name: str,
        password: str,
        *,
        check_limits: Callable[[], Awaitable[None]] | None = None,
        address: str = "",
    ) -> Proof:
        """Create an account; raises InvalidAccount. For `check_limits` see `prove`."""
        name = clean_name(name)
        self.rules.long_enough(password)  # which needs no thread
        announced = self._announces and not self.on_created
        proof = await self.calls.hash(
            lambda: self._table.create(name, password, announced=announced),
            check_limits=check_limits,
            address=address,
        )
        assert proof.account is not None
        return dataclasses.replace(proof, account=await self.announce(proof.account))

    async def add(self, name: str, *, identity: Identity | None = None) -> Account:
        """Create an account that has no password, for users who sign in another way.

        `identity` is who the user is at another issuer; `by_identity` finds the account by it.
        Raises NameTaken, IdentityTaken or another InvalidAccount, with a sentence for the user.
        """
        name = clean_name(name)
        announced = self._announces and not self.on_created
        account = await self.calls.run(lambda: self._table.add(name, identity, announced=announced))
        return await self.announce(account)

    async def announce(self, account: Account) -> Account:
        """Tell the listeners of a new account, unless they were told; return it as it is then.

        `create` and `add` do so. What the command line or an older release created is announced
        by its first sign-in. If a process dies meanwhile, the listeners may be told again.
        """
        if account.announced or not self._announces:
            return account
        await self.on_created.tell(account)
        await self.calls.run(lambda: self._table.set_announced(account.id))
        return dataclasses.replace(account, announced=True)

    # -- other issuers --

    async def link(self, account: Account, identity: Identity) -> None:
        """Let `by_identity` find this account, for a user who is signed in and proves the other.

        Raises IdentityTaken if another account has it. An account may have several.
        """
        await self.calls.run(lambda: self._table.link(account.id, identity))

    async def unlink(self, account: Account, identity: Identity) -> bool:
        """Let `by_identity` find this account no more; return whether it did."""
        return await self.calls.run(lambda: self._table.unlink(account.id, identity))

    # -- passwords --

    async def verify(
        self, name: str, password: str, *, check_limits: Callable[[], Awaitable[None]] | None = None
    ) -> str | None:
        """Return the name as it is stored; None if the name or the password is wrong."""
        proof = await self.prove(name, password, check_limits=check_limits)
        return proof.name if proof else None

    async def prove(
        self,
        name: str,
        password: str,
        *,
        check_limits: Callable[[], Awaitable[None]] | None = None,
        address: str = "",
    ) -> Proof:
        """Compare a password with that of an account.

        `check_limits` may raise. It is called before the call waits, so that a limited client
        takes no place in the queue, and again when the call has a thread, so that its count
        includes all but the few calls that run at the same time.
        """
        return await self.calls.hash(
            lambda: self._table.prove(name, password), check_limits=check_limits, address=address
        )

    async def password_hash(self, name: str, *, address: str = "") -> str:
        """Return the hash of an account's password; an empty string if the name is unknown."""
        return await self.calls.run(lambda: self._table.password_hash(name), address=address)

    async def still_valid(self, proof: Proof, password: str) -> bool:
        """Whether account and password have not changed since this proof.

        Call it after the session is stored. If all sessions of the user are ended after that, the
        new one is too; if they were ended before, the password has changed and this is False.
        """
        # reads only; a hash is computed if another sign-in has just renewed the stored one
        return await self.calls.run(lambda: self._table.still_valid(proof, password))

    async def password_strength(self, password: str, *names: str, address: str = "") -> Strength:
        """Say how strong a new password is for a user of these names; nothing is stored."""
        return await self.calls.judge(lambda: self.rules.judge(password, *names), address=address)

    async def change_password(self, proof: Proof, password: str, *, address: str = "") -> Proof:
        """Change the password of an account; return the proof of the new one.

        The result is false if account or password have changed since `proof`. Raises
        InvalidAccount.
        """
        self.rules.long_enough(password)
        return await self.calls.hash(
            lambda: self._table.change_password(proof, password), address=address
        )

    # -- delete --

    async def check_deletable(self, account: Account, *, keep_an_admin: bool = False) -> None:
        """Raise AccountInUse or LastAdministrator if `remove` would do so now.

        Ask before its sessions end, so that an account that is not deleted stays signed in.
        """
        await self.calls.run(
            lambda: self._table.check_deletable(account.id, keep_an_admin=keep_an_admin)
        )

    async def delete(self, proof: Proof) -> bool:
        """Delete an account; return False if account or password have changed since `proof`.

        The account page ends the sessions before and after; `remove` leaves that to its caller.
        Raises AccountInUse if rows of a fork's table refer to it, and may not.
        """
        deleted = await self.calls.run(lambda: self._table.delete(proof))
        if deleted and proof.account is not None:
            await self.on_deleted.tell(proof.account)
        return deleted

    async def remove(self, account: Account, *, keep_an_admin: bool = False) -> bool:
        """Delete an account without its password; return False if it is deleted already.

        End its sessions before, by `services.sessions.end_user(account.id)`: those that begin
        meanwhile are ended after it is deleted. Raises AccountInUse as `delete` does, and with
        `keep_an_admin` LastAdministrator if no administrator could sign in without this account.
        """
        removed = await self.calls.run(
            lambda: self._table.remove(account.id, keep_an_admin=keep_an_admin)
        )
        if removed:
            await self.on_deleted.tell(account)
        return removed

    # -- the database --

    async def answers(self) -> bool:
        """Whether the database can be written and read; simultaneous calls share a result."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> bool:
        try:
            await self.calls.check(self._table.check)
        except AccountsUnavailable:
            return False
        return True

    async def close(self) -> None:
        """Wait for the calls that run; the database stays open."""
        await self.calls.close()
        if self._asking is not None:
            await asyncio.wait([self._asking])
