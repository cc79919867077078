"""The accounts in the database: blocking calls, for threads."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from app.accounts.database import accounts as _accounts
from app.accounts.database import check
from app.accounts.lookalikes import lookalikes
from app.accounts.passwords import InvalidAccount, NameTaken, Passwords, account_key, clean_password
from app.database import Database
from app.database.errors import reason

log = logging.getLogger("latchkey.accounts")


def _of(keys: Collection[str]) -> sa.Select[tuple[str]]:
    """Return the query for the accounts with one of these keys."""
    return sa.select(_accounts.c.name).where(_accounts.c.key.in_(keys))


@dataclass(frozen=True)
class Proof:
    """The result of a password check; true if the password was right."""

    name: str | None  # as it is stored; None if no account has the name
    password_hash: str | None = field(default=None, repr=False)  # None if the password was wrong

    def __bool__(self) -> bool:
        return self.password_hash is not None


class AccountTable:
    """Has the methods of `Accounts` as blocking calls.

    A call takes as long as the database and the hash of a password. It may raise SQLAlchemyError.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine = database.engine
        self._passwords = Passwords()

    def create(self, name: str, password: str) -> Proof:
        password_hash = self._passwords.hash(password)
        key = account_key(name)
        row = {
            "key": key,
            "name": name,
            "password_hash": password_hash,
            "created": time.time(),
        }
        try:
            with self._database.writing() as connection:
                if connection.execute(_of(lookalikes(key)).limit(1)).first():
                    raise NameTaken("This name looks like one that is taken; choose another one.")
                connection.execute(sa.insert(_accounts), row)
        except IntegrityError:
            raise NameTaken("This name is taken; choose another one.") from None
        return Proof(name, password_hash)

    def prove(self, name: str, password: str) -> Proof:
        row = self._row(name)
        proof = Proof(str(row.name) if row else None)
        try:
            password = clean_password(password)
        except InvalidAccount:
            # no account can have this password, but the check takes as long as any other
            row, password = None, ""
        if (
            not self._passwords.verify(str(row.password_hash) if row else None, password)
            or row is None
        ):
            return proof
        password_hash = str(row.password_hash)
        if self._passwords.outdated(password_hash):
            password_hash = self._rehash(row.name, password_hash, password)
        return Proof(proof.name, password_hash)

    def password_hash(self, name: str) -> str:
        row = self._row(name)
        return str(row.password_hash) if row else ""

    def still_valid(self, proof: Proof, password: str) -> bool:
        row = self._row(proof.name or "")
        if row is None or row.name != proof.name:
            return False
        # another sign-in may have renewed the hash of the same password
        return row.password_hash == proof.password_hash or bool(self.prove(row.name, password))

    def change_password(self, proof: Proof, password: str) -> Proof:
        new = self._passwords.hash(password)
        statement = sa.update(_accounts).where(self._same(proof)).values(password_hash=new)
        with self._database.writing() as connection:
            changed = connection.execute(statement).rowcount == 1
        return Proof(proof.name, new if changed else None)

    def delete(self, proof: Proof) -> bool:
        with self._database.writing() as connection:
            return connection.execute(sa.delete(_accounts).where(self._same(proof))).rowcount == 1

    def check(self) -> None:
        check(self._engine, self._database.settings)

    def _row(self, name: str) -> sa.Row[str, str] | None:
        with self._engine.connect() as connection:
            return connection.execute(
                sa.select(_accounts.c.name, _accounts.c.password_hash).where(
                    _accounts.c.key == account_key(name)
                )
            ).first()

    def _rehash(self, name: str, old: str, password: str) -> str:
        """Store a hash with the current parameters and return it.

        If the password was changed meanwhile, the change stays and the old hash is returned.
        """
        try:
            new = self._passwords.hash(password)
            same = self._same(Proof(name, old))
            with self._database.writing() as connection:
                statement = sa.update(_accounts).where(same).values(password_hash=new)
                return new if connection.execute(statement).rowcount else old
        except SQLAlchemyError as error:
            # the old hash is still valid; the next sign-in tries again
            log.warning("a password hash could not be renewed: %s", reason(error))
            return old

    def _same(self, proof: Proof) -> sa.ColumnElement[bool]:
        """Match the account if name and password hash are those of the proof."""
        key, password_hash = account_key(proof.name or ""), proof.password_hash or ""
        return (_accounts.c.key == key) & (_accounts.c.password_hash == password_hash)
