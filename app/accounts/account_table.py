"""The accounts in the database: blocking calls, for threads."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from app.accounts.account import Account, Identity, new_account_id
from app.accounts.administrators import keep_another
from app.accounts.lookalikes import lookalikes, skeleton_of
from app.accounts.new_password import set_password
from app.accounts.password_rules import PasswordRules
from app.accounts.passwords import (
    AccountInUse,
    IdentityTaken,
    NameTaken,
    Passwords,
    account_key,
    normal_password,
    refuse_issuer,
)
from app.accounts.rows import lock_existing, select_accounts, to_account
from app.accounts.schema import OF_ACCOUNT, check
from app.accounts.schema import accounts as _accounts
from app.accounts.schema import identities as _identities
from app.database import Database
from app.database.errors import reason

log = logging.getLogger("latchkey.accounts")

_MAX_NAMES = 500  # in one query
_KEEPS = (None, "NO ACTION", "RESTRICT")  # ON DELETE of a foreign key that forbids a deletion
_IN_USE = (
    "This account cannot be deleted, because other data of this site belongs to it. "
    "Ask the operator of this site to delete it."
)


def _of(keys: Collection[str]) -> sa.Select[tuple[str]]:
    """Return the query for the accounts with one of these keys."""
    return sa.select(_accounts.c.name).where(_accounts.c.key.in_(keys))


@dataclass(frozen=True)
class Proof:
    """The result of a password check; true if the password was right."""

    account: Account | None  # None if no account has the name
    password_hash: str | None = field(default=None, repr=False)  # None if the password was wrong

    def __bool__(self) -> bool:
        return self.password_hash is not None

    @property
    def name(self) -> str | None:
        """The name as it is stored; None if no account has it."""
        return None if self.account is None else self.account.name


class _Undone(Exception):
    """Rolls a transaction back."""


class AccountTable:
    """Has the methods of `Accounts` as blocking calls.

    A call takes as long as the database and the hash of a password. It may raise SQLAlchemyError.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine = database.engine
        self._passwords = Passwords()
        #: What a new password has to be.
        self.rules = PasswordRules(database.settings)

    def create(self, name: str, password: str, *, announced: bool) -> Proof:
        """Add an account with a password; raises InvalidAccount or NameTaken."""
        password_hash = self._passwords.hash(self.rules.clean(password, name))
        return Proof(self._add(name, password_hash, None, announced), password_hash)

    def add(self, name: str, identity: Identity | None, *, announced: bool) -> Account:
        """Add an account without a password; raises InvalidAccount or NameTaken."""
        return self._add(name, "", identity, announced)

    def _add(
        self, name: str, password_hash: str, identity: Identity | None, announced: bool
    ) -> Account:
        key = account_key(name)
        refuse_issuer(skeleton_of(key))
        account = Account(
            id=new_account_id(),
            name=name,
            created=time.time(),
            announced=announced,
            has_password=bool(password_hash),
        )
        row = {
            "key": key,
            "name": name,
            "password_hash": password_hash,
            "created": account.created,
            "id": account.id,
            "announced": announced,
        }
        similar = _of(lookalikes(key)).limit(1)
        try:
            with self._database.writing() as connection:
                if connection.execute(similar).first():
                    raise NameTaken("This name looks like one that is taken; choose another one.")
                connection.execute(sa.insert(_accounts), row)
                if identity is not None:
                    connection.execute(sa.insert(_identities), _link(account.id, identity))
        except IntegrityError:
            if identity is not None and self.by_identity(identity) is not None:
                raise IdentityTaken("This identity belongs to another account.") from None
            raise NameTaken("This name is taken; choose another one.") from None
        return account

    def by_id(self, account_id: str) -> Account | None:
        return self._account(_accounts.c.id == account_id)

    def by_ids(self, account_ids: Sequence[str]) -> dict[str, Account]:
        found: dict[str, Account] = {}
        with self._engine.connect() as connection:
            for start in range(0, len(account_ids), _MAX_NAMES):
                part = account_ids[start : start + _MAX_NAMES]
                query = select_accounts().where(_accounts.c.id.in_(part))
                found.update((row.id, to_account(row)) for row in connection.execute(query))
        return found

    def by_name(self, name: str) -> Account | None:
        return self._account(_accounts.c.key == account_key(name))

    def by_identity(self, identity: Identity) -> Account | None:
        linked = sa.select(_identities.c.account_id).where(_is(identity)).scalar_subquery()
        return self._account(_accounts.c.id == linked)

    def names_of_other_ids(self, names: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(names), _MAX_NAMES):
            part = names[start : start + _MAX_NAMES]
            columns = _accounts.c
            query = sa.select(columns.key, columns.id).where(
                columns.key.in_({account_key(name) for name in part})
            )
            with self._engine.connect() as connection:
                ids = {row.key: row.id for row in connection.execute(query)}
            found.update(name for name in part if ids.get(account_key(name), name) != name)
        return found

    def link(self, account_id: str, identity: Identity) -> None:
        """Let an identity name an account, if none has it; raises InvalidAccount."""
        try:
            with self._database.writing() as connection:
                lock_existing(connection, account_id)
                connection.execute(sa.insert(_identities), _link(account_id, identity))
        except IntegrityError:
            owner = self.by_identity(identity)
            if owner is None or owner.id != account_id:
                raise IdentityTaken("This identity belongs to another account.") from None

    def unlink(self, account_id: str, identity: Identity) -> bool:
        mine = _is(identity) & (_identities.c.account_id == account_id)
        with self._database.writing() as connection:
            return connection.execute(sa.delete(_identities).where(mine)).rowcount == 1

    def set_announced(self, account_id: str) -> None:
        same = _accounts.c.id == account_id
        with self._database.writing() as connection:
            connection.execute(sa.update(_accounts).where(same).values(announced=True))

    def prove(self, name: str, password: str) -> Proof:
        row = self._row(name)
        account = None if row is None else to_account(row)
        # an account without a password fails like a wrong password, and takes as long
        stored = (str(row.password_hash) if row else None) or None
        normal = normal_password(password)
        if normal is None:
            # no account can have this password, but the check takes as long as any other
            stored = None
        if not self._passwords.verify(stored, normal or "") or account is None or stored is None:
            return Proof(account)
        if self._passwords.outdated(stored):
            stored = self._rehash(account, stored, normal or "")
        return Proof(account, stored)

    def password_hash(self, name: str) -> str:
        row = self._row(name)
        return str(row.password_hash) if row else ""

    def still_valid(self, proof: Proof, password: str) -> bool:
        row = self._row(proof.name or "")
        if row is None or proof.account is None or row.id != proof.account.id:
            return False
        # another sign-in may have renewed the hash of the same password
        return row.password_hash == proof.password_hash or bool(self.prove(row.name, password))

    def change_password(self, proof: Proof, password: str) -> Proof:
        account = proof.account
        names = (account.name, account.email) if account else ()
        new = self._passwords.hash(self.rules.clean(password, *names))
        with self._database.writing() as connection:
            account_id = account.id if account else ""
            changed = set_password(connection, account_id, new, self._same(proof))
        return Proof(proof.account, new if changed else None)

    def delete(self, proof: Proof) -> bool:
        return self._delete(self._same(proof), proof.account.id if proof.account else "")

    def remove(self, account_id: str, *, keep_an_admin: bool) -> bool:
        """Delete an account without its password; may raise AccountInUse, LastAdministrator."""
        which = _accounts.c.id == account_id
        return self._delete(which, account_id, keep_an_admin=keep_an_admin)

    def check_deletable(self, account_id: str, *, keep_an_admin: bool) -> None:
        """Raise what `remove` would; the account stays."""
        which = _accounts.c.id == account_id
        with contextlib.suppress(_Undone):
            self._delete(which, account_id, keep_an_admin=keep_an_admin, undo=True)

    def _delete(
        self,
        which: sa.ColumnElement[bool],
        account_id: str,
        *,
        keep_an_admin: bool = False,
        undo: bool = False,
    ) -> bool:
        try:
            with self._database.writing() as connection:
                if keep_an_admin:
                    keep_another(connection, account_id)
                if connection.execute(sa.delete(_accounts).where(which)).rowcount != 1:
                    return False
                for table in OF_ACCOUNT:
                    mine = table.c.account_id == account_id
                    connection.execute(sa.delete(table).where(mine))
                if undo:
                    raise _Undone
                return True
        except IntegrityError as error:
            log.error(
                "an account cannot be deleted, rows refer to it: give the foreign key "
                "ondelete, or delete the rows before account=%r tables=%s why=%r",
                account_id,
                ",".join(self._tables_that_keep_accounts()),
                reason(error),
            )
            raise AccountInUse(_IN_USE) from None

    def _tables_that_keep_accounts(self) -> list[str]:
        """Return the tables whose foreign keys do not say what follows a deletion."""
        tables = sa.inspect(self._engine)
        return [
            table
            for table in tables.get_table_names()
            for key in tables.get_foreign_keys(table)
            if key["referred_table"] == _accounts.name
            and key.get("options", {}).get("ondelete") in _KEEPS
        ]

    def check(self) -> None:
        check(self._engine, self._database.settings)

    def _row(self, name: str) -> sa.Row[Any] | None:
        return self._find(_accounts.c.key == account_key(name))

    def _find(self, which: sa.ColumnElement[bool]) -> sa.Row[Any] | None:
        with self._engine.connect() as connection:
            return connection.execute(select_accounts().where(which)).first()

    def _account(self, which: sa.ColumnElement[bool]) -> Account | None:
        row = self._find(which)
        return None if row is None else to_account(row)

    def _rehash(self, account: Account, old: str, password: str) -> str:
        """Store a hash with the current parameters and return it.

        If the password was changed meanwhile, the change stays and the old hash is returned.
        """
        try:
            new = self._passwords.hash(password)
            same = self._same(Proof(account, old))
            with self._database.writing() as connection:
                statement = sa.update(_accounts).where(same).values(password_hash=new)
                return new if connection.execute(statement).rowcount else old
        except SQLAlchemyError as error:
            # the old hash is still valid; the next sign-in tries again
            log.warning("a password hash could not be renewed: %s", reason(error))
            return old

    def _same(self, proof: Proof) -> sa.ColumnElement[bool]:
        """Match the account if id and password hash are those of the proof."""
        if proof.account is None or not proof.password_hash:
            return sa.false()
        same_hash = _accounts.c.password_hash == proof.password_hash
        return (_accounts.c.id == proof.account.id) & same_hash


def _link(account_id: str, identity: Identity) -> dict[str, str]:
    return {
        "account_id": account_id,
        "issuer": identity.issuer,
        "subject": identity.subject,
    }


def _is(identity: Identity) -> sa.ColumnElement[bool]:
    """Match the row of an identity."""
    columns = _identities.c
    return (columns.issuer == identity.issuer) & (columns.subject == identity.subject)
