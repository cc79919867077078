"""Users and their password hashes, in a database beside the sessions."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app import database
from app.accounts.table import AccountTable, Proof
from app.complaints import Complaints
from app.passwords import InvalidAccount, NameTaken, account_key, clean_name, clean_password
from app.settings import Settings

__all__ = [
    "Accounts",
    "AccountsUnavailable",
    "InvalidAccount",
    "NameTaken",
    "Proof",
    "account_key",
]

log = logging.getLogger("latchkey.accounts")
T = TypeVar("T")

# a hash takes a core and 19 MiB, and the event loop wants a core too
_WORKERS = max(2, min(4, os.cpu_count() or 2))
_LONGEST_LINE = 200  # calls that may wait for a worker, some seconds of work
_ANSWER_WITHIN = 2.0  # seconds from when a call has its turn
_NO_ANSWER = "The database of accounts does not answer; try again in a moment."


class AccountsUnavailable(Exception):
    """The accounts cannot be asked now; the text is for the person who waits."""

    wait = 2  # seconds after which to ask again


class Accounts:
    """Who may sign in. All work is done by a few threads, and a bounded number may wait for them.

    Every method raises AccountsUnavailable when too many wait or the database fails.
    """

    def __init__(self, settings: Settings) -> None:
        self._table = AccountTable(database.open_engine(settings, connections=_WORKERS))
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="accounts")
        self._turns = asyncio.Semaphore(_WORKERS)
        self._in_line = 0
        self._failures = Complaints(log)
        self._failed = -1.0  # loop time when the database last did not answer

    async def register(
        self, name: str, password: str, *, admit: Callable[[], None] | None = None
    ) -> str:
        """Make an account and return its name as it is stored; raises InvalidAccount."""
        proof = await self.make(name, password, admit=admit)
        assert proof.name is not None
        return proof.name

    async def make(
        self, name: str, password: str, *, admit: Callable[[], None] | None = None
    ) -> Proof:
        """Make an account; raises InvalidAccount.

        `admit` is asked when its turn has come, and may raise.
        """
        name, password = clean_name(name), clean_password(password)
        return await self._work(lambda: self._table.make(name, password), admit)

    async def verify(
        self, name: str, password: str, *, admit: Callable[[], None] | None = None
    ) -> str | None:
        """Return the name as it is stored, or None for a wrong one or a wrong password."""
        proof = await self.prove(name, password, admit=admit)
        return proof.name if proof else None

    async def prove(
        self, name: str, password: str, *, admit: Callable[[], None] | None = None
    ) -> Proof:
        """Compare a password with that of an account.

        `admit` is asked when its turn has come, and may raise: what it counts is then at most
        a handful of calls old, however many came at once.
        """
        return await self._work(lambda: self._table.prove(name, password), admit)

    async def stamp(self, name: str) -> str:
        """Return the hash of an account's password; an empty text for a name that nobody has."""
        return await self._work(lambda: self._table.stamp(name))

    async def holds(self, proof: Proof, password: str) -> bool:
        """Whether this proof is still one: account and password are what they were.

        Asked once a session is stored, it closes the gap between password and session: an end
        of all sessions that comes later finds this one, and one that came before is noticed.
        """
        return await self._work(lambda: self._table.holds(proof, password))

    async def change_password(self, proof: Proof, password: str) -> Proof:
        """Give an account another password, and return the proof that it has it.

        That is false where the account is another's by now, or its password another one. Raises
        InvalidAccount.
        """
        password = clean_password(password)
        return await self._work(lambda: self._table.change_password(proof, password))

    async def delete(self, proof: Proof) -> bool:
        """Delete an account, whose name is free then; False where the proof has become stale."""
        return await self._work(lambda: self._table.delete(proof))

    async def answers(self) -> bool:
        """Whether the database can be read."""
        try:
            await asyncio.wait_for(self._work(self._table.ask), _ANSWER_WITHIN)
        except (TimeoutError, AccountsUnavailable):
            return False
        return True

    async def close(self) -> None:
        """Finish what the threads have begun and let go of the database."""
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
        self._table.close()

    async def _work(self, job: Callable[[], T], admit: Callable[[], None] | None = None) -> T:
        if self._in_line >= _LONGEST_LINE + _WORKERS:
            raise AccountsUnavailable("Too many people sign in right now; try again in a moment.")
        self._in_line += 1
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with self._turns:
                if self._failed >= began:
                    # each of those in line would only wait as long as the one before
                    raise AccountsUnavailable(_NO_ANSWER)
                if admit is not None:
                    admit()
                work = loop.run_in_executor(self._pool, job)
                return await asyncio.wait_for(work, _ANSWER_WITHIN)
        except (SQLAlchemyError, TimeoutError) as error:
            if isinstance(error, OperationalError | PoolTimeout | TimeoutError):
                self._failed = loop.time()
            late = f"no answer within {_ANSWER_WITHIN:g} s"
            said = late if isinstance(error, TimeoutError) else database.why(error)
            self._failures.add("the database of accounts failed", said)
            raise AccountsUnavailable(_NO_ANSWER) from error
        finally:
            self._in_line -= 1
