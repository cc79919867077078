"""Calls of the database of accounts: worker threads make them, and a bounded number wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.common.rate_limited_log import RateLimitedLog
from app.database import DatabaseUnavailable
from app.database.errors import reason
from app.database.workers import QueueFull, ShareUsed, Workers, WorkersClosed

log = logging.getLogger("latchkey.accounts")
T = TypeVar("T")

# a hash takes a core and 19 MiB, and the event loop needs a core too
_WORKERS = max(2, min(4, os.cpu_count() or 2))
_READERS = 2  # threads for calls that compute no hash
#: One for each thread, and one for readiness.
CONNECTIONS = _WORKERS + _READERS + 1
_MAX_QUEUE = 200  # calls that may wait for a worker, some seconds of work
_MAX_PER_ADDRESS = 20  # calls of one address that may run or wait
_READY_TIMEOUT = 2.0  # seconds
_MAX_JUDGED = 20  # passwords that may wait to be judged, a second of work at worst
_MAX_JUDGED_PER_ADDRESS = 4
_QUEUE_FULL = "Too many people are signing in right now. Try again in a moment."
_ADDRESS_BUSY = "Too many sign-ins at once from your network. Try again in a moment."
_JUDGES_BUSY = "Too many people are choosing passwords right now. Try again in a moment."
_ADDRESS_JUDGED = "Too many passwords at once from your network. Try again in a moment."
_CLOSED = "The database of accounts is closed, because this process of the site is stopping."
_NO_ANSWER = "The database of accounts does not answer; try again in a moment."


class AccountsUnavailable(DatabaseUnavailable):
    """The accounts are not available now; the message is for the user."""


class AddressBusy(AccountsUnavailable):
    """One address has too many calls in progress; other addresses are served."""

    status = 429


class DatabaseCalls:
    """Runs blocking functions in threads.

    Calls that compute a hash, other calls, the meter of passwords, and readiness have threads of
    their own. Each thread has its own connection, but for that of the meter. One address gets a
    share of the queue.

    A call that has a thread is awaited to its end, since nobody can stop the thread, and the
    caller has to know whether the change is stored. A database that hangs ends the call: the
    driver gives up each statement after two seconds.

    Every method raises AccountsUnavailable if the queue is full, the database fails or `close` was
    called, and AddressBusy if the share of the address is used.
    """

    def __init__(self) -> None:
        self._hashes = Workers(
            "accounts hash", threads=_WORKERS, max_queue=_MAX_QUEUE, share=_MAX_PER_ADDRESS
        )
        self._reads = Workers(
            "accounts read", threads=_READERS, max_queue=_MAX_QUEUE, share=_MAX_PER_ADDRESS
        )
        self._judges = Workers(
            "password meter", threads=1, max_queue=_MAX_JUDGED, share=_MAX_JUDGED_PER_ADDRESS
        )
        self._readiness = Workers("accounts ready", threads=1, max_queue=1, share=1)
        self._failures = RateLimitedLog(log)
        self._failed_at = -1.0  # loop time of the database's last failure

    async def run(
        self,
        call: Callable[[], T],
        *,
        check_limits: Callable[[], Awaitable[None]] | None = None,
        address: str = "",
    ) -> T:
        """Run a call that computes no hash of a password; the rest is as in `hash`."""
        return await self._work(self._reads, call, check_limits, address)

    async def hash(
        self,
        call: Callable[[], T],
        *,
        check_limits: Callable[[], Awaitable[None]] | None = None,
        address: str = "",
    ) -> T:
        """Run a call that computes hashes of passwords.

        `check_limits` may raise. It is called before the call waits, and again when it has a
        thread. `address` is the key by which limits count a client.
        """
        return await self._work(self._hashes, call, check_limits, address)

    async def judge(self, call: Callable[[], T], *, address: str = "") -> T:
        """Run a call that judges a password for the meter, and asks no database."""
        with _in_words(queue_full=_JUDGES_BUSY, share_used=_ADDRESS_JUDGED):
            async with self._judges.turn(address):
                return await self._judges.run(call)

    async def check(self, call: Callable[[], T]) -> T:
        """Run the call that readiness makes, which waits for no other; it may take 2 seconds."""
        try:
            async with asyncio.timeout(_READY_TIMEOUT):
                return await self._work(self._readiness, call)
        except TimeoutError as error:
            self._readiness.errors["timeout"] += 1
            self._log_failure(f"no answer within {_READY_TIMEOUT:g} s")
            raise AccountsUnavailable(_NO_ANSWER) from error

    @property
    def workers(self) -> tuple[Workers, ...]:
        """The threads that ask the database; metrics show what they do."""
        return self._hashes, self._reads, self._readiness

    async def close(self) -> None:
        """Wait for the calls that run."""
        for workers in (self._hashes, self._reads, self._judges, self._readiness):
            await workers.close()

    async def _work(
        self,
        workers: Workers,
        call: Callable[[], T],
        check_limits: Callable[[], Awaitable[None]] | None = None,
        address: str = "",
    ) -> T:
        if check_limits is not None:
            await check_limits()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            with _in_words(queue_full=_QUEUE_FULL, share_used=_ADDRESS_BUSY):
                async with workers.turn(address):
                    if self._failed_at >= began:
                        # the queued calls fail at once instead of waiting one after the other
                        raise AccountsUnavailable(_NO_ANSWER)
                    if check_limits is not None:
                        await check_limits()
                    return await workers.run(call)
        except SQLAlchemyError as error:
            if isinstance(error, OperationalError | PoolTimeout):
                self._failed_at = loop.time()
            workers.errors["failed"] += 1
            self._log_failure(reason(error))
            raise AccountsUnavailable(_NO_ANSWER) from error

    def _log_failure(self, why: str) -> None:
        self._failures.add("the database of accounts failed", why)


@contextlib.contextmanager
def _in_words(*, queue_full: str, share_used: str) -> Iterator[None]:
    """Tell the user in a sentence why workers have refused a call."""
    try:
        yield
    except ShareUsed:
        raise AddressBusy(share_used) from None
    except QueueFull:
        raise AccountsUnavailable(queue_full) from None
    except WorkersClosed:
        raise AccountsUnavailable(_CLOSED) from None
