"""Accounts as the database keeps them: plain calls, for threads that may wait."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from app.accounts import database
from app.accounts.database import accounts as _accounts
from app.accounts.lookalikes import lookalikes
from app.accounts.passwords import InvalidAccount, NameTaken, Passwords, account_key, clean_password
from app.settings import Settings

log = logging.getLogger("latchkey.accounts")


def _of(keys: Collection[str]) -> sa.Select[tuple[str]]:
    """Return the query for the accounts with one of these keys."""
    return sa.select(_accounts.c.name).where(_accounts.c.key.in_(keys))


@dataclass(frozen=True)
class Proof:
    """The result of a sign-in; true if the password was right."""

    name: str | None  # as it is stored; None: nobody has it
    stamp: str | None = field(default=None, repr=False)  # the hash that the password fits

    def __bool__(self) -> bool:
        return self.stamp is not None


class AccountTable:
    """Does at once what the methods of the same names in `Accounts` promise.

    A call takes as long as the database and the hash of a password; it may raise SQLAlchemyError.
    """

    def __init__(self, settings: Settings, *, connections: int) -> None:
        """Open the database; raises OSError with a sentence that says what to do."""
        self._settings = settings
        self._engine = database.open_engine(settings, connections=connections + 1)
        # in a thread of its own, since nobody has to wait for it
        self._checkpoints = ThreadPoolExecutor(1, thread_name_prefix="accounts checkpoint")
        self._passwords = Passwords()

    def make(self, name: str, password: str) -> Proof:
        stamp = self._passwords.hash(password)
        key = account_key(name)
        row = {
            "key": key,
            "name": name,
            "password_hash": stamp,
            "created": time.time(),
        }
        try:
            with self._writing() as connection:
                if connection.execute(_of(lookalikes(key)).limit(1)).first():
                    raise NameTaken("This name looks like one that is taken; choose another one.")
                connection.execute(sa.insert(_accounts), row)
        except IntegrityError:
            raise NameTaken("This name is taken; choose another one.") from None
        return Proof(name, stamp)

    def prove(self, name: str, password: str) -> Proof:
        row = self._row(name)
        proof = Proof(str(row.name) if row else None)
        try:
            password = clean_password(password)
        except InvalidAccount:
            # it is nobody's password, and must take as long as one that might be somebody's
            row, password = None, ""
        if (
            not self._passwords.verify(str(row.password_hash) if row else None, password)
            or row is None
        ):
            return proof
        stamp = str(row.password_hash)
        if self._passwords.outdated(stamp):
            stamp = self._rehash(row.name, stamp, password)
        return Proof(proof.name, stamp)

    def stamp(self, name: str) -> str:
        row = self._row(name)
        return str(row.password_hash) if row else ""

    def holds(self, proof: Proof, password: str) -> bool:
        row = self._row(proof.name or "")
        if row is None or row.name != proof.name:
            return False
        # the same password may have been hashed anew meanwhile
        return row.password_hash == proof.stamp or bool(self.prove(row.name, password))

    def change_password(self, proof: Proof, password: str) -> Proof:
        new = self._passwords.hash(password)
        statement = sa.update(_accounts).where(self._same(proof)).values(password_hash=new)
        with self._writing() as connection:
            changed = connection.execute(statement).rowcount == 1
        return Proof(proof.name, new if changed else None)

    def delete(self, proof: Proof) -> bool:
        with self._writing() as connection:
            return connection.execute(sa.delete(_accounts).where(self._same(proof))).rowcount == 1

    def check(self) -> None:
        database.check(self._engine, self._settings)

    def close(self) -> None:
        self._checkpoints.shutdown()
        self._engine.dispose()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with database.writing(self._engine) as connection:
            yield connection
        if self._engine.dialect.name == "sqlite":
            self._checkpoints.submit(database.checkpoint, self._engine)

    def _row(self, name: str) -> sa.Row[str, str] | None:
        with self._engine.connect() as connection:
            return connection.execute(
                sa.select(_accounts.c.name, _accounts.c.password_hash).where(
                    _accounts.c.key == account_key(name)
                )
            ).first()

    def _rehash(self, name: str, old: str, password: str) -> str:
        """Store a hash with today's parameters, and return the one that is stored then.

        Where the password was changed meanwhile it stays changed, and the old hash is returned.
        """
        try:
            new = self._passwords.hash(password)
            same = self._same(Proof(name, old))
            with self._writing() as connection:
                statement = sa.update(_accounts).where(same).values(password_hash=new)
                return new if connection.execute(statement).rowcount else old
        except SQLAlchemyError as error:
            # the old hash is still good; the next sign-in tries again
            log.warning("a password hash could not be renewed: %s", database.why(error))
            return old

    def _same(self, proof: Proof) -> sa.ColumnElement[bool]:
        """Match the account as the proof has seen it."""
        key, stamp = account_key(proof.name or ""), proof.stamp or ""
        return (_accounts.c.key == key) & (_accounts.c.password_hash == stamp)
