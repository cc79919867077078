"""Users and their password hashes, in a database beside the sessions."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.accounts import database
from app.accounts.passwords import (
    InvalidAccount,
    NameTaken,
    account_key,
    clean_name,
    clean_password,
)
from app.accounts.table import AccountTable, Proof
from app.accounts.workers import QueueFull, ShareUsed, Workers
from app.common.rate_limited_log import RateLimitedLog
from app.settings import Settings

__all__ = [
    "Accounts",
    "AccountsUnavailable",
    "AddressBusy",
    "InvalidAccount",
    "NameTaken",
    "Proof",
    "account_key",
]

log = logging.getLogger("latchkey.accounts")
T = TypeVar("T")

# a hash takes a core and 19 MiB, and the event loop wants a core too
_WORKERS = max(2, min(4, os.cpu_count() or 2))
_READERS = 2  # threads for what needs no hash
_MAX_QUEUE = 200  # calls that may wait for a worker, some seconds of work
_SHARE = 20  # calls of one address that may run or wait, so that it cannot fill the queue
_ANSWER_WITHIN = 2.0  # seconds from when a call has its turn
_TOO_MANY = "Too many people are signing in right now. Try again in a moment."
_TOO_MANY_OF_ONE = "Too many sign-ins at once from your network. Try again in a moment."
_NO_ANSWER = "The database of accounts does not answer; try again in a moment."


class AccountsUnavailable(Exception):
    """The accounts cannot be asked now; the text is for the person who waits."""

    status = 503  # of the response
    wait = 2  # seconds after which to ask again


class AddressBusy(AccountsUnavailable):
    """One address has too many calls under way; those of others are served."""

    status = 429


class Accounts:
    """The accounts. A few threads do all work, and a bounded number of calls wait for them.

    Calls that compute a hash, calls that only read, and readiness have threads of their own, and
    each thread has its own connection. `address` is what limits know a client by; one address
    gets a share of the queue. Every method raises AccountsUnavailable if the queue is full or the
    database fails, and AddressBusy if that share is used.
    """

    def __init__(self, settings: Settings) -> None:
        threads = _WORKERS + _READERS + 1
        self._table = AccountTable(settings, connections=threads)
        self._hashes = Workers("hash", threads=_WORKERS, max_queue=_MAX_QUEUE, share=_SHARE)
        self._reads = Workers("read", threads=_READERS, max_queue=_MAX_QUEUE, share=_SHARE)
        self._readiness = Workers("ready", threads=1, max_queue=1, share=1)
        self._asking: asyncio.Task[bool] | None = None
        self._failures = RateLimitedLog(log)
        self._failed = -1.0  # loop time when the database last did not answer

    async def register(
        self, name: str, password: str, *, admit: Callable[[], None] | None = None
    ) -> str:
        """Make an account and return its name as it is stored; raises InvalidAccount."""
        proof = await self.make(name, password, admit=admit)
        assert proof.name is not None
        return proof.name

    async def make(
        self,
        name: str,
        password: str,
        *,
        admit: Callable[[], None] | None = None,
        address: str = "",
    ) -> Proof:
        """Make an account; raises InvalidAccount. For `admit` see `prove`."""
        name, password = clean_name(name), clean_password(password)
        return await self._work(
            self._hashes, lambda: self._table.make(name, password), admit, address
        )

    async def verify(
        self, name: str, password: str, *, admit: Callable[[], None] | None = None
    ) -> str | None:
        """Return the name as it is stored, or None for a wrong one or a wrong password."""
        proof = await self.prove(name, password, admit=admit)
        return proof.name if proof else None

    async def prove(
        self,
        name: str,
        password: str,
        *,
        admit: Callable[[], None] | None = None,
        address: str = "",
    ) -> Proof:
        """Compare a password with that of an account.

        `admit` may raise. It is called before the call waits, so that a limited client takes no
        place in the queue, and again when its turn has come: what it counts is then at most a
        handful of calls old, however many came at once.
        """
        return await self._work(
            self._hashes, lambda: self._table.prove(name, password), admit, address
        )

    async def stamp(self, name: str, *, address: str = "") -> str:
        """Return the hash of an account's password; an empty string for an unknown name."""
        return await self._work(self._reads, lambda: self._table.stamp(name), address=address)

    async def holds(self, proof: Proof, password: str) -> bool:
        """Whether this proof is still one: account and password are what they were.

        Asked once a session is stored, it closes the gap between password and session: an end
        of all sessions that comes later finds this one, and one that came before is noticed.
        """
        # it needs a hash only if that was renewed just now
        return await self._work(self._reads, lambda: self._table.holds(proof, password))

    async def change_password(self, proof: Proof, password: str, *, address: str = "") -> Proof:
        """Give an account another password, and return the proof that it has it.

        That is false where the account is another's by now, or its password another one. Raises
        InvalidAccount.
        """
        password = clean_password(password)
        return await self._work(
            self._hashes, lambda: self._table.change_password(proof, password), address=address
        )

    async def delete(self, proof: Proof) -> bool:
        """Delete an account, whose name is free then; False where the proof has become stale."""
        return await self._work(self._reads, lambda: self._table.delete(proof))

    async def answers(self) -> bool:
        """Whether the database can be written and read; simultaneous calls share an answer."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> bool:
        try:
            await self._work(self._readiness, self._table.check)
        except AccountsUnavailable:
            return False
        return True

    async def close(self) -> None:
        """Finish what the threads have begun and let go of the database."""
        for workers in (self._hashes, self._reads, self._readiness):
            await workers.close()
        if self._asking is not None:
            await asyncio.wait([self._asking])
        self._table.close()

    async def _work(
        self,
        workers: Workers,
        job: Callable[[], T],
        admit: Callable[[], None] | None = None,
        address: str = "",
    ) -> T:
        if admit is not None:
            admit()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with workers.turn(address):
                if self._failed >= began:
                    # each queued call would only wait as long as this one
                    raise AccountsUnavailable(_NO_ANSWER)
                if admit is not None:
                    admit()
                async with asyncio.timeout(_ANSWER_WITHIN):
                    return await workers.run(job)
        except ShareUsed:
            raise AddressBusy(_TOO_MANY_OF_ONE) from None
        except QueueFull:
            raise AccountsUnavailable(_TOO_MANY) from None
        except (SQLAlchemyError, TimeoutError) as error:
            if isinstance(error, OperationalError | PoolTimeout | TimeoutError):
                self._failed = loop.time()
            self._log_failure(error)
            raise AccountsUnavailable(_NO_ANSWER) from error

    def _log_failure(self, error: SQLAlchemyError | TimeoutError) -> None:
        late = f"no answer within {_ANSWER_WITHIN:g} s"
        said = late if isinstance(error, TimeoutError) else database.why(error)
        self._failures.add("the database of accounts failed", said)
